"""``register``: giving a function to the network."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable
from typing import Any, Generic, Literal, ParamSpec, TypeVar, cast

from labc.directory import check_name
from labc.functions.signature import Signature
from labc.registry import Registry

P = ParamSpec("P")
R = TypeVar("R")
Run = Literal["loop", "thread", "process"]


class Registration(Generic[P, R]):
    """A function that the network can call, until :meth:`close`. Calling the handle calls the function here."""

    def __init__(self, registry: Registry[Any], function: Callable[P, R], name: str, run: Run) -> None:
        self._registry = registry
        self.function = function
        self.name = name
        self.run: Run = run
        self.signature = Signature(name, function)
        self.__wrapped__ = function
        self.__doc__ = function.__doc__
        self.__name__ = getattr(function, "__name__", name)
        self.__qualname__ = getattr(function, "__qualname__", name)
        self.__module__ = getattr(function, "__module__", "") or ""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    def close(self) -> None:
        """Offer the function no more. Calls that are running go on. Closing twice is harmless."""
        self._registry.remove(self)

    @property
    def summary(self) -> str:
        """The first line of the function's documentation."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0].strip()

    def __repr__(self) -> str:
        return f"<labc function {self.signature}>"


def make_registration(
    registry: Registry[Any], function: Callable[P, R], name: str | None, run: Run | None
) -> Registration[P, R]:
    """Check everything that can be checked before anybody calls, and register."""
    function = cast("Callable[P, R]", getattr(function, "function", function))  # a handle of another decorator
    if not callable(function):
        raise TypeError(f"register() takes a function, not {function!r}")
    name = check_name(name if name is not None else _own_name(function))
    is_coroutine = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004
    )
    chosen: Run = run or ("loop" if is_coroutine else "thread")
    if chosen not in ("loop", "thread", "process"):
        raise ValueError(f"register({name!r}, run={run!r}): expected 'loop', 'thread' or 'process'")
    if is_coroutine and chosen != "loop":
        raise ValueError(f"register({name!r}, run={run!r}): an async function runs on the loop")
    if chosen == "process":
        _check_importable(function, name)
    registration = Registration(registry, function, name, chosen)
    for older in registry.entries():
        if older.name == name:  # a notebook's cell that is run again
            registry.remove(older)
    registry.add(registration)
    return registration


def _own_name(function: Callable[..., Any]) -> str:
    name = getattr(function, "__name__", None)
    if not isinstance(name, str) or name == "<lambda>":
        raise ValueError(f"{function!r} has no name of its own: give one, register(..., name='...')")
    return name


def _check_importable(function: Callable[..., Any], name: str) -> None:
    """A spawned process finds the function by module and name."""
    qualname = getattr(function, "__qualname__", "<")
    if "<" in qualname or getattr(function, "__module__", None) is None:
        raise ValueError(
            f"register({name!r}, run='process'): a process finds a function by its module and name, "
            "so it must stand at the top of a module, not be a lambda or nested"
        )
    bound_to = getattr(function, "__self__", None)
    if bound_to is not None and not inspect.ismodule(bound_to):
        try:
            pickle.dumps(bound_to)
        except Exception as error:
            raise ValueError(
                f"register({name!r}, run='process'): the object of this method can't be sent to a process: {error}"
            ) from error
