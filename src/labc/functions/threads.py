"""Worker threads for plain functions: made when needed, ended when idle, never waited for at exit."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from queue import Empty, SimpleQueue
from typing import Any, TypeVar, cast

T = TypeVar("T")
_Outcome = tuple[Any, BaseException | None]
_Job = tuple["asyncio.Future[_Outcome]", Context, Callable[[], Any]]

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
        future: asyncio.Future[_Outcome] = self._loop.create_future()
        job: _Job = (future, context, function)
        # The error is a result of the future: as its exception it would be thrown into those who await, and
        # asyncio takes a StopIteration or a GeneratorExit for its own.
        result, error = await (future if self._assign(job) else self._wait(future, job))
        if isinstance(error, StopIteration):
            raise RuntimeError("the function raised StopIteration") from error
        if error is not None:
            raise error
        return cast(T, result)

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

    async def _wait(self, future: asyncio.Future[_Outcome], job: _Job) -> _Outcome:
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

    def free(self, thread: _Thread) -> None:
        """The thread has done its job: give it the next, or none, or note that it is idle."""
        with self._lock:
            while self._waiting:
                job = self._waiting.popleft()
                if not job[0].cancelled():
                    thread.jobs.put(job)
                    return
            if not self._closed:
                self._idle.append(thread)
                return
            thread.jobs.put(None)
            self._count -= 1
            if not self._count:
                with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                    self._loop.call_soon_threadsafe(self._ended.set)

    def next_job(self, thread: _Thread) -> _Job | None:
        """What a free thread does next, which may be long in coming. None: end."""
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

    def deliver(self, future: asyncio.Future[_Outcome], outcome: _Outcome) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(_settle, future, outcome)


class _Thread:
    """One worker and its letter box."""

    def __init__(self, owner: Threads) -> None:
        self._owner = owner
        self.jobs: SimpleQueue[_Job | None] = SimpleQueue()

    def work(self) -> None:
        job = self.jobs.get()
        while job is not None:
            future, context, function = job
            outcome: _Outcome
            try:
                outcome = context.run(function), None
            except BaseException as error:  # also SystemExit: a function must not end its provider
                outcome = None, error
            self._owner.free(self)  # first, or who gets the result and calls again finds no thread free
            self._owner.deliver(future, outcome)
            del future, context, function, outcome, job
            job = self._owner.next_job(self)


def _settle(future: asyncio.Future[_Outcome], outcome: _Outcome) -> None:
    if not future.done():
        future.set_result(outcome)
