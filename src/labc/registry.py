"""What a program registered and subscribed, before or after its node runs, from any thread."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")
Entry = TypeVar("Entry")
Change = Callable[[Entry, bool], None]
"""Told of an entry that was added (True) or removed (False), on the thread that did it."""


class Handle(Generic[P, R]):
    """What ``register`` and ``subscribe`` return: it stands for the function, and can be called like it."""

    def __init__(self, function: Callable[P, R], name: str) -> None:
        self.function = function
        self.__wrapped__ = function
        self.__doc__ = function.__doc__
        self.__name__ = getattr(function, "__name__", name)
        self.__qualname__ = getattr(function, "__qualname__", name)
        self.__module__ = getattr(function, "__module__", "") or ""

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)


def plain(function: Callable[P, R]) -> Callable[P, R]:
    """The function itself, where the handle of another decorator was given."""
    return cast("Callable[P, R]", function.function) if isinstance(function, Handle) else function


def is_coroutine_function(function: Callable[..., Any]) -> bool:
    """Also for an object whose ``__call__`` is one."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004
    )


def is_async_generator_function(function: Callable[..., Any]) -> bool:
    """The same for one that yields asynchronously."""
    return inspect.isasyncgenfunction(function) or inspect.isasyncgenfunction(
        getattr(function, "__call__", None)  # noqa: B004
    )


def is_generator_function(function: Callable[..., Any]) -> bool:
    """The same for one that yields, in either way."""
    return is_async_generator_function(function) or any(
        map(inspect.isgeneratorfunction, (function, getattr(function, "__call__", None)))  # noqa: B004
    )


class Registry(Generic[Entry]):
    """Entries in the order in which they were added. A node attaches to it while it runs, and offers them."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._entries: list[Entry] = []
        self._listener: Change[Entry] | None = None

    def add(self, entry: Entry) -> None:
        with self._lock:
            self._entries.append(entry)
            if self._listener:
                self._listener(entry, True)

    def replace(self, entry: Entry, is_older: Callable[[Entry], bool]) -> None:
        """Add the entry and remove those that it replaces, in one step: the new one first, so that there is no moment
        without, and no two threads can each leave theirs."""
        with self._lock:
            older = [known for known in self._entries if is_older(known)]
            self.add(entry)
            for known in older:
                self.remove(known)

    def remove(self, entry: Entry) -> None:
        """Removing what is not there (any more) is harmless."""
        with self._lock:
            if not any(entry is known for known in self._entries):
                return
            self._entries = [known for known in self._entries if known is not entry]
            if self._listener:
                self._listener(entry, False)

    def attach(self, listener: Change[Entry]) -> None:
        """Tell the listener of every entry there is, and of every change from now on."""
        with self._lock:
            self._listener = listener
            for entry in self._entries:
                listener(entry, True)

    def detach(self) -> None:
        with self._lock:
            self._listener = None

    def forget_listener(self) -> None:
        """After fork, in the child: another thread may have held the lock."""
        self._lock = threading.RLock()
        self._listener = None

    @property
    def attached(self) -> bool:
        return self._listener is not None

    def entries(self) -> list[Entry]:
        with self._lock:
            return list(self._entries)

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()
