"""``messages``: a topic as something to iterate over."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Self

from labc.directory import WIDEST, Scope
from labc.topics.message import Message
from labc.topics.queue import MessageQueue


class Inflow:
    """What the node's topics know of a reader: where its messages go."""

    def __init__(self, pattern: str, queue_size: int, scope: Scope = WIDEST) -> None:
        self.pattern = pattern
        self.scope: Scope = scope
        self.queue = MessageQueue(queue_size)
        self.finished = False
        self._arrival = asyncio.Event()
        self._room = asyncio.Event()

    def put(self, *messages: Message) -> None:
        """They have come."""
        self.queue.put(*messages)
        self._arrival.set()

    async def wait_for_room(self) -> None:
        """Returns when there is room in the queue, or nobody to read it any more."""
        while self.queue.full and not self.finished:
            self._room.clear()
            await self._room.wait()

    def finish(self) -> None:
        """No more will come."""
        self.finished = True
        self._room.set()
        self._arrival.set()

    async def take(self) -> Message:
        """The oldest, when there is one. Raises StopAsyncIteration: no more will come."""
        while True:
            try:
                message = self.queue.take()
                self._room.set()
                return message
            except IndexError:
                if self.finished:
                    raise StopAsyncIteration from None
            self._arrival.clear()
            await self._arrival.wait()


Change = Callable[[Inflow], Coroutine[Any, Any, None]]


class Messages:
    """The messages of a topic or pattern, as they come: ``async for message in node.messages("a/*")``.

    It takes messages from the first ``async for`` on, until it is let go of; ``async with`` takes them from its
    beginning to its end. When the reader is slower than the messages, the oldest are dropped, and counted in
    ``dropped``. For one reader.
    """

    def __init__(self, pattern: str, queue_size: int, attach: Change, detach: Change, scope: Scope = WIDEST) -> None:
        self.pattern = pattern
        self._inflow = Inflow(pattern, queue_size, scope)
        self._attach = attach
        self._detach = detach
        self._abandoned: Any = None

    @property
    def dropped(self) -> int:
        """Messages that came faster than they were read."""
        return self._inflow.queue.dropped

    async def aclose(self) -> None:
        """End the subscription. Closing twice is harmless."""
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

    async def __anext__(self) -> Message:
        await self._start()
        return await self._inflow.take()

    async def _start(self) -> None:
        if self._abandoned is None and not self._inflow.finished:
            loop = asyncio.get_running_loop()
            self._abandoned = weakref.finalize(self, _abandon, loop, self._detach, self._inflow)
            self._abandoned.atexit = False
            await self._attach(self._inflow)


def _abandon(loop: asyncio.AbstractEventLoop, detach: Change, inflow: Inflow) -> None:
    """The reader was let go of (by ``break``, for one): on whatever thread that is, end its subscription."""

    def begin() -> None:
        loop.create_task(detach(inflow)).add_done_callback(lambda task: task.cancelled() or task.exception())

    inflow.finished = True
    with suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(begin)
