"""From the engine's threads to the event loop: in order, bounded, one wake-up for a burst."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Handover(Generic[T]):
    """``put`` from any thread; ``consume`` gets what has come together, on the loop.

    When ``limit`` items wait, the oldest is dropped and counted in ``dropped``, as ``count`` has it; 0 is no limit, for
    what must not be lost and whose number is bounded by its nature (tokens of nodes).
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        consume: Callable[[list[T]], None],
        limit: int = 0,
        count: Callable[[T], int] = lambda _: 1,
    ) -> None:
        self._loop = loop
        self._consume = consume
        self._limit = limit
        self._count = count
        self._items: deque[T] = deque()
        self._scheduled = False
        self.dropped = 0

    @property
    def waiting(self) -> int:
        """Items that the loop has not taken yet. From any thread."""
        return len(self._items)

    def put(self, item: T) -> None:
        if self._limit and len(self._items) >= self._limit:
            try:
                self.dropped += self._count(self._items.popleft())
            except IndexError:  # the loop was faster
                pass
        self._items.append(item)
        if not self._scheduled:
            self._scheduled = True
            try:
                self._loop.call_soon_threadsafe(self.drain)
            except RuntimeError:  # the loop is closed
                self._items.clear()

    def drain(self) -> None:
        """Consume now what waits. On the loop."""
        self._scheduled = False
        items = []
        try:
            for _ in range(len(self._items)):
                items.append(self._items.popleft())
        except IndexError:  # `put` dropped some meanwhile
            pass
        if items:
            self._consume(items)
