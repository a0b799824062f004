"""Spawned processes for CPU-bound functions."""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import multiprocessing
import operator
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from labc.functions.context import CallContext, set_current_call


class ProcessDiedError(Exception):
    """A process of the pool ended in the middle of a function."""


class Processes:
    """A pool that is made with the first call, and made anew when one of its processes dies."""

    def __init__(self, count: int) -> None:
        self._count = count or os.cpu_count() or 1
        self._pool: ProcessPoolExecutor | None = None

    async def run(
        self, context: CallContext, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        """The result of ``function(*args, **kwargs)`` in one of the processes.

        Cancelling forgets the result; a function that has begun runs to its end, at most to its deadline if it
        looks at ``current_call().cancelled``.

        Raises:
            ProcessDiedError: it was killed, or crashed in an extension.
        """
        pool = self._pool = self._pool or ProcessPoolExecutor(
            self._count, mp_context=multiprocessing.get_context("spawn")
        )
        caller = (context.name, context.host, context.node, context.node_id, context.remaining)
        job = functools.partial(_run, caller, _reference(function), tuple(args), dict(kwargs))
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, job)
        except BrokenProcessPool as error:
            if self._pool is pool:
                self._pool = None
            pool.shutdown(wait=False)
            raise ProcessDiedError("it died") from error

    def close(self) -> None:
        """End the processes at once, whatever they do."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        processes = list((getattr(pool, "_processes", None) or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.kill()


def being_spawned() -> bool:
    """Whether this is a spawned process that is importing its parent's main module, to know its functions."""
    return getattr(multiprocessing.current_process(), "_inheriting", False)


_Reference = tuple[str, str, Any]


def _reference(function: Callable[..., Any]) -> _Reference:
    """Module, name, and for a method the object it is bound to."""
    bound_to = getattr(function, "__self__", None)
    if bound_to is not None and not inspect.ismodule(bound_to) and not inspect.isclass(bound_to):
        return function.__module__, function.__name__, bound_to
    return function.__module__, function.__qualname__, None


def _run(caller: tuple[Any, ...], reference: _Reference, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """In the process."""
    module, name, bound_to = reference
    home = bound_to if bound_to is not None else importlib.import_module(module)
    function = operator.attrgetter(name)(home)
    set_current_call(CallContext(*caller))
    return getattr(function, "function", function)(*args, **kwargs)
