"""A thread that makes this node's calls to the engine, one after the other, off the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

from labc.errors import ClosedError

T = TypeVar("T")


class Worker:
    """Runs functions in order in one daemon thread. A daemon, so that a stuck engine can't hold up the exit."""

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[tuple[asyncio.Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._closed = False
        threading.Thread(target=self._work, name=name, daemon=True).start()

    async def run(self, job: Callable[[], T]) -> T:
        """The result of ``job()``. Cancelling forgets the result; a job that has begun runs to its end."""
        return await self.submit(job)

    def submit(self, job: Callable[[], T]) -> asyncio.Future[T]:
        """The same without waiting; from the event loop only."""
        future: asyncio.Future[T] = self._loop.create_future()
        if self._closed:
            future.set_exception(ClosedError("the node is closed"))
        else:
            self._jobs.put((future, job))
        return future

    def close(self) -> None:
        """Take no more jobs; those already taken are still done."""
        self._closed = True
        self._jobs.put(None)

    def _work(self) -> None:
        while (entry := self._jobs.get()) is not None:
            future, job = entry
            try:
                result, error = job(), None
            except Exception as caught:
                result, error = None, caught
            # What the job holds of the engine must not be released by this thread when the program ends: a thread
            # that the interpreter stops in the middle of that aborts the process.
            del entry, job
            try:
                self._loop.call_soon_threadsafe(_settle, future, result, error)
            except RuntimeError:  # the loop is closed: nobody waits any more
                return
            del future, result, error


def _settle(future: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
