"""Fixtures for the command line: ``labc`` as users start it, in processes of its own."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from labc.testing import Program

LABC = str(Path(sys.executable).with_name("labc"))
SERVES = re.compile("is in the network")

SERVER = """\
import time
import labc

@labc.register
def echo(arg):
    "Give it back."
    return arg

@labc.register
def add(a: int, b: int = 1) -> int:
    return a + b

@labc.register
def show(*args, **kwargs):
    return [args, kwargs]

@labc.register
def picture():
    return bytes([0, 255, 10])

@labc.register
def nothing():
    "Give nothing."

@labc.register
def fail():
    raise ValueError("no coffee")

@labc.register
def rest(seconds):
    print("rests", flush=True)
    time.sleep(seconds)

labc.subscribe(print)
labc.serve()
"""


class Run(Protocol):
    """``run("call", "echo", 3)`` runs labc to its end; its exit code must be ``code``, without a traceback of ours."""

    def __call__(
        self, *arguments: object, code: int = 0, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]: ...


class Begin(Protocol):
    """``begin("serve", "x.py")`` starts labc; it is closed after the test."""

    def __call__(self, *arguments: object, cwd: Path | None = None) -> Program: ...


@pytest.fixture(autouse=True)
def _programs_take_ctrl_c() -> Iterator[None]:
    """Even if these tests run in the background of a shell, which lets programs ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def run(network: str) -> Run:
    def run(*arguments: object, code: int = 0, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [LABC, *map(str, arguments)], capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL, cwd=cwd
        )
        assert done.returncode == code, done
        assert "src/labc" not in done.stderr, done.stderr
        return done

    return run


@pytest.fixture
def begin(network: str) -> Iterator[Begin]:
    with contextlib.ExitStack() as programs:

        def begin(*arguments: object, cwd: Path | None = None) -> Program:
            return programs.enter_context(Program([LABC, *map(str, arguments)], cwd=cwd))

        yield begin


@pytest.fixture
def server(begin: Begin, tmp_path: Path) -> Program:
    """``labc serve server.py``, ready."""
    file = tmp_path / "server.py"
    file.write_text(SERVER)
    program = begin("serve", file)
    program.expect(SERVES, stream="stderr")
    return program
