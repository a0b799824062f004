"""The sending end of a stream: values from a thread or a task, and messages of them as the credit allows."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from labc.errors import CarryError
from labc.wire import Body, Failure, Window, encode_items

_MAX_TOGETHER = 256
"""Values in a message, at most, and about so many bytes: enough to share its cost, little enough to stay fair."""
_TOGETHER_BYTES = 64 << 10
_TURN = 64
"""Values that a generator on the loop gives in a row, before others have their turn."""
_MAX_UNSENT_BYTES = 8 << 20
"""What may wait here while the lane has no room, whatever credit the receiver gives."""


class Way(Protocol):
    """Over which a stream is sent. For the loop."""

    def send(self, items: Body) -> object:
        """Raises CarryError: the other node does not take that."""

    def finish(self, failure: Failure | None) -> object:
        """That was all, or this is why there is no more."""

    @property
    def has_room(self) -> bool:
        """Whether more may be sent now."""

    async def room(self) -> None:
        """Returns when that is so, or when there is nobody any more to send to."""


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
    ) -> None:
        self._loop = loop
        self._way = way
        self._latest = latest
        self._on_first_credit: Callable[[], object] | None = on_first_credit
        self._room = threading.Condition()
        self._turn: asyncio.Future[None] | None = None
        """The same for a producer on the loop."""
        self._window = Window()
        self._together = _MAX_TOGETHER
        self._unsent: list[Body] = []
        self._unsent_bytes = 0
        self._later: asyncio.Task[None] | None = None
        """Waits for room."""
        self._newest: Body | None = None
        """With ``latest``: taken without credit."""
        self._in_turn = 0
        self._scheduled = False
        self._end: tuple[Failure | None] | None = None
        self.closed = False
        """Whether nobody wants any more of it, or it has ended."""

    # For the producer.

    def put(self, body: Body) -> bool:
        """In a thread: take a value, when there is room for it. False: nobody wants it any more.

        Buffers must not change from here on.
        """
        with self._room:
            while not (self._may_go or self._latest or self.closed):
                self._room.wait()
            wake = self._take(body)
        if wake:
            try:
                self._loop.call_soon_threadsafe(self._flush)
            except RuntimeError:  # the loop is closed
                self.closed = True
        return not self.closed

    async def put_here(self, body: Body) -> bool:
        """The same on the loop."""
        while not (self._may_go or self._latest or self.closed):
            self._turn = self._loop.create_future()
            await self._turn
        with self._room:
            wake = self._take(body)
        if wake:
            self._loop.call_soon(self._flush)
        self._in_turn += 1
        if self._in_turn >= _TURN:
            self._in_turn = 0
            await asyncio.sleep(0)
        return not self.closed

    def end(self, failure: Failure | None = None) -> None:
        """From any thread: there are no more values, or this is why. Ending twice is harmless."""
        with self._room:
            if self.closed or self._end is not None:
                return
            self._end = (failure,)
            self._scheduled = True
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._flush)

    # On the loop.

    def granted(self, items: int, bytes: int) -> None:
        """The receiver takes so much more."""
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
        with self._room:
            self.closed = True
            self._unsent.clear()
            self._newest = None
            self._wake()
        if self._later is not None:
            self._later.cancel()

    # Within.

    @property
    def _may_go(self) -> bool:
        return self._window.is_open and self._unsent_bytes < _MAX_UNSENT_BYTES

    def _take(self, body: Body) -> bool:
        """Whether the loop has to be told. With the lock."""
        if self.closed:
            return False
        if not self._may_go:
            self._newest = body
            return False
        self._window.spend(body.size)
        self._unsent.append(body)
        self._unsent_bytes += body.size
        wake, self._scheduled = not self._scheduled, True
        return wake

    def _wake(self) -> None:
        self._room.notify()
        if self._turn is not None:
            if not self._turn.done():
                self._turn.set_result(None)
            self._turn = None

    def _flush(self) -> None:
        if self.closed:
            return
        if not self._way.has_room:
            if self._later is None:
                self._later = self._loop.create_task(self._flush_later())
            return
        with self._room:
            self._scheduled = False
            unsent, self._unsent = self._unsent, []
            self._unsent_bytes = 0
            if (newest := self._newest) is not None and self._may_go:
                self._newest = None
                self._window.spend(newest.size)
                unsent.append(newest)
            end = self._end if self._newest is None else None
            self._wake()
        self._in_turn = 0
        try:
            self._send_all(unsent)
        except CarryError as error:
            end = (Failure.from_exception(error, host="", node="", ran="yes"),)
        if end is not None:
            self.close()
            self._way.finish(end[0])

    async def _flush_later(self) -> None:
        await self._way.room()
        self._later = None
        self._flush()

    def _send_all(self, unsent: list[Body]) -> None:
        heads: list[bytes] = []
        size = 0
        for body in unsent:
            if heads and (body.buffers or len(heads) >= self._together or size >= _TOGETHER_BYTES):
                self._way.send(Body(encode_items(heads)))
                heads, size = [], 0
            if body.buffers:
                self._way.send(Body(encode_items([body.head]), body.buffers))
            else:
                heads.append(body.head)
                size += len(body.head)
        if heads:
            self._way.send(Body(encode_items(heads)))
