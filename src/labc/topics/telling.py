"""Messages that do not go over the fabric: for nodes that are named, or so near that nobody else shall hear of it.

They travel on lanes, in order for each node. A node that takes them slower than they come loses the oldest; one that is
gone loses all, and nobody waits for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple

from labc.errors import LabcError
from labc.fabric import Handover

logger = logging.getLogger("labc.topics")

_MAX_WAITING = 10_000
_MAX_BYTES = 64 << 20
_MAX_TOGETHER = 256
_ENOUGH_BYTES = 1 << 20


class Told(NamedTuple):
    """One message, packed as on the fabric."""

    wide: bool
    """Whether all of the network hear it: who subscribed for the network gets it another way."""
    topic: str
    payload: bytes
    attachment: bytes
    unasked: bool = False
    """Whether it was not known who holds its publisher back: such a one gets it, too, as if it did not."""


class _Outbox:
    """What waits for one node."""

    def __init__(self) -> None:
        self.waiting: deque[Told] = deque()
        self.bytes = 0
        self.sending: asyncio.Task[None] | None = None

    def put(self, told: Told) -> int:
        """How many had to go for it."""
        self.waiting.append(told)
        self.bytes += len(told.payload)
        dropped = 0
        while len(self.waiting) > _MAX_WAITING or (self.bytes > _MAX_BYTES and len(self.waiting) > 1):
            self.take()
            dropped += 1
        return dropped

    def take(self) -> Told:
        told = self.waiting.popleft()
        self.bytes -= len(told.payload)
        return told

    def take_some(self) -> list[Told]:
        """As many as go together."""
        some: list[Told] = []
        size = 0
        while self.waiting and len(some) < _MAX_TOGETHER and size < _ENOUGH_BYTES:
            some.append(self.take())
            size += len(some[-1].payload)
        return some

    def clear(self) -> int:
        """How many there were."""
        count = len(self.waiting)
        self.waiting.clear()
        self.bytes = 0
        return count


class Telling:
    """``send(node_id, messages)`` returns when the node has taken them."""

    def __init__(self, send: Callable[[str, Sequence[Told]], Awaitable[None]]) -> None:
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._outboxes: dict[str, _Outbox] = {}
        self._inbox = Handover[tuple[Iterable[str], Told]](self._loop, self._arrived, _MAX_WAITING)
        self._closed = False
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """Messages that came faster than the nodes took them, or whose node was late or lost."""
        return self._dropped + self._inbox.dropped

    def put(self, node_ids: Iterable[str], told: Told) -> None:
        """Tell these nodes, soon. From any thread."""
        self._inbox.put((node_ids, told))

    async def close(self, within: float) -> None:
        """What waits still goes out, within so many seconds."""
        await asyncio.sleep(0)  # what is on its way to the loop
        sending = [box.sending for box in self._outboxes.values() if box.sending is not None]
        if sending:
            await asyncio.wait(sending, timeout=within)
        self._closed = True
        for task in sending:
            task.cancel()

    def _arrived(self, items: list[tuple[Iterable[str], Told]]) -> None:
        for node_ids, told in items:
            for node_id in node_ids:
                box = self._outboxes.setdefault(node_id, _Outbox())
                self._dropped += box.put(told)
                if box.sending is None and not self._closed:
                    box.sending = self._loop.create_task(self._empty(node_id, box), name="labc tells a node")

    async def _empty(self, node_id: str, box: _Outbox) -> None:
        try:
            while box.waiting:
                some = box.take_some()
                try:
                    await self._send(node_id, some)
                except TimeoutError:  # it may still take them, or not
                    self._dropped += len(some)
        except LabcError as error:
            lost = len(some) + box.clear()
            self._dropped += lost
            logger.debug("%d messages did not reach the node %s: %s", lost, node_id, error)
        finally:
            box.sending = None
            if not box.waiting:
                self._outboxes.pop(node_id, None)
