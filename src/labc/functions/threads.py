"""Worker threads for plain functions: made when needed, ended when idle, never waited for at exit."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")
_Job = tuple["asyncio.Future[Any]", Context, Callable[[], Any]]

_IDLE = 10.0
"""Seconds after which a thread with nothing to do ends."""


class Threads:
    """At most ``limit`` threads; what comes when all are busy waits its turn, in order.

    The most recently used thread is taken first: its stack is warm, and the others can end.
    """

    def __init__(self, limit: int, name: str) -> None:
        self._limit = limit
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._idle: deque[_Thread] = deque()
        self._waiting: deque[_Job] = deque()
        self._count = 0
        self._lock = threading.Lock()
        self._closed = False
        self._ended = asyncio.Event()

    async def run(self, context: Context, function: Callable[[], T]) -> T:
        """The result of ``function()`` in a thread, with these context variables.

        Cancelling forgets the result; a thread that has begun runs to its end.
        """
        future: asyncio.Future[T] = self._loop.create_future()
        job: _Job = (future, context, function)
        if not self._assign(job):
            return await self._wait(future, job)
        return await future

    def _assign(self, job: _Job) -> bool:
        """Give the job to a thread, a new one if need be. False: it waits for its turn."""
        with self._lock:
            thread = self._idle.pop() if self._idle else None
            if thread is None:
                if self._count >= self._limit:
                    self._waiting.append(job)
                    return False
                thread = _Thread(self)
                threading.Thread(target=thread.work, name=f"{self._name} {self._count + 1}", daemon=True).start()
                self._count += 1
        thread.jobs.put(job)
        return True

    async def _wait(self, future: asyncio.Future[T], job: _Job) -> T:
        try:
            return await future
        finally:
            with self._lock, suppress(ValueError):  # cancelled before its turn
                self._waiting.remove(job)

    def close(self) -> None:
        """Idle threads end now, busy ones after their function."""
        with self._lock:
            self._closed = True
            idle = list(self._idle)
            self._idle.clear()
            self._count -= len(idle)
            if not self._count:
                self._ended.set()
        for thread in idle:
            thread.jobs.put(None)

    async def ended(self, within: float) -> None:
        """After :meth:`close`: wait for the busy ones, at most ``within`` seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._ended.wait()

    def next_job(self, thread: _Thread) -> _Job | None:
        """What the thread, which has just become free, does next. None: end."""
        with self._lock:
            while self._waiting:
                job = self._waiting.popleft()
                if not job[0].cancelled():
                    return job
            if self._closed:
                self._count -= 1
                if not self._count:
                    with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                        self._loop.call_soon_threadsafe(self._ended.set)
                return None
            self._idle.append(thread)
        try:
            return thread.jobs.get(timeout=_IDLE)
        except Empty:
            pass
        with self._lock:
            if thread in self._idle:
                self._idle.remove(thread)
                self._count -= 1
                return None
        return thread.jobs.get()  # chosen at the last moment: the job is on its way

    def deliver(self, future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(_settle, future, result, error)


class _Thread:
    """One worker and its letter box."""

    def __init__(self, owner: Threads) -> None:
        self._owner = owner
        self.jobs: SimpleQueue[_Job | None] = SimpleQueue()

    def work(self) -> None:
        job = self.jobs.get()
        while job is not None:
            future, context, function = job
            try:
                result, error = context.run(function), None
            except BaseException as caught:  # also SystemExit: a function must not end its provider
                result, error = None, caught
            self._owner.deliver(future, result, error)
            del future, context, function, result, error, job
            job = self._owner.next_job(self)


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(_carried(error))


def _carried(error: BaseException) -> BaseException:
    """A future refuses StopIteration."""
    if isinstance(error, StopIteration):
        wrapped = RuntimeError("the function raised StopIteration")
        wrapped.__cause__ = error
        return wrapped
    return error
