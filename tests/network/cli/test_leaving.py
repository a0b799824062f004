"""Ctrl-C and SIGTERM: at once, in good order, with the right exit code and without a traceback."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Callable

import pytest
from network.cli.runs import Begin, Run

from labc.testing import Program

SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
LISTENS = re.compile("listening")


def leave(program: Program, number: int, code: int) -> None:
    began = time.monotonic()
    program.send_signal(number)
    assert program.wait() == code
    assert time.monotonic() - began < 1.0
    assert "Traceback" not in program.errors


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_serve(number: int, code: int, server: Program, run: Run) -> None:
    leave(server, number, code)
    assert json.loads(run("nodes", "--json").stdout) == []


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_a_call_in_flight(number: int, code: int, server: Program, begin: Begin, run: Run) -> None:
    caller = begin("call", "rest", 30)
    server.expect("rests")
    leave(caller, number, code)
    assert run("call", "echo", "still here").stdout == "still here\n"


def test_serve_with_a_call_in_flight(server: Program, begin: Begin) -> None:
    caller = begin("call", "rest", 30)
    server.expect("rests")
    leave(server, signal.SIGINT, 130)
    assert caller.wait() == 1
    assert "lost server" in caller.errors


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_subscribe(number: int, code: int, begin: Begin) -> None:
    subscriber = begin("subscribe", "x")
    subscriber.expect(LISTENS, stream="stderr")
    leave(subscriber, number, code)


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_watching_nodes(number: int, code: int, begin: Begin) -> None:
    watcher = begin("nodes", "--watch")
    watcher.expect(re.compile("watching"), stream="stderr")
    leave(watcher, number, code)


def test_ping(server: Program, begin: Begin) -> None:
    ping = begin("ping", "server", "--count", 0)
    ping.expect(re.compile("ms$"))
    leave(ping, signal.SIGINT, 130)


@pytest.mark.parametrize("verb", ["nodes", "functions"])
def test_a_question_that_is_not_answered(verb: str, silent: Program, begin: Begin) -> None:
    asking = begin(verb, "--timeout", 30)
    silent.expect("asked")
    leave(asking, signal.SIGINT, 130)
    assert asking.output == ""


def test_a_call_that_looks_for_a_provider(begin: Begin) -> None:
    caller = begin("-vv", "call", "nobody", "--find-timeout", 30)
    caller.expect(re.compile("root of its host"), stream="stderr")
    leave(caller, signal.SIGINT, 130)


def test_a_call_that_can_not_connect(server: Program, begin: Begin, wait_for_import: Callable[[Program], None]) -> None:
    server.stop()  # it holds the root's port, and answers nobody
    caller = begin("call", "echo", 1)
    wait_for_import(caller)
    leave(caller, signal.SIGINT, 130)


@pytest.fixture
def wait_for_import() -> Callable[[Program], None]:
    """Waits until a labc takes signals, which it does not while Python imports it."""

    def wait(program: Program) -> None:
        deadline = time.monotonic() + 10
        while not catches(program.pid, signal.SIGTERM):
            assert time.monotonic() < deadline
            time.sleep(0.005)

    return wait


def catches(pid: int, number: int) -> bool:
    with open(f"/proc/{pid}/status") as status:
        caught = next(line for line in status if line.startswith("SigCgt:")).split()[1]
    return bool(int(caught, 16) >> (number - 1) & 1)
