"""What a node hands to a reader who iterates: messages of a topic, events of nodes."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Generic, Protocol, Self, TypeVar

T = TypeVar("T")


class Queue(Protocol[T]):
    """What waits for one reader: bounded, in an order of its own."""

    dropped: int

    def put(self, *items: T) -> None: ...

    def take(self) -> T:
        """Raises IndexError: there is none."""


class Inflow(Generic[T]):
    """What the node knows of a reader: where that goes which is for him."""

    def __init__(self, queue: Queue[T]) -> None:
        self.queue = queue
        self.finished = False
        self.taken = asyncio.Event()
        """Set whenever the reader has taken something, and when he takes no more."""
        self._arrival = asyncio.Event()

    def put(self, *items: T) -> None:
        """They have come."""
        self.queue.put(*items)
        self._arrival.set()

    def finish(self) -> None:
        """No more will come."""
        self.finished = True
        self.taken.set()
        self._arrival.set()

    async def take(self) -> T:
        """The oldest, when there is one. Raises StopAsyncIteration: no more will come."""
        while True:
            with suppress(IndexError):
                item = self.queue.take()
                self.taken.set()
                return item
            if self.finished:
                raise StopAsyncIteration
            self._arrival.clear()
            await self._arrival.wait()


Change = Callable[[Any], Coroutine[Any, Any, None]]


class Reader(Generic[T]):
    """Takes from its inflow, which is attached to the node with the first read, and detached when it is let go of.

    ``detach`` is harmless for an inflow that is not attached.
    """

    def __init__(self, inflow: Inflow[T], attach: Change, detach: Change) -> None:
        self._inflow = inflow
        self._attach = attach
        self._detach = detach
        self._abandoned: Any = None

    @property
    def dropped(self) -> int:
        """What came faster than it was read."""
        return self._inflow.queue.dropped

    async def aclose(self) -> None:
        """Read no more. Closing twice is harmless."""
        self._inflow.finish()
        if self._abandoned is not None and self._abandoned.detach():
            await self._detach(self._inflow)

    async def __aenter__(self) -> Self:
        await self._start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        await self._start()
        return await self._inflow.take()

    async def _start(self) -> None:
        if self._abandoned is not None or self._inflow.finished:
            return
        loop = asyncio.get_running_loop()
        self._abandoned = weakref.finalize(self, _abandon, loop, self._detach, self._inflow)
        self._abandoned.atexit = False
        try:
            await self._attach(self._inflow)
        except BaseException:  # cancelled, for one: the next read begins anew
            abandoned, self._abandoned = self._abandoned, None
            if abandoned is not None:
                abandoned.detach()
            await self._detach(self._inflow)
            raise


def _abandon(loop: asyncio.AbstractEventLoop, detach: Change, inflow: Inflow[Any]) -> None:
    """The reader was let go of (by ``break``, for one): on whatever thread that is, detach what was for him."""

    def begin() -> None:
        loop.create_task(detach(inflow)).add_done_callback(lambda task: task.cancelled() or task.exception())

    inflow.finished = True
    with suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(begin)
