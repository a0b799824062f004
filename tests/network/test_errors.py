"""Bad input, and what it gets."""

from __future__ import annotations

import platform
import re
import time
import traceback

import pytest

import labc

pytestmark = pytest.mark.usefixtures("here")

SERVER = """
import asyncio, logging, sys
import labc
labc.init(name="bad")

class OddError(Exception):
    def __str__(self):
        raise RuntimeError("no text")

class OwnError(Exception):
    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")

def raising(error):
    raise error

KINDS = {
    "value": lambda: raising(ValueError("no good")),
    "empty": lambda: raising(KeyError()),
    "own": lambda: raising(OwnError(1, 2)),
    "odd": lambda: raising(OddError()),
    "exit": lambda: sys.exit(3),
    "interrupt": lambda: raising(KeyboardInterrupt()),
    "stop": lambda: raising(StopIteration(1)),
    "stop async": lambda: raising(StopAsyncIteration()),
    "generator exit": lambda: raising(GeneratorExit()),
    "cancelled": lambda: raising(asyncio.CancelledError()),
    "timeout": lambda: raising(TimeoutError("mine")),
    "group": lambda: raising(ExceptionGroup("several", [ValueError(1), TypeError(2)])),
    "lost": lambda: raising(labc.PeerLostError("x", "y", ran="no")),
    "not found": lambda: raising(labc.NotFoundError("fail")),
    "arguments": lambda: raising(labc.ArgumentsError("f", "bad")),
    "call timeout": lambda: raising(labc.CallTimeoutError("f", 1.0)),
    "nested": lambda: labc.at(find_timeout=0.0).call("really nobody"),
    "recursion": lambda: recurse(),
    "surrogate": lambda: raising(ValueError("\\udc80")),
    "long": lambda: raising(ValueError("x" * 1_000_000)),
}

def recurse():
    return recurse()

@labc.register
def fail(kind):
    return KINDS[kind]()

@labc.register
async def fail_on_loop(kind):
    await asyncio.sleep(0)
    if kind == "nested":
        from labc import aio
        return await aio.at(find_timeout=0.0).call("really nobody")
    return KINDS[kind]()

@labc.register
def fine():
    return "fine"

ran = 0

@labc.register
def strict(number: int, text: str = "", *rest: float, flag: bool = False) -> int:
    global ran
    ran += 1
    return ran

@labc.register(run="loop")
def how_often():
    return ran

labc.serve()
"""

KINDS = {
    "value": ("ValueError", "no good"),
    "empty": ("KeyError", ""),
    "own": ("OwnError", "1 and 2"),
    "odd": ("OddError", "<the exception's __str__ raised>"),
    "exit": ("SystemExit", "3"),
    "interrupt": ("KeyboardInterrupt", ""),
    "stop": (r"StopIteration|RuntimeError", ".*"),
    "stop async": ("StopAsyncIteration", ""),
    "generator exit": ("GeneratorExit", ""),
    "cancelled": (r"asyncio\.exceptions\.CancelledError", ""),
    "timeout": ("TimeoutError", "mine"),
    "group": ("ExceptionGroup", r"several \(2 sub-exceptions\)"),
    "lost": (r"labc\.errors\.PeerLostError", ".*"),
    "not found": (r"labc\.errors\.NotFoundError", ".*"),
    "arguments": (r"labc\.errors\.ArgumentsError", r"f\(\): bad"),
    "call timeout": (r"labc\.errors\.CallTimeoutError", ".*"),
    "nested": (r"labc\.errors\.NotFoundError", "nobody offers 'really nobody'.*"),
    "recursion": ("RecursionError", "maximum recursion depth.*"),
    "surrogate": ("ValueError", r"\\udc80"),
    "long": ("ValueError", "(?s)x{4000}.*bytes left out.*x{4000}"),
}


@pytest.mark.parametrize("function", ["fail", "fail_on_loop"])
def test_a_function_that_raises(serve, function: str) -> None:
    server = serve(SERVER)
    for kind, (name, message) in KINDS.items():
        started = time.monotonic()
        with pytest.raises(labc.RemoteError) as caught:
            labc.at(timeout=5.0).call(function, kind)
        error = caught.value
        assert re.fullmatch(name, error.type), kind
        assert re.fullmatch(message, error.message), kind
        assert (error.host, error.node) == (platform.node(), "bad")
        assert f"at bad on {platform.node()}" in str(error)
        assert time.monotonic() - started < 2.0, kind
        assert labc.call("fine") == "fine", kind
    assert server.running
    # The provider has logged each of them.
    for kind in ("value", "own", "exit"):
        name, message = KINDS[kind]
        server.expect(re.compile(f"raised {name}: {message}"), stream="stderr")


def test_the_remote_traceback_is_shown(serve) -> None:
    serve(SERVER)
    with pytest.raises(labc.RemoteError) as caught:
        labc.call("fail", "value")
    assert "in raising\n    raise error\nValueError: no good" in caught.value.traceback
    assert "labc/functions" not in caught.value.traceback
    shown = "".join(traceback.format_exception(caught.value))
    assert "Remote traceback, bad on " in shown
    assert "raise error" in shown


def test_the_network_stays_usable_after_system_exit_in_the_only_thread(serve) -> None:
    server = serve(SERVER)
    for _ in range(20):
        with pytest.raises(labc.RemoteError, match="SystemExit"):
            labc.call("fail", "exit")
    assert labc.call("fine") == "fine"
    assert server.running


WRONG_ARGUMENTS = [
    ((), {}, "number", "int", "missing a required argument: 'number'"),
    (("one",), {}, "number", "int", "expected `int`, got `str`"),
    ((1.5,), {}, "number", "int", "expected `int`, got `float`"),
    ((None,), {}, "number", "int", "expected `int`, got `NoneType`"),
    ((1, 2), {}, "text", "str", "expected `str`, got `int`"),
    ((1, "a", "b"), {}, "*rest[0]", "float", "expected `float`, got `str`"),
    ((1, "a", 1.0, 2, []), {}, "*rest[2]", "float", "expected `float`, got `list`"),
    ((1,), {"flag": 1}, "flag", "bool", "expected `bool`, got `int`"),
    ((1,), {"flags": True}, "flags", "", "unexpected keyword argument 'flags' (did you mean 'flag'?)"),
    ((1,), {"number": 1}, "number", "int", "multiple values for argument 'number'"),
]


def test_wrong_arguments(serve) -> None:
    serve(SERVER)
    for args, kwargs, argument, expected, says in WRONG_ARGUMENTS:
        with pytest.raises(labc.ArgumentsError) as caught:
            labc.call("strict", *args, **kwargs)
        error = caught.value
        assert (error.function, error.argument, error.expected) == ("strict", argument, expected)
        assert says in str(error)
        assert str(error).startswith("strict(): ")
        assert "it is strict(number: int, text: str = '', *rest: float, flag: bool = False) -> int" in str(error)
        assert isinstance(error, TypeError)
    assert labc.call("how_often") == 0
    assert labc.call("strict", 1, "a", 1, 2.0, flag=True) == 1


def test_too_many_arguments(serve) -> None:
    serve(SERVER)
    with pytest.raises(labc.ArgumentsError, match=r"how_often\(\): too many positional arguments"):
        labc.call("how_often", 1)


def test_a_name_nobody_offers(serve) -> None:
    serve(SERVER)
    labc.call("fine")
    started = time.monotonic()
    with pytest.raises(labc.NotFoundError) as caught:
        labc.call("strikt")
    assert 1.9 < time.monotonic() - started < 2.7
    error = caught.value
    assert error.name == "strikt"
    assert error.near == ("strict",)
    assert (error.nodes, error.hosts) == (2, 1)
    assert "did you mean 'strict'?" in str(error)
    assert "looked at 2 nodes on 1 host" in str(error)


@pytest.mark.parametrize(("find_timeout", "least", "most"), [(0.0, 0.0, 0.5), (0.5, 0.45, 1.1)])
def test_find_timeout(serve, find_timeout: float, least: float, most: float) -> None:
    serve(SERVER)
    labc.call("fine")
    started = time.monotonic()
    with pytest.raises(labc.NotFoundError):
        labc.at(find_timeout=find_timeout).call("nobody")
    assert least <= time.monotonic() - started < most


def test_who_comes_while_one_waits(start, serve) -> None:
    """A name that appears within find_timeout is found at once."""
    caller = start("import labc, time; print(labc.call('fine')); print(time.time())")
    serve(SERVER)
    caller.expect("fine")


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 256, 7, None])
def test_names_that_can_not_be_used(name) -> None:
    with pytest.raises(labc.NameInvalidError):
        labc.call(name)
    with pytest.raises(labc.NameInvalidError):
        labc.call_all(name)
    if name is not None:
        with pytest.raises(labc.NameInvalidError):
            labc.register(len, name=name)


def test_the_overloaded_say_so(serve) -> None:
    import concurrent.futures

    serve(
        """
        import labc, time
        labc.init(max_calls=3)
        labc.register(time.sleep, name="sleep")
        labc.serve()
        """
    )
    labc.call("sleep", 0)
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        calls = [pool.submit(labc.call, "sleep", 0.5) for _ in range(10)]
    errors = [call.exception() for call in calls]
    assert sum(error is None for error in errors) == 3
    assert {type(error) for error in errors if error} == {labc.OverloadedError}
    assert labc.call("sleep", 0) is None


ENDS_ITSELF = """
import dataclasses, sys
import labc
labc.init(threads=2)

@dataclasses.dataclass
class Config:
    x: int
    def __post_init__(self):
        if self.x < 0:
            sys.exit("bad config")

@dataclasses.dataclass
class Result:
    x: int
    def __getattribute__(self, name):
        if name == "x":
            raise KeyboardInterrupt
        return object.__getattribute__(self, name)

@labc.register
def take(config: Config): return config.x

@labc.register
async def take_on_loop(config: Config): return config.x

@labc.register
def give(): return Result(1)

@labc.register
async def give_on_loop(): return Result(1)

labc.serve()
"""


@pytest.mark.parametrize("name", ["take", "take_on_loop", "give", "give_on_loop"])
def test_a_type_that_ends_the_program_ends_one_call(serve, name: str) -> None:
    """While the arguments are made, or the result is read. More often than there are threads."""
    server = serve(ENDS_ITSELF)
    for _ in range(5):
        with pytest.raises(labc.LabcError, match="SystemExit" if "take" in name else "KeyboardInterrupt"):
            labc.at(timeout=5).call(name, *([{"x": -1}] if "take" in name else []))
    assert labc.at(timeout=5).call("take", {"x": 1}) == 1
    server.terminate()
    assert server.wait(2.0) == 143
