"""Worker threads for plain functions: made when needed, ended when idle, never waited for at exit."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from queue import Empty, SimpleQueue
from typing import Any, Protocol, TypeVar, cast

T = TypeVar("T")

_IDLE = 10.0
"""Seconds after which a thread with nothing to do ends."""


class Job(Protocol):
    """What a thread does."""

    abandoned: bool
    """Nobody wants it any more: if it has not begun, it need not."""

    def run(self) -> None:
        """In a thread. Must not raise."""

    def deliver(self) -> None:
        """In that thread, which is free again for others: who gets the result may call again at once."""


class Threads:
    """At most ``limit`` threads; what comes when all are busy waits its turn, in order.

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
        """Give the job to a thread, a new one if need be, or let it wait for its turn."""
        with self._lock:
            thread = self._idle.pop() if self._idle else None
            if thread is None:
                if self._count >= self._limit:
                    self._waiting.append(job)
                    return
                thread = _Thread(self)
                threading.Thread(target=thread.work, name=f"{self._name} {self._count + 1}", daemon=True).start()
                self._count += 1
        thread.jobs.put(job)

    def abandon(self, job: Job) -> None:
        """Nobody wants its result any more: it need not begin."""
        job.abandoned = True
        with self._lock, suppress(ValueError):
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
                if not job.abandoned:
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

    def next_job(self, thread: _Thread) -> Job | None:
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

    def deliver(self) -> None:
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
            self._owner.free(self)
            job.deliver()
            del job  # what it holds
            job = self._owner.next_job(self)
