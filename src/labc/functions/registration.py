"""``register``: giving a function to the network."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Literal, ParamSpec, TypeVar

from labc.directory import DEFAULT, Scope, check_function_name, check_scope
from labc.functions.signature import Signature
from labc.registry import (
    Handle,
    Registry,
    is_async_generator_function,
    is_coroutine_function,
    is_generator_function,
    plain,
)

P = ParamSpec("P")
R = TypeVar("R")
Run = Literal["loop", "thread", "process"]


class Registration(Handle[P, R]):
    """A function that the network can call, until :meth:`close`. Calling the handle calls the function here."""

    def __init__(
        self,
        registry: Registry[Any],
        function: Callable[P, R],
        name: str,
        run: Run,
        scope: Scope = DEFAULT,
        listed: bool = True,
        *,
        dangerous: bool = False,
    ) -> None:
        super().__init__(function, name)
        self._registry = registry
        self.name = name
        self.run: Run = run
        self.scope: Scope = scope
        self.listed = listed
        self.dangerous = dangerous
        """Whether it could harm the computer: then on an open network programs of other computers may call it only if
        the setting ``access`` names it."""
        self.signature = Signature(name, function)
        self.yields = is_generator_function(function)
        """Whether it gives values one by one, to be read with ``stream``."""

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
    registry: Registry[Any],
    function: Callable[P, R],
    name: str | None,
    run: Run | None,
    scope: Scope = DEFAULT,
    listed: bool = True,
) -> Registration[P, R]:
    """Check everything that can be checked before anybody calls, and register."""
    function = plain(function)
    if not callable(function):
        raise TypeError(f"register() takes a function, not {function!r}")
    name = check_function_name(name if name is not None else _own_name(function))
    is_coroutine = is_coroutine_function(function) or is_async_generator_function(function)
    chosen: Run = run or ("loop" if is_coroutine else "thread")
    if chosen not in ("loop", "thread", "process"):
        raise ValueError(f"register({name!r}, run={run!r}): expected 'loop', 'thread' or 'process'")
    if is_coroutine and chosen != "loop":
        raise ValueError(f"register({name!r}, run={run!r}): an async function runs on the loop")
    if chosen == "process":
        if is_generator_function(function):
            raise ValueError(f"register({name!r}, run={run!r}): a generator runs in a thread or on the loop")
        _check_importable(function, name)
    check_scope(scope, f"register({name!r})")
    registration = Registration(registry, function, name, chosen, scope, bool(listed))
    registry.replace(registration, lambda older: older.name == name)  # a notebook's cell that is run again
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
        import pickle  # see labc.functions.processes

        try:
            pickle.dumps(bound_to)
        except Exception as error:
            raise ValueError(
                f"register({name!r}, run='process'): the object of this method can't be sent to a process: {error}"
            ) from error
