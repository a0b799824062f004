"""The sending end of a stream: values from a thread or a task, and messages of them as the credit allows."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice
from typing import Protocol

from labc.errors import CarryError
from labc.wire import ITEMS_HEADER, Body, Failure, Window

_MAX_TOGETHER = 256
"""Values in a message, at most, and about so many bytes: enough to share its cost, little enough to stay fair."""
_TOGETHER_BYTES = 64 << 10
_TURN = 64
"""Values that a generator on the loop gives in a row, before others have their turn."""
_MAX_UNSENT_BYTES = 8 << 20
"""What may wait here while the lane has no room, whatever credit the receiver gives."""
_OVERHEAD = 100
"""Bytes of memory that a value takes here beside its own."""


class Way(Protocol):
    """Over which a stream is sent. For the loop, but for ``limit``."""

    @property
    def limit(self) -> int:
        """The most bytes that the other side takes in one message. From any thread."""

    def send(self, values: Sequence[Body]) -> object:
        """In one message: one value, or some without buffers."""

    def finish(self, failure: Failure | None) -> object:
        """That was all, or this is why there is no more."""

    @property
    def has_room(self) -> bool:
        """Whether more may be sent now."""

    async def room(self) -> None:
        """Returns when that may be so, or when there is nobody any more to send to."""


class Sender:
    """One stream on its way out. One producer, in a thread or on the loop, puts its values in and ends it.

    It takes a value when the receiver has given credit for it; with ``latest`` it takes any, and of those that can't be
    sent keeps the newest. What it took is sent on the loop, with what was put meanwhile: a producer that is quick need
    not wake the loop for each value.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        way: Way,
        *,
        latest: bool = False,
        on_first_credit: Callable[[], object] = lambda: None,
        on_close: Callable[[], object] = lambda: None,
    ) -> None:
        self._loop = loop
        self._way = way
        self._limit = way.limit - ITEMS_HEADER
        self._latest = latest
        self._on_first_credit: Callable[[], object] | None = on_first_credit
        self._on_close = on_close
        self._room = threading.Condition()
        self._turn: asyncio.Future[None] | None = None
        """The same for a producer on the loop."""
        self._window = Window()
        self._together = _MAX_TOGETHER
        self._unsent: deque[Body] = deque()
        self._unsent_bytes = 0
        self._newest: Body | None = None
        """With ``latest``: taken without credit, and newer than all else."""
        self._in_turn = 0
        self._scheduled = False
        self._later: asyncio.Task[None] | None = None
        """Waits for room."""
        self._end: tuple[Failure | None] | None = None
        self.closed = False
        """Whether nobody wants any more of it, or it has ended."""

    # For the producer.

    def put(self, body: Body) -> bool:
        """In a thread: take a value, when there is room for it. False: nobody wants it any more.

        Buffers must not change from here on.

        Raises:
            CarryError: it is larger than the other side takes.
        """
        size = self._size_of(body)
        with self._room:
            while not (self._takes or self.closed):
                self._room.wait()
            wake = self._take(body, size)
        if wake:
            self._soon()
        return not self.closed

    async def put_here(self, body: Body) -> bool:
        """The same on the loop."""
        size = self._size_of(body)
        while not (self._takes or self.closed):
            self._turn = self._loop.create_future()
            await self._turn
        with self._room:
            wake = self._take(body, size)
        if wake:
            self._loop.call_soon(self._flush)
        self._in_turn += 1
        if self._in_turn >= _TURN:
            self._in_turn = 0
            await asyncio.sleep(0)
        return not self.closed

    def put_if_room(self, body: Body) -> bool:
        """From any thread, without waiting; False: there is no room now, or nobody wants it any more."""
        size = self._size_of(body)
        with self._room:
            if self.closed or not self._takes:
                return False
            wake = self._take(body, size)
        if wake:
            self._soon()
        return True

    def end(self, failure: Failure | None = None) -> None:
        """From any thread: there are no more values, or this is why. Ending twice is harmless."""
        with self._room:
            if self.closed or self._end is not None:
                return
            self._end = (failure,)
            self._scheduled = True
        self._soon()

    # On the loop.

    def granted(self, items: int, bytes: int) -> None:
        """The receiver takes so much more."""
        if self.closed:
            return
        first, self._on_first_credit = self._on_first_credit, None
        with self._room:
            self._window.grant(items, bytes)
            if first is not None:
                self._together = max(1, min(_MAX_TOGETHER, items // 8))
            self._wake()
        if first is not None:
            first()
        if self._newest is not None:
            self._flush()

    def close(self) -> None:
        """Nobody wants any more of it: the producer is told with the next value, or now if it waits for room."""
        if self.closed:
            return
        with self._room:
            self.closed = True
            self._unsent.clear()
            self._newest = None
            self._wake()
        if self._later is not None:
            self._later.cancel()
        self._on_close()

    # Within.

    @property
    def _may_go(self) -> bool:
        return self._window.is_open and self._unsent_bytes < _MAX_UNSENT_BYTES

    @property
    def _takes(self) -> bool:
        return self._latest or self._may_go

    def _size_of(self, body: Body) -> int:
        """Raises CarryError."""
        size = body.size if body.buffers else len(body.head)
        if size > self._limit:
            limit = self._limit + ITEMS_HEADER
            problem = f"{size + ITEMS_HEADER} bytes are more than max_message_bytes={limit} of the node that gets it"
            raise CarryError("a value", problem)
        return size

    def _take(self, body: Body, size: int) -> bool:
        """Whether the loop has to be told. With the lock."""
        if self.closed:
            return False
        if not self._may_go:
            self._newest = body
            return False
        self._newest = None
        self._append(body, size)
        wake, self._scheduled = not self._scheduled, True
        return wake

    def _append(self, body: Body, size: int) -> None:
        self._window.spend(size)
        self._unsent.append(body)
        self._unsent_bytes += size + _OVERHEAD

    def _wake(self) -> None:
        self._room.notify()
        if self._turn is not None:
            if not self._turn.done():
                self._turn.set_result(None)
            self._turn = None

    def _soon(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._flush)
        except RuntimeError:  # the loop is closed
            self.closed = True

    def _flush(self) -> None:
        """Send what there is, as long as there is room."""
        self._in_turn = 0
        while not self.closed:
            if not self._way.has_room:
                if self._later is None:
                    self._later = self._loop.create_task(self._flush_later())
                return
            with self._room:
                if self._newest is not None and not self._unsent and self._may_go:
                    self._append(self._newest, self._newest.size)
                    self._newest = None
                bodies = self._next_message()
                if not bodies:
                    self._scheduled = False
                    end = self._end if self._newest is None else None
                    break
                self._wake()
            self._way.send(bodies)
        else:
            return
        if end is not None:
            self.close()
            self._way.finish(end[0])

    async def _flush_later(self) -> None:
        with suppress(asyncio.CancelledError):
            await self._way.room()
            self._later = None
            self._flush()

    def _next_message(self) -> list[Body]:
        """What is sent together: one value with buffers, or some without. With the lock."""
        unsent = self._unsent
        if not unsent:
            return []
        if unsent[0].buffers:
            bodies = [unsent.popleft()]
            size = bodies[0].size
        else:
            bodies = []
            size, most = 0, min(_TOGETHER_BYTES, self._limit)
            for body in islice(unsent, self._together):
                larger = size + len(body.head)
                if body.buffers or (bodies and larger > most):
                    break
                bodies.append(body)
                size = larger
            for _ in bodies:
                unsent.popleft()
        self._unsent_bytes -= size + _OVERHEAD * len(bodies)
        return bodies
