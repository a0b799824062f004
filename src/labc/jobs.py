"""Work on an event loop for which a thread waits, and what signal handlers may interrupt without harm.

A signal handler (that of Ctrl-C, for one) may raise between any two lines of Python. In ``concurrent.futures`` or
``threading.Event`` this can leave a lock locked, for which the loop then waits for ever. So both sides share nothing
here but bare locks and single assignments.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Generic, TypeVar, cast

T = TypeVar("T")

_FIRST_TICK = 0.005
_LAST_TICK = 1.0
"""Seconds of a wait for a lock. A signal that comes just before it is only seen after it, as CPython hands the
interpreter over first; that is likely at the beginning, when the loop wakes up."""


class Gate:
    """Opened once, from any thread; any number of threads wait until then."""

    def __init__(self) -> None:
        self.is_open = False
        self._closed = threading.Lock()
        self._closed.acquire()

    def open(self) -> None:
        self.is_open = True
        with suppress(RuntimeError):  # it was open
            self._closed.release()

    def wait(self, timeout: float = math.inf, give_up: Callable[[], bool] = lambda: False) -> bool:
        """Whether it is open now, after ``timeout`` seconds at most, or when ``give_up()`` is seen to be true."""
        deadline = time.monotonic() + timeout
        tick = _FIRST_TICK
        while not self.is_open:
            left = deadline - time.monotonic()
            if left <= 0 or give_up():
                return self.is_open
            if self._closed.acquire(timeout=min(tick, left)):
                self._closed.release()
            tick = min(2 * tick, _LAST_TICK)
        return True


class Job(Generic[T]):
    """``await work()`` on another thread's loop."""

    def __init__(self, work: Callable[[], Awaitable[T]], loop: asyncio.AbstractEventLoop) -> None:
        self._work = work
        self._loop = loop
        self._task: asyncio.Task[None] | None = None
        self._ended = Gate()
        self._value: T | None = None
        self._error: BaseException | None = None

    def begin(self) -> None:
        """Raises RuntimeError: the loop is closed."""
        self._loop.call_soon_threadsafe(self._begin)

    def result(self) -> T:
        """Wait for it, but not for a loop that turns no more.

        Raises:
            CancelledError: it was cancelled, or its loop is closed.
        """
        if not self._ended.wait(give_up=self._loop.is_closed):
            raise CancelledError
        error, self._error = self._error, None
        try:
            if isinstance(error, asyncio.CancelledError):
                raise CancelledError
            if error is not None:
                raise error
        finally:
            del error  # or it would keep itself, and all that its traceback refers to
        return cast(T, self._value)

    def wait(self, timeout: float) -> bool:
        """Whether it has ended, within so many seconds."""
        return self._ended.wait(timeout)

    def cancel(self) -> None:
        """Nobody waits any more. Also when it has not begun, or has ended."""
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._cancel)

    def _begin(self) -> None:
        self._task = self._loop.create_task(self._run())

    async def _run(self) -> None:
        try:
            self._value = await self._work()
        except BaseException as error:
            self._error = error
        finally:
            self._ended.open()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
