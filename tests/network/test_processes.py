"""``run="process"``: functions that compute, in spawned processes."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import time
import types
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest

import labc
from labc.functions import being_spawned, in_pool

pytestmark = pytest.mark.usefixtures("here")

# As a user writes it: in the main program, and with no guard around the last line.
SERVER = """
import dataclasses, os, sys, time
import labc
labc.init(name="server", processes=2)

@dataclasses.dataclass
class Point:
    x: int

class OwnError(Exception):
    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")

class Model:
    def __init__(self, factor):
        self.factor = factor
    def times(self, value):
        return self.factor * value

@labc.register(run="process")
def pid():
    return os.getpid()

@labc.register(run="process")
def spin(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    return os.getpid()

@labc.register(run="process")
def fail(kind):
    if kind == "own":
        raise OwnError(1, 2)
    if kind == "exit":
        sys.exit(3)
    raise ValueError("no good")

@labc.register(run="process")
def die(seconds):
    time.sleep(seconds)
    os.kill(os.getpid(), 9)

@labc.register(run="process")
def echo(value, kind: str = ""):
    return value

@labc.register(run="process")
def describe(value):
    return type(value).__name__, getattr(getattr(value, "flags", None), "writeable", None)

@labc.register(run="process")
def point(x):
    return Point(x)

@labc.register
def shift(p: Point, by: int) -> Point:
    return Point(p.x + by)

@labc.register(run="process")
def handle():
    return {"a": (i for i in range(3))}

@labc.register(run="process")
def call_back(name, *args):
    caller = labc.current_call()
    return labc.at(node=caller.node_id).call(name, *args), labc.call("whose")

@labc.register(run="process")
def until_told():
    call = labc.current_call()
    started = time.monotonic()
    while not call.cancelled:
        time.sleep(0.005)
    print(f"told after {time.monotonic() - started:.1f}", flush=True)

labc.register(Model(3).times, run="process")

@labc.register
def whose():
    return os.getpid()

labc.serve()
"""


def children(program) -> list[psutil.Process]:
    return [c for c in psutil.Process(program.pid).children() if "resource_tracker" not in " ".join(c.cmdline())]


def test_in_the_main_program_with_an_unguarded_end(serve) -> None:
    server = serve(SERVER)
    first = labc.call("pid")
    assert first != server.pid
    assert {labc.call("pid") for _ in range(5)} == {first}  # one is enough for one call after the other
    assert len(server.errors.splitlines()) == 1  # the processes say nothing


def test_arguments_results_and_methods(serve) -> None:
    serve(SERVER)
    value = {"a": [(1, {2})], "b": np.arange(3.0)}
    came = labc.call("echo", value)
    assert came["a"] == value["a"]
    np.testing.assert_array_equal(came["b"], value["b"])
    assert labc.call("describe", np.zeros(10_000)) == ("ndarray", False)
    assert labc.call("times", 2) == 6
    assert labc.call("shift", labc.call("point", 1), 2).x == 3  # the class of the main program, on the way back too
    with pytest.raises(labc.ArgumentsError, match="expected `str`, got `int`"):
        labc.call("echo", 1, 2)


def test_two_at_once_and_no_more(serve) -> None:
    serve(SERVER)
    [*_] = labc.call_all("pid")
    found: list[int] = []
    callers = [threading.Thread(target=lambda: found.append(labc.call("spin", 0.3))) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(10.0)
    assert len(found) == 4
    assert len(set(found)) == 2


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [("value", "ValueError", "no good"), ("own", "OwnError", "1 and 2"), ("exit", "SystemExit", "3")],
)
def test_a_function_that_raises(serve, kind: str, name: str, message: str) -> None:
    server = serve(SERVER)
    pid = labc.call("pid")
    with pytest.raises(labc.RemoteError) as caught:
        labc.call("fail", kind)
    error = caught.value
    assert (error.type, error.message, error.node) == (name, message, "server")
    assert "in fail" in error.traceback
    assert labc.call("pid") == pid  # it goes on
    server.expect(re.compile(f"raised {name}: {message}"), stream="stderr")
    server.expect(re.compile("in fail"), stream="stderr")


def test_a_result_that_can_not_leave_its_process(serve) -> None:
    serve(SERVER)
    with pytest.raises(labc.CarryError, match=r"the result of handle\(\).*generator"):
        labc.call("handle")


def test_a_killed_process(serve) -> None:
    """The caller gets PeerLostError, nobody else does, and the next call works."""
    serve(SERVER)
    other: list[int] = []
    busy = threading.Thread(target=lambda: other.append(labc.call("spin", 1.0)))
    busy.start()
    started = time.monotonic()
    with pytest.raises(labc.PeerLostError) as caught:
        labc.call("die", 0.3)
    assert caught.value.ran == "maybe"
    assert time.monotonic() - started < 2.0
    assert isinstance(labc.call("pid"), int)
    busy.join(5.0)
    assert len(other) == 1


def test_a_process_killed_while_it_is_idle(serve, until) -> None:
    serve(SERVER)
    pid = labc.call("pid")
    os.kill(pid, signal.SIGKILL)
    assert labc.call("pid") != pid


def test_a_process_may_use_the_network(serve) -> None:
    """It knows its call, and calls on, but offers nothing itself: its functions are those of its parent."""
    server = serve(SERVER)
    labc.register(lambda x: x + 1, name="plus")
    assert labc.call("call_back", "plus", 1) == (2, server.pid)
    assert {o.value for o in labc.call_all("whose")} == {server.pid}


def test_a_process_knows_its_deadline(serve) -> None:
    server = serve(SERVER)
    labc.call("pid")
    with pytest.raises(labc.CallTimeoutError):
        labc.at(timeout=0.4).call("until_told")
    told = server.expect(re.compile("told after (.*)"), timeout=2.0)
    assert float(told[1]) < 0.7


def test_a_function_that_never_returns_loses_its_process_when_its_caller_has_gone(serve) -> None:
    """And a call in the other process does not notice."""
    serve(SERVER)
    labc.call("pid")
    with ThreadPoolExecutor() as pool:
        other = pool.submit(labc.call, "spin", 2.0)
        for _ in range(2):
            with pytest.raises(labc.CallTimeoutError):
                labc.at(timeout=0.5).call("spin", 60)
            assert other.result(10.0)
    assert labc.at(timeout=8.0).call("pid")  # and not only because one of the two is left


@pytest.mark.parametrize(("end", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 0)])
def test_a_busy_process_does_not_hold_up_the_end(serve, until, end: int, code: int) -> None:
    server = serve(SERVER)
    pid = labc.call("pid")
    errors: list[labc.LabcError] = []

    def call() -> None:
        try:
            labc.call("spin", 60)
        except labc.LabcError as error:
            errors.append(error)

    caller = threading.Thread(target=call)
    caller.start()
    until(lambda: [i for i in labc.nodes() if i.running])
    started = time.monotonic()
    server.send_signal(end)
    assert server.wait(5.0) == code
    assert time.monotonic() - started < 1.0
    caller.join(5.0)
    assert [type(error) for error in errors] == [labc.PeerLostError]
    until(lambda: not psutil.pid_exists(pid))
    assert len(server.errors.splitlines()) == 1


def test_a_busy_process_does_not_hold_up_the_end_of_a_plain_program(start) -> None:
    program = start(
        """
        import threading, time
        import labc

        @labc.register(run="process")
        def spin(seconds):
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                pass

        if __name__ == "__main__":
            labc.at(timeout=5).call("spin", 0)
            threading.Thread(target=labc.call, args=("spin", 60), daemon=True).start()
            time.sleep(0.2)
            print("end", flush=True)
        """
    )
    program.expect("end")
    started = time.monotonic()
    assert program.wait(5.0) == 0
    assert time.monotonic() - started < 1.0
    assert program.errors == ""


def test_ctrl_c_in_a_terminal_reaches_all_and_is_quiet(serve) -> None:
    """Ctrl-C goes to every process of the group; those that compute leave without a traceback."""
    server = serve(SERVER)
    labc.call("pid")
    os.killpg(server.pid, signal.SIGINT)
    assert server.wait(2.0) == 0
    assert len(server.errors.splitlines()) == 1


def test_no_orphans_of_a_killed_program(serve, until) -> None:
    server = serve(SERVER)
    pid = labc.call("pid")
    server.kill()
    until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


def test_an_unguarded_call_ends_and_says_why(start) -> None:
    """Python's own trap of spawned processes: the call stands in the main program, which they import."""
    program = start(
        """
        import labc

        @labc.register(run="process")
        def f(): return 1

        print(labc.at(timeout=10).call("f"))
        """
    )
    started = time.monotonic()
    assert program.wait(15.0) == 1
    assert time.monotonic() - started < 5.0
    assert "put what it does under `if __name__" in program.errors
    assert "labc.errors.PeerLostError: lost the process that ran 'f' on program on " in program.errors
    assert "while it imported the main program" in program.errors


@pytest.mark.parametrize(
    "source", ["lambda: 1", "(lambda: (lambda: 1))()", "__import__('threading').Lock().acquire", "async_function"]
)
def test_what_a_process_can_not_run_is_refused_when_it_is_registered(source: str) -> None:
    async def async_function() -> None: ...

    with pytest.raises((ValueError, labc.NameInvalidError), match=r"process|loop"):
        labc.register(eval(source, {"async_function": async_function}), name="f", run="process")


def test_what_it_takes_is_imported_with_the_first_call_and_cleans_up_after_labc(start) -> None:
    """Python's own clean-up waits for processes that labc has to end before."""
    program = start("""
        import atexit, math, sys
        registered = []
        register = atexit.register
        atexit.register = lambda function, *args, **named: (
            registered.append(function.__qualname__), register(function, *args, **named)
        )[1]
        import labc
        if __name__ == "__main__":
            labc.register(math.factorial, run="process")
            print(labc.functions()[0].name)
            heavy = "multiprocessing importlib.metadata hashlib pickle zoneinfo difflib json tomllib tomlkit psutil"
            print({"ctypes", *heavy.split()} & sys.modules.keys())
            print(labc.call("factorial", 5))
            print([name for name in registered if name in ("_exit_function", "Processes.close")])
    """)
    program.expect("factorial")
    program.expect("{'psutil'}")  # which finds the addresses of the host, as this node is its root
    program.expect("120")
    program.expect("['_exit_function', 'Processes.close']")
    assert program.wait() == 0


def test_a_half_imported_multiprocessing_is_no_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """By another thread, just now."""
    monkeypatch.setitem(sys.modules, "multiprocessing", types.ModuleType("multiprocessing"))
    assert not in_pool()
    assert not being_spawned()
