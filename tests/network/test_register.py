"""``register``: all its forms, before and after the node runs, as another node sees it."""

from __future__ import annotations

import threading
import time

import pytest

import labc

pytestmark = pytest.mark.usefixtures("here")

FORMS = """
import labc

@labc.register
def bare(x):
    return "bare", x

@labc.register(name="lights.on")
def lamp(x=1):
    return "named", x

@labc.register()
def empty(x):
    return "empty", x

class Motor:
    def __init__(self, axis):
        self.axis = axis
    def move(self, by):
        return self.axis, by

motors = [Motor("x"), Motor("y")]
for motor in motors:
    labc.register(motor.move, name=f"move.{motor.axis}")
labc.register(motors[0].move)
labc.register(len)
labc.register(lambda a, b: a + b, name="plus")

@labc.register
async def coroutine(x):
    return "coroutine", x

class Callable:
    def __call__(self, x):
        return "object", x
    async def later(self, x):
        return "async method", x
labc.register(Callable(), name="object")
labc.register(Callable().later)

labc.serve()
"""


def test_every_form(serve) -> None:
    serve(FORMS)
    assert labc.call("bare", 1) == ("bare", 1)
    assert labc.call("lights.on") == ("named", 1)
    assert labc.call("empty", x=2) == ("empty", 2)
    assert labc.call("move.x", 1) == ("x", 1)
    assert labc.call("move.y", by=2) == ("y", 2)
    assert labc.call("move", 3) == ("x", 3)
    assert labc.call("len", [1, 2, 3]) == 3
    assert labc.call("plus", "a", "b") == "ab"
    assert labc.call("coroutine", 4) == ("coroutine", 4)
    assert labc.call("object", 5) == ("object", 5)
    assert labc.call("later", 6) == ("async method", 6)


NAMES = ["a b", "a/b", "größe", "*", "**", "a?b#c$d", "%2F", "@x", "x" * 255, "labc"]


def test_any_printable_name(serve) -> None:
    serve(f"import labc\nfor name in {NAMES!r}: labc.register(lambda name=name: name, name=name)\nlabc.serve()")
    for name in NAMES:
        assert labc.call(name) == name
    assert sorted(f.name for f in labc.functions()) == sorted(NAMES)


LATE = """
import labc, sys, time
labc.init(name="late")
handles = {}

@labc.register
def add(name, value):
    handles[name] = labc.register(lambda: value, name=name)
    return time.time()

@labc.register
def remove(name):
    handles[name].close()
    handles[name].close()
    return handles[name]()

labc.serve()
"""


def test_registered_while_others_wait(serve) -> None:
    """A function registered now is callable from elsewhere within 0.1 s."""
    serve(LATE)
    labc.call("add", "warm", 0)
    delays = []
    for number in range(5):
        called: list[float] = []

        def wait(name: str, called: list[float] = called) -> None:
            assert labc.call(name) == name
            called.append(time.time())

        waiter = threading.Thread(target=wait, args=(f"late{number}",))
        waiter.start()
        labc.call("warm")
        registered = labc.call("add", f"late{number}", f"late{number}")
        waiter.join(5.0)
        delays.append(called[0] - registered)
    assert sorted(delays)[2] < 0.1, delays


def test_close_is_seen_by_others_and_the_handle_stays_callable(serve, until) -> None:
    serve(LATE)
    labc.call("add", "thing", 7)
    assert labc.call("thing") == 7
    assert labc.call("remove", "thing") == 7
    started = time.monotonic()
    with pytest.raises(labc.NotFoundError):
        labc.call("thing")
    assert time.monotonic() - started < 1.0
    labc.call("add", "thing", 8)
    assert labc.call("thing") == 8


def test_a_name_registered_again_is_replaced(serve) -> None:
    serve(LATE)
    labc.call("add", "thing", 1)
    assert labc.call("thing") == 1
    labc.call("add", "thing", 2)
    assert labc.call("thing") == 2
    assert [f.node for f in labc.functions() if f.name == "thing"] == ["late"]
    labc.call("remove", "thing")
    assert [f for f in labc.functions() if f.name == "thing"] == []


def test_closing_a_replaced_handle_leaves_its_successor() -> None:
    first = labc.register(lambda: 1, name="thing")
    labc.register(lambda: 2, name="thing")
    first.close()
    assert labc.call("thing") == 2


def test_before_and_after_this_node_runs(start) -> None:
    labc.register(lambda: "before", name="before")
    client = "import labc, sys; print(labc.call(sys.argv[1]))"
    labc.nodes()  # it runs
    labc.register(lambda: "after", name="after")
    for name in ("before", "after"):
        program = start(client, name)
        assert program.wait() == 0
        assert program.output == f"{name}\n"


def test_what_is_registered_is_found_at_once(start) -> None:
    """What is registered with a running node is on its way to the others when register() returns."""
    asker = start(
        """
        import labc, sys
        labc.nodes()
        for line in sys.stdin:
            print(labc.at(find_timeout=0.5).call(line.strip()), flush=True)
        """
    )
    labc.nodes()
    for number in range(10):
        labc.register(lambda number=number: number, name=f"f{number}")
        asker.send_line(f"f{number}")
        asker.expect(str(number))


def test_stacked_with_subscribe(until) -> None:
    got = []

    @labc.register
    @labc.subscribe(topic="a/*")
    def both(value: int) -> int:
        got.append(value)
        return value + 1

    @labc.subscribe
    @labc.register
    def other(value: int) -> int:
        got.append(value)
        return value + 2

    assert labc.call("both", 1) == 2
    assert labc.call("other", 2) == 4
    labc.publish("a/b", 3)
    labc.publish("other", 4)
    until(lambda: sorted(got) == [1, 2, 3, 4])
    assert both(5) == 6
    assert other(6) == 8


def test_a_handle_is_like_its_function() -> None:
    @labc.register(name="another.name")
    def function(self: int, name: int = 1) -> int:
        """What it does."""
        return self + name

    assert function(self=1, name=2) == 3
    assert function.__name__ == "function"
    assert function.__doc__ == "What it does."
    assert labc.call("another.name", self=3, name=4) == 7
    [info] = [f for f in labc.functions() if f.name == "another.name"]
    assert info.doc == "What it does."
    assert "self: int, name: int = 1" in info.signature


RUNS = """
import asyncio, os, threading
import labc

def where(kind):
    try:
        asyncio.get_running_loop()
        on_loop = True
    except RuntimeError:
        on_loop = False
    return kind, on_loop, os.getpid(), threading.get_ident()

@labc.register
def plain(): return where("plain")
@labc.register
async def coroutine(): return where("coroutine")
@labc.register(run="loop")
def on_loop(): return where("on_loop")
@labc.register(run="thread")
def in_thread(): return where("in_thread")
@labc.register(run="process")
def in_process(): return where("in_process")
@labc.register
def server(): return os.getpid()
labc.serve()
"""


def test_where_functions_run(serve) -> None:
    serve(RUNS)
    server = labc.call("server")
    for name, on_loop, same_process in [
        ("plain", False, True),
        ("coroutine", True, True),
        ("on_loop", True, True),
        ("in_thread", False, True),
        ("in_process", False, False),
    ]:
        kind, was_on_loop, pid, _ = labc.call(name)
        assert (kind, was_on_loop, pid == server) == (name, on_loop, same_process)
    assert labc.call("coroutine")[3] == labc.call("on_loop")[3]


FLAPPING = """
import labc, threading
handle = labc.register(lambda: "here", name="flapping")

@labc.register
def replace(times):
    for _ in range(times):
        labc.register(lambda: "here", name="flapping")

@labc.register
def flap(times):
    global handle
    for _ in range(times):
        handle.close()
        handle = labc.register(lambda: "here", name="flapping")

labc.serve()
"""


@pytest.mark.parametrize("verb", ["replace", "flap"])
def test_a_name_that_comes_and_goes_while_it_is_called(serve, until, verb: str) -> None:
    """Replacing a function is seen by nobody; and who met the gap of one that was closed finds its return."""
    serve(FLAPPING)
    assert labc.call("flapping") == "here"
    stop, errors = threading.Event(), []

    def call() -> None:
        while not stop.is_set():
            try:
                labc.at(find_timeout=0.0).call("flapping")
            except labc.NotFoundError as error:
                errors.append(error)

    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    labc.call(verb, 100)
    stop.set()
    for caller in callers:
        caller.join(5.0)
    assert labc.call("flapping") == "here"
    if verb == "replace":
        assert errors == []
