"""Messages that do not go over the fabric: for nodes that are named, or so near that nobody else shall hear of it.

They travel on lanes, in order for each node. A thread that publishes them faster than the nodes take them is slowed
down; the loop is not, nor does anybody wait for a node that has stopped: then the oldest are lost, and counted. One
that is gone loses all.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple

from labc.errors import LabcError, PeerLostError
from labc.fabric import Handover

logger = logging.getLogger("labc.topics")

_MAX_WAITING = 10_000
"""Messages for one node, here and on their way to the loop."""
_ROOM_WITHIN = 0.1
_STUCK_AFTER = 1.0
"""Seconds without an answer after which nobody waits for a node any more."""
_LOOK_EVERY = 0.001
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
        self.moved = 0.0
        """When the node took something last, or sending began."""

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
    """``send(node_id, messages)`` returns when the node has taken them; ``take`` takes those for this one, ``here``."""

    def __init__(
        self,
        send: Callable[[str, Sequence[Told]], Awaitable[None]],
        here: str,
        take: Callable[[Sequence[Told]], None],
    ) -> None:
        self._send = send
        self._here = here
        self._take = take
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._outboxes: dict[str, _Outbox] = {}
        self._inbox = Handover[tuple[Iterable[str], Told]](self._loop, self._arrived, _MAX_WAITING, self._overflowed)
        self._lock = threading.Lock()
        self._entered = self._entered_bytes = 0
        """What is in the inbox."""
        self._most = self._most_bytes = 0
        """What waits for the node for which most does, of those that take messages."""
        self._looking = False
        self._closed = False
        self._dropped = 0
        self._told_of_drops = False

    @property
    def dropped(self) -> int:
        """Messages that came faster than the nodes took them, or whose node was late or lost."""
        return self._dropped + self._inbox.dropped

    def put(self, node_ids: Iterable[str], told: Told) -> None:
        """Tell these nodes, soon. From any thread; one that is not the loop's waits for room, as long as the nodes
        take messages, and 0.1 s at most while they don't."""
        size = len(told.payload)
        on_loop = threading.get_ident() == self._loop_thread
        if on_loop or not self._wait_for_room(size):
            with self._lock:
                self._enter(size)
        self._inbox.put((node_ids, told))
        if on_loop and not self._has_room(0):
            self._inbox.drain()

    async def close(self, within: float) -> None:
        """What waits still goes out, within so many seconds."""
        await asyncio.sleep(0)  # what is on its way to the loop
        sending = [box.sending for box in self._outboxes.values() if box.sending is not None]
        if sending:
            await asyncio.wait(sending, timeout=within)
        self._closed = True
        for task in sending:
            task.cancel()

    def _has_room(self, size: int) -> bool:
        """Whether nothing will have to go for one more message of so many bytes."""
        count, waiting_bytes = self._entered + self._most, self._entered_bytes + self._most_bytes
        return count < _MAX_WAITING and (waiting_bytes + size <= _MAX_BYTES or not count)

    def _enter(self, size: int) -> None:
        self._entered += 1
        self._entered_bytes += size

    def _wait_for_room(self, size: int) -> bool:
        """Whether there is room for it; then it has entered."""
        patience = time.monotonic() + _ROOM_WITHIN
        before = self._entered
        while not self._closed:
            with self._lock:
                if self._has_room(size):
                    self._enter(size)
                    return True
            if self._entered < before or self._most:  # something moves
                patience = time.monotonic() + _ROOM_WITHIN
            before = self._entered
            if time.monotonic() >= patience:
                break
            time.sleep(_LOOK_EVERY)
        return False

    def _overflowed(self, item: tuple[Iterable[str], Told]) -> int:
        self._left([item])
        return 1

    def _left(self, items: Sequence[tuple[Iterable[str], Told]]) -> None:
        """They are in the inbox no more."""
        with self._lock:
            self._entered -= len(items)
            self._entered_bytes -= sum(len(told.payload) for _, told in items)

    def _arrived(self, items: list[tuple[Iterable[str], Told]]) -> None:
        own: list[Told] = []
        for node_ids, told in items:
            for node_id in node_ids:
                if node_id == self._here:
                    own.append(told)
                else:
                    self._put(node_id, told)
        self._look()
        self._left(items)
        if own:
            self._take(own)

    def _put(self, node_id: str, told: Told) -> None:
        box = self._outboxes.setdefault(node_id, _Outbox())
        if dropped := box.put(told):
            self._count(dropped, node_id, "it takes them slower than they come")
        if box.sending is None and not self._closed:
            box.moved = time.monotonic()
            box.sending = self._loop.create_task(self._empty(node_id, box), name="labc tells a node")

    def _look(self) -> None:
        """A node that has stopped holds nobody up: what waits for it is dropped in the end."""
        moving = time.monotonic() - _STUCK_AFTER
        boxes = [box for box in self._outboxes.values() if box.moved > moving]
        self._most = max((len(box.waiting) for box in boxes), default=0)
        self._most_bytes = max((box.bytes for box in boxes), default=0)
        if self._most and not self._looking:
            self._looking = True
            self._loop.call_later(_ROOM_WITHIN, self._look_again)

    def _look_again(self) -> None:
        self._looking = False
        self._look()

    async def _empty(self, node_id: str, box: _Outbox) -> None:
        try:
            while box.waiting:
                some = box.take_some()
                try:
                    await self._send(node_id, some)
                except PeerLostError as error:
                    self._count(len(some) + box.clear(), node_id, str(error))
                except (LabcError, TimeoutError) as error:  # it may still take them, or not
                    self._count(len(some), node_id, str(error))
                box.moved = time.monotonic()
                if not self._has_room(_ENOUGH_BYTES):
                    self._look()
        finally:
            box.sending = None
            if not box.waiting:
                self._outboxes.pop(node_id, None)

    def _count(self, dropped: int, node_id: str, why: str) -> None:
        self._dropped += dropped
        level = logging.DEBUG if self._told_of_drops else logging.WARNING
        self._told_of_drops = True
        logger.log(level, "%d messages for the node %s are lost: %s", dropped, node_id, why)
