"""A labc program that a test drives line by line, on this host or a virtual one."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Self

from labc.testing import Program

_SOURCE = """
import contextlib, json, os, sys, threading, time, traceback
import labc
import labc.aio

def reader():
    for line in sys.stdin:
        try:
            code, wanted = json.loads(line)
            result = eval(code, globals()) if wanted else exec(code, globals())
            answer = {"value": result}
        except BaseException as error:
            fields = {k: v for k, v in vars(error).items() if isinstance(v, (str, int, float))}
            answer = {"error": type(error).__name__, "text": str(error), "fields": fields}
        print("=> " + json.dumps(answer, default=repr), flush=True)

reader()
"""


class RemoteFailure(Exception):
    """The agent's code raised; ``error`` is the class, ``fields`` are the exception's."""

    def __init__(self, error: str, text: str, fields: dict[str, Any]) -> None:
        super().__init__(f"{error}: {text}")
        self.error = error
        self.text = text
        self.fields = fields


class Agent:
    """``start(source, name=...)`` makes the program: ``python_program``, or ``program`` of a virtual host."""

    def __init__(self, start: Callable[..., Program], name: str, **env: str) -> None:
        self.name = name
        self.program = start(_SOURCE, name=name, env=env)

    @property
    def pid(self) -> int:
        return self.program.pid

    def send(self, code: str, wanted: bool = True) -> None:
        """Begin; :meth:`answer` waits for the end."""
        self.program.send_line(json.dumps([code, wanted]))

    def answer(self, timeout: float = 15.0) -> Any:
        """The value, which must be JSON (anything else comes as its repr). Raises RemoteFailure."""
        import re

        match = self.program.expect(re.compile(r"^=> (.*)$"), timeout)
        answer = json.loads(match[1])
        if "error" in answer:
            raise RemoteFailure(answer["error"], answer["text"], answer["fields"])
        return answer["value"]

    def eval(self, code: str, timeout: float = 15.0) -> Any:
        self.send(code)
        return self.answer(timeout)

    def exec(self, code: str, timeout: float = 15.0) -> None:
        self.send(code, wanted=False)
        self.answer(timeout)

    def close(self) -> None:
        self.program.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
