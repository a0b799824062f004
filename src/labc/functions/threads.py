"""Worker threads for plain functions: made when needed, ended when idle, never waited for at exit."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from queue import Empty, SimpleQueue
from typing import Any, Protocol, TypeVar, cast

T = TypeVar("T")

_TRUST = 0.001
"""Seconds. Trade-off: what a job may wait behind a slow one, against a wake-up for each job."""
_IDLE = 10.0
"""Seconds after which a thread with nothing to do ends."""


class Job(Protocol):
    """What a thread does."""

    abandoned: bool
    """Nobody wants it any more: if it has not begun, it need not."""

    def run(self) -> None:
        """In a thread. Must not raise."""


class Threads:
    """At most ``limit`` threads; what comes when all are busy waits its turn, in order.

    One that has just begun a job is trusted for a millisecond to end it and go on with the next: for short functions
    this saves most changes of thread, which cost more than they do. Then others help, twice as many each time.
    The most recently used thread is taken first: its stack is warm, and the others can end.
    """

    def __init__(self, limit: int, name: str) -> None:
        self._limit = limit
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._idle: deque[_Thread] = deque()
        self._waiting: deque[Job] = deque()
        self._count = 0
        self._lock = threading.Lock()
        self._latest: _Thread | None = None
        """The one that began a job last, if it is still at it."""
        self._began = 0.0
        self._helpers = 1
        self._look: asyncio.TimerHandle | None = None
        self._closed = False
        self._ended = asyncio.Event()

    async def run(self, context: Context, function: Callable[[], T]) -> T:
        """The result of ``function()`` in a thread, with these context variables.

        Cancelling forgets the result; a thread that has begun runs to its end.
        """
        call = _Call(self._loop, context, function)
        self.start(call)
        try:
            await call.done
        except asyncio.CancelledError:
            self.abandon(call)
            raise
        if isinstance(call.error, StopIteration):
            raise RuntimeError("the function raised StopIteration") from call.error
        if call.error is not None:
            raise call.error
        return cast(T, call.result)

    def start(self, job: Job) -> None:
        """Have a thread do the job, now or when it is its turn. From the loop."""
        with self._lock:
            self._waiting.append(job)
            if not self._somebody_is_about_to_take():
                self._wake()
                return
        if self._look is None:
            self._look = self._loop.call_later(_TRUST, self._look_again)

    def abandon(self, job: Job) -> None:
        """Nobody wants its result any more: it need not begin."""
        job.abandoned = True
        with self._lock, suppress(ValueError):
            self._waiting.remove(job)

    def close(self) -> None:
        """Idle threads end now, busy ones after their function."""
        if self._look is not None:
            self._look.cancel()
        with self._lock:
            self._closed = True
            self._waiting.clear()
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

    def next_job(self, thread: _Thread) -> Job | None:
        """What a thread that is free does next, which may be long in coming. None: end."""
        with self._lock:
            if (job := self._take(thread)) is not None:
                return job
            if self._latest is thread:
                self._latest = None
            if self._closed:
                self._end_one()
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

    def _somebody_is_about_to_take(self) -> bool:
        return self._latest is not None and time.monotonic() - self._began < _TRUST

    def _look_again(self) -> None:
        self._look = None
        with self._lock:
            if not self._waiting:
                self._helpers = 1
                return
            if self._somebody_is_about_to_take():
                self._helpers = 1
            else:
                for _ in range(min(self._helpers, len(self._waiting))):
                    self._wake()
                self._helpers = min(2 * self._helpers, self._limit)
            free = bool(self._idle) or self._count < self._limit
            if self._waiting and free:
                self._look = self._loop.call_later(_TRUST, self._look_again)

    def _wake(self) -> None:
        """Give the next job to an idle thread, or a new one. With the lock."""
        if not self._waiting or not (self._idle or self._count < self._limit):
            return
        if self._idle:
            thread = self._idle.pop()
        else:
            thread = _Thread(self)
            self._count += 1
            threading.Thread(target=thread.work, name=f"{self._name} {self._count}", daemon=True).start()
        if (job := self._take(thread)) is not None:
            thread.jobs.put(job)
        else:
            self._idle.append(thread)

    def _take(self, thread: _Thread) -> Job | None:
        """The next job that somebody still wants. With the lock."""
        while self._waiting:
            job = self._waiting.popleft()
            if not job.abandoned:
                self._latest = thread
                self._began = time.monotonic()
                return job
        return None

    def _end_one(self) -> None:
        self._count -= 1
        if not self._count:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._ended.set)


class _Call:
    """A function whose result somebody awaits. An error is kept as a result: as the future's exception it would be
    thrown into those who await, and asyncio takes a StopIteration or a GeneratorExit for its own."""

    def __init__(self, loop: asyncio.AbstractEventLoop, context: Context, function: Callable[[], Any]) -> None:
        self.done: asyncio.Future[None] = loop.create_future()
        self.abandoned = False
        self.result: Any = None
        self.error: BaseException | None = None
        self._loop = loop
        self._context = context
        self._function = function

    def run(self) -> None:
        try:
            self.result = self._context.run(self._function)
        except BaseException as error:  # also SystemExit: a function must not end its provider
            self.error = error
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        if not self.done.done():
            self.done.set_result(None)


class _Thread:
    """One worker and its letter box."""

    def __init__(self, owner: Threads) -> None:
        self._owner = owner
        self.jobs: SimpleQueue[Job | None] = SimpleQueue()

    def work(self) -> None:
        job = self.jobs.get()
        while job is not None:
            job.run()
            del job  # what it holds
            job = self._owner.next_job(self)
