"""Several ways to the same end, started one after the other, the first that succeeds wins (RFC 8305)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

STAGGER = 0.03
"""Seconds between two starts, unless one has failed before. RFC 8305 has 0.25 for the wide world; a lab is near."""


async def race(
    attempts: Sequence[Callable[[], Awaitable[T]]], lose: Callable[[T], object], stagger: float = STAGGER
) -> T:
    """The result of the first attempt that succeeds; the others are cancelled, and late winners given to ``lose``.

    Raises:
        ExceptionGroup: all failed; their errors, in the order of the attempts.
        ValueError: there are no attempts.
    """
    if not attempts:
        raise ValueError("nothing to try")
    tasks: list[asyncio.Task[T]] = []
    try:
        for attempt in attempts:
            tasks.append(asyncio.ensure_future(_run(attempt)))
            await asyncio.wait(tasks, timeout=stagger, return_when=asyncio.FIRST_COMPLETED)
            if winner := _winner(tasks):
                return winner.result()
            # One that has failed already does not hold up the next: wait() returned at once.
        pending = {task for task in tasks if not task.done()}
        while pending:
            _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            if winner := _winner(tasks):
                return winner.result()
        raise ExceptionGroup("no way succeeded", [_error(task) for task in tasks])
    finally:
        await _settle(tasks, lose, keep=_winner(tasks))


async def _run(attempt: Callable[[], Awaitable[T]]) -> T:
    return await attempt()


def _winner(tasks: Sequence[asyncio.Task[T]]) -> asyncio.Task[T] | None:
    for task in tasks:
        if task.done() and not task.cancelled() and task.exception() is None:
            return task
    return None


def _error(task: asyncio.Task[T]) -> Exception:
    error = asyncio.CancelledError() if task.cancelled() else task.exception()
    return error if isinstance(error, Exception) else ConnectionError(repr(error))


async def _settle(tasks: Sequence[asyncio.Task[T]], lose: Callable[[T], object], keep: asyncio.Task[T] | None) -> None:
    losers = [task for task in tasks if task is not keep]
    for task in losers:
        task.cancel()
    if losers:
        await asyncio.wait(losers)
    for task in losers:
        if not task.cancelled() and task.exception() is None:
            lose(task.result())
