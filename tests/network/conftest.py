"""Fixtures for tests on real processes: programs that serve, and this process as one more node."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import pytest

import labc
from labc.node import process
from labc.testing import Program, python_program

SERVING = re.compile("is in the network")


class Start(Protocol):
    """``start(source)`` runs Python source in a process of its own, which is closed after the test."""

    def __call__(self, source: str, *args: str, name: str = "program", **env: str) -> Program: ...


class Until(Protocol):
    """``until(condition)`` waits until it is true, and returns what it gave."""

    def __call__(self, condition: Callable[[], Any], timeout: float = 5.0) -> Any: ...


@pytest.fixture
def start(network: str) -> Iterator[Start]:
    with contextlib.ExitStack() as programs:

        def start(source: str, *args: str, name: str = "program", **env: str) -> Program:
            program = programs.enter_context(python_program(source, *args, name=name, env=env))
            programs.callback(_show, name, program)
            return program

        yield start


def _show(name: str, program: Program) -> None:
    """Say how a program ended and what it complained about; pytest shows it when the test failed."""
    code = program.process.poll()
    print(f"{name}: {'still running' if code is None else f'exit code {code}'}\n{program.errors}")


@pytest.fixture
def serve(start: Start) -> Start:
    """The same for a program that ends in ``labc.serve()``; returns when it serves."""

    def serve(source: str, *args: str, name: str = "server", **env: str) -> Program:
        program = start(source, *args, name=name, **env)
        program.expect(SERVING, stream="stderr")
        return program

    return serve


@pytest.fixture
def here(network: str) -> Iterator[None]:
    """This process is a node through the blocking face, from the first verb on and until the end of the test."""
    yield
    labc.close()
    labc.init()  # forget the settings of this test
    process.functions.clear()
    process.subscriptions.clear()


@pytest.fixture
def until() -> Until:
    def until(condition: Callable[[], Any], timeout: float = 5.0) -> Any:
        deadline = time.monotonic() + timeout
        while not (found := condition()):
            assert time.monotonic() < deadline, f"still {found!r} after {timeout:g} s"
            time.sleep(0.01)
        return found

    return until


@pytest.fixture(params=["here", "there"])
def anywhere(request: pytest.FixtureRequest, serve: Start) -> str:
    """The ``FUNCTIONS`` of the test's module are in this very process, or in another one."""
    functions = request.module.FUNCTIONS
    if request.param == "there":
        serve(functions + "\nlabc.serve()\n")
    else:
        exec(compile(functions, "functions", "exec"), {"__name__": "functions"})
    return str(request.param)
