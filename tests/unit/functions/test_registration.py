"""What can be registered, under which name, and where it runs."""

from __future__ import annotations

import functools
import math
from typing import Any

import pytest

from labc.errors import NameInvalidError
from labc.functions import Registration, make_registration
from labc.registry import Handle, Registry


def registered(function: Any, name: str | None = None, run: Any = None) -> Registration[..., Any]:
    return make_registration(Registry(), function, name, run)


def plain(x: int = 1) -> int:
    """First line.

    More.
    """
    return x


async def coroutine() -> None: ...


class Device:
    function = "square"  # an attribute of the same name as a handle's

    def __call__(self) -> str:
        return "called"

    async def later(self) -> None: ...

    def now(self) -> None: ...


class AsyncDevice:
    async def __call__(self) -> None: ...


@pytest.mark.parametrize(
    ("function", "run", "where"),
    [
        (plain, None, "thread"),
        (coroutine, None, "loop"),
        (plain, "loop", "loop"),
        (plain, "thread", "thread"),
        (plain, "process", "process"),
        (coroutine, "loop", "loop"),
        (Device().now, None, "thread"),
        (Device().now, "process", "process"),
        (Device().later, None, "loop"),
        (AsyncDevice(), None, "loop"),
        (functools.partial(coroutine), None, "loop"),
        (functools.partial(plain, 2), None, "thread"),
        (len, None, "thread"),
        (math.sqrt, "process", "process"),
    ],
)
def test_where_it_runs(function: Any, run: Any, where: str) -> None:
    assert registered(function, "f", run).run == where


@pytest.mark.parametrize(
    ("function", "name"), [(plain, "plain"), (Device().now, "now"), (len, "len"), (Device, "Device")]
)
def test_its_own_name(function: Any, name: str) -> None:
    assert registered(function).name == name


@pytest.mark.parametrize("function", [lambda: 1, functools.partial(plain), Device()])
def test_what_has_no_name_of_its_own(function: Any) -> None:
    with pytest.raises(ValueError, match="give one"):
        registered(function)
    assert registered(function, "named").name == "named"


@pytest.mark.parametrize("name", ["", "a\tb", "x" * 256, "ä" * 128, 5, b"a"])
def test_names_that_can_not_be_used(name: Any) -> None:
    with pytest.raises(NameInvalidError):
        registered(plain, name)


@pytest.mark.parametrize("thing", [5, "text", None, plain()])
def test_what_can_not_be_called(thing: Any) -> None:
    with pytest.raises(TypeError, match="takes a function"):
        registered(thing, "f")


@pytest.mark.parametrize(
    ("function", "run", "says"),
    [
        (plain, "threads", "expected 'loop', 'thread' or 'process'"),
        (coroutine, "thread", "an async function runs on the loop"),
        (coroutine, "process", "an async function runs on the loop"),
        (lambda: 1, "process", "top of a module"),
        (functools.partial(plain), "process", "top of a module"),
    ],
)
def test_what_can_not_run_there(function: Any, run: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        registered(function, "f", run)


def test_a_method_of_what_can_not_be_sent_to_a_process() -> None:
    import threading

    class Local:
        def __init__(self) -> None:
            self.lock = threading.Lock()

        def method(self) -> None: ...

    Local.method.__qualname__ = "Local.method"
    with pytest.raises(ValueError, match="can't be sent to a process"):
        registered(Local().method, "f", "process")


def test_only_handles_are_unwrapped() -> None:
    assert registered(Device(), "f")() == "called"
    handle = registered(plain)
    again = registered(handle, "again")
    assert again.function is plain
    assert isinstance(again, Handle)


def test_a_name_registered_again_is_replaced() -> None:
    registry: Registry[Any] = Registry()
    changes: list[tuple[Any, bool]] = []
    first = make_registration(registry, plain, None, None)
    registry.attach(lambda entry, added: changes.append((entry, added)))
    second = make_registration(registry, plain, None, None)
    assert registry.entries() == [second]
    assert changes == [(first, True), (second, True), (first, False)]  # at no moment there is none
    first.close()
    assert registry.entries() == [second]
    second.close()
    second.close()
    assert registry.entries() == []
    assert changes[3:] == [(second, False)]


def test_what_is_refused_is_not_registered() -> None:
    registry: Registry[Any] = Registry()
    kept = make_registration(registry, plain, None, None)
    for name, run in (("", None), ("plain", "nowhere")):
        with pytest.raises(ValueError):
            make_registration(registry, plain, name, run)
    assert registry.entries() == [kept]


def test_its_summary_and_text() -> None:
    registration = registered(plain)
    assert registration.summary == "First line."
    assert repr(registration) == "<labc function plain(x: int = 1) -> int>"
    assert registered(lambda: 1, "f").summary == ""
