"""A labc program that a test drives line by line, on this host or a virtual one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Self

from labc.testing import Program, VirtualHost

WAIT = """
import asyncio
cancelled = []

async def wait(seconds):
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        cancelled.append(time.time())
        raise
    return "waited"

def running():
    return labc.blocking.portal.node().rooms()._provider.running

labc.register(wait)
"""
"""A function that takes its time, and tells when it was cancelled."""

_SOURCE = """
import contextlib, json, os, sys, threading, time, traceback
import labc
import labc.aio

def start_call(*args, at={}, **kwargs):
    # In a thread; see call_result.
    def run():
        began = time.time()
        try:
            outcome = {"value": labc.at(**at).call(*args, **kwargs)}
        except Exception as error:
            outcome = {"error": type(error).__name__, "text": str(error), "ran": getattr(error, "ran", None)}
        outcome |= {"began": began, "ended": time.time()}
        results.append(outcome)
    results = []
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    calls.append((thread, results))

calls = []

def call_result(timeout=20):
    # Of the oldest call that was started.
    thread, results = calls.pop(0)
    thread.join(timeout)
    return results[0] if results else {"error": "none", "text": "the call has not ended"}

def names():
    return sorted(node.name for node in labc.at(timeout=0.3).nodes())

def until(condition, timeout=15):
    # The seconds until the condition holds.
    began = time.time()
    while not condition():
        if time.time() - began > timeout:
            raise TimeoutError(f"not within {timeout} s")
        time.sleep(0.005)
    return time.time() - began

received = []

def receive(number):
    received.append((number, time.time()))

def publish_numbers(topic, period):
    # Until stop is set.
    stop.clear()
    def run():
        number = 0
        while not stop.wait(period):
            labc.publish(topic, number)
            number += 1
        sent.append(number)
    global publisher
    publisher = threading.Thread(target=run, daemon=True)
    publisher.start()

stop = threading.Event()
sent = []

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
        self.may_panic = False
        """Whether the engine may: by then it is thrown away, and nothing but its message is left of it."""
        self.program = start(_SOURCE, name=name, env=env)

    @property
    def pid(self) -> int:
        return self.program.pid

    def send(self, code: str, wanted: bool = True) -> None:
        """Begin; :meth:`answer` waits for the end."""
        self.program.send_line(json.dumps([code, wanted]))

    def answer(self, timeout: float = 15.0) -> Any:
        """The value, which must be JSON (anything else comes as its repr). Raises RemoteFailure."""
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
        assert self.may_panic or "panicked" not in self.program.errors, f"{self.name}:\n{self.program.errors}"


Start = Callable[..., Agent]
"""``start(host, name)`` runs an agent there."""

LocalStart = Callable[[str], Agent]
"""``start(name)`` runs an agent on this host."""


def meet(agents: list[Agent]) -> None:
    """Returns when each of them sees all."""
    wanted = sorted(agent.name for agent in agents)
    for agent in agents:
        agent.exec("labc.blocking.portal.node()")
    for agent in agents:
        agent.eval(f"until(lambda: names() == {wanted!r})")


def hear(publishers: list[Agent], *subscribers: Agent) -> None:
    """Returns when these publishers know of what these subscribe to narrowly: some milliseconds after they did."""
    nearby = "labc.blocking.portal.node().rooms()._topics.nearby"
    for subscriber in subscribers:
        node_id, number = subscriber.eval(f"[labc.blocking.portal.node().id, str({nearby}._number)]")
        for publisher in publishers:
            publisher.eval(
                f"until(lambda: (taker := {nearby}._takers.get({node_id!r})) and {number!r} in taker.numbers)"
            )


def start_all(start: Start, hosts: list[VirtualHost]) -> list[Agent]:
    agents = [start(host, f"node{number}") for number, host in enumerate(hosts, 1)]
    meet(agents)
    return agents
