"""``messages``: a topic as something to iterate over."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Self

from labc.topics.message import Message
from labc.topics.queue import MessageQueue


class Messages:
    """The messages of a topic or pattern, as they come: ``async for message in node.messages("a/*")``.

    It takes messages from the first ``async for`` on; ``async with`` takes them from its beginning, and ends the
    subscription for certain. When the reader is slower than the messages, the oldest are dropped, and counted in
    ``dropped``. For one reader.
    """

    def __init__(
        self,
        pattern: str,
        queue_size: int,
        attach: Callable[[Messages], Awaitable[None]],
        detach: Callable[[Messages], Awaitable[None]],
    ) -> None:
        self.pattern = pattern
        self._queue = MessageQueue(queue_size)
        self._attach = attach
        self._detach = detach
        self._arrival = asyncio.Event()
        self._attached = False
        self._finished = False

    @property
    def dropped(self) -> int:
        """Messages that came faster than they were read."""
        return self._queue.dropped

    def put(self, message: Message) -> None:
        """For the node's topics: one has come."""
        self._queue.put(message)
        self._arrival.set()

    def finish(self) -> None:
        """No more will come: the node is closing."""
        self._finished = True
        self._arrival.set()

    async def aclose(self) -> None:
        """End the subscription. Closing twice is harmless."""
        self.finish()
        if self._attached:
            self._attached = False
            await self._detach(self)

    async def __aenter__(self) -> Self:
        await self._start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        await self._start()
        while True:
            try:
                return self._queue.take()
            except IndexError:
                if self._finished:
                    raise StopAsyncIteration from None
            self._arrival.clear()
            await self._arrival.wait()

    async def _start(self) -> None:
        if not self._attached and not self._finished:
            self._attached = True
            await self._attach(self)
