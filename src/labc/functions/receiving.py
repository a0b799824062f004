"""The receiving end of a stream: what arrived and was not taken yet, and the credit for more."""

from __future__ import annotations

import asyncio
import math
import os
import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import msgspec

from labc.errors import ClosedError, ForkedError, LabcError, ProtocolError
from labc.jobs import Gate
from labc.wire import ITEMS_HEADER, Body, Failure, Window, count_items, decode_items

_PARTS = 4
"""Credit is given back when a part of the window like this has been read: rarely enough to cost little, and soon enough
for the sender never to wait for a reader who is quick."""

Grant = Callable[[int, int], object]


class EndOfStream(Exception):
    """There are no more values."""


class WaitedLongEnoughError(Exception):
    """No value came in time. A TimeoutError may be anybody's: an iterable's, for one."""


class _Arrived(msgspec.Struct, gc=False):
    head: Any
    buffers: Sequence[Any]
    items: int
    bytes: int


class Receiver:
    """One stream on its way in, for one reader, in any thread or on the loop.

    The sender may be ``items`` values and ``bytes`` bytes ahead of the reader. With ``latest`` the reader gets the
    newest value each time, and what came before it and was not read is dropped.

    Between the loop and a reader in a thread there is no lock: a signal may interrupt the reader anywhere.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, where: str, items: int, bytes: int, *, latest: bool = False
    ) -> None:
        self._loop = loop
        self._process = os.getpid()
        self._where = where
        self._size = (2, bytes) if latest else (items, bytes)
        self._latest = latest
        self._window = Window()
        """What the sender may still send."""
        self._grant: Grant = lambda items, bytes: None
        self.on_close: Callable[[], object] = lambda: None
        """Called on the loop when nobody reads any more, and there may still be something to come."""
        self._arrived: deque[_Arrived] = deque()
        self._reading: _Arrived | None = None
        """What the reader has, for whose room no credit was given yet."""
        self._owed_items = self._owed_bytes = 0
        self._wake: Callable[[], object] = lambda: None
        self._over = False
        self._error: BaseException | None = None
        self._undecodable: LabcError | None = None
        self.begun = False
        """Whether anything has come."""
        self.skipped = 0
        """With ``latest``: values that came, and were not read."""

    # On the loop.

    def begin(self, grant: Grant) -> None:
        """It is asked for: ``grant(items, bytes)`` gives the sender credit."""
        self._grant = grant
        self._window = Window()
        self._give(*self._size)

    def arrived(self, head: Any, buffers: Sequence[Any]) -> None:
        """Values have come. Raises ProtocolError: more than there was credit for, or no values."""
        items = count_items(head)
        size = len(head) - ITEMS_HEADER + sum(buffer.nbytes for buffer in buffers)
        if not self._window.is_open or items > self._window.items:
            raise ProtocolError(f"an ITEM of {items} values and {size} bytes, without credit for it")
        self._window.spend(size)
        self._window.items -= items - 1
        self.begun = True
        if self._over:
            return
        if self._latest:
            with suppress(IndexError):
                self.skipped += self._arrived.pop().items
            self.skipped += items - 1
            self._give(items, size)
        self._arrived.append(_Arrived(head, buffers, items, size))
        self._wake()

    def ended(self, error: BaseException | None = None) -> None:
        """No more will come: it came to its end, or this is why."""
        if not self._over:
            self._error = error
            self._over = True
        self._wake()

    async def wait_here(self) -> None:
        """Returns when :meth:`take_now` has something to return or to raise."""
        while not self._has_news:
            arrival = self._loop.create_future()
            self._wake = partial(_open, arrival)
            await arrival

    async def take_here(self) -> list[Any]:
        """`take` for a reader on the loop."""
        while (values := self.take_now()) is None:
            await self.wait_here()
        return values

    # The reader.

    @property
    def over(self) -> bool:
        """Whether nothing more comes."""
        return self._over

    def take(self, timeout: float = math.inf, give_up: Callable[[], bool] = lambda: False) -> list[Any]:
        """The next values, one or more, when there are some. Then those that it returned last count as read.

        Raises:
            EndOfStream: there are no more.
            WaitedLongEnoughError: none came in time.
            ClosedError: it was closed here, the loop turns no more, or ``give_up()`` is true.
            ForkedError: it is another process's.
            LabcError: what it ended with.
        """
        if os.getpid() != self._process:
            raise ForkedError
        while (values := self.take_now()) is None:
            gate = Gate()
            self._wake = gate.open
            if self._has_news or gate.wait(timeout, give_up=lambda: self._loop.is_closed() or give_up()):
                continue
            if self._loop.is_closed():
                raise ClosedError("this program has left the network")
            if give_up():
                self.close()
                raise ClosedError("nobody waits any more for the call that reads this stream")
            raise WaitedLongEnoughError
        return values

    def close(self) -> None:
        """Nobody reads any more. From any thread; closing twice is harmless, and so is closing it in a forked child."""
        if os.getpid() != self._process:  # the loop's wake-up is shared with the parent
            return
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._close)

    def take_now(self) -> list[Any] | None:
        """The same without waiting; None: there is nothing yet."""
        if self._undecodable is not None:
            raise self._undecodable
        over = self._over  # before the look at what has arrived
        self._has_read()
        try:
            self._reading = arrived = self._arrived.popleft()
        except IndexError:
            if not over:
                return None
            if self._error is not None:
                raise self._error from None
            raise EndOfStream from None
        values, self._undecodable = decode_items(arrived.head, arrived.buffers, self._where)
        if self._undecodable is not None:
            self.close()
            if not values:
                raise self._undecodable
        return values[-1:] if self._latest else values

    # Within.

    @property
    def _has_news(self) -> bool:
        return bool(self._arrived) or self._over or self._undecodable is not None

    def _has_read(self) -> None:
        read = self._reading
        if read is None or self._latest:
            return
        self._reading = None
        self._owed_items += read.items
        self._owed_bytes += read.bytes
        items, size = self._size
        if self._owed_items * _PARTS >= items or self._owed_bytes * _PARTS >= size:
            owed = self._owed_items, self._owed_bytes
            self._owed_items = self._owed_bytes = 0
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._give, *owed)

    def _give(self, items: int, bytes: int) -> None:
        self._window.grant(items, bytes)
        self._grant(items, bytes)

    def _close(self) -> None:
        if not self._over:
            self.ended(ClosedError("this stream was closed"))
            self.on_close()
        self._arrived.clear()


def _open(arrival: asyncio.Future[None]) -> None:
    if not arrival.done():
        arrival.set_result(None)


class WayHere:
    """To a receiver in this very node."""

    has_room = True
    limit = sys.maxsize

    def __init__(self, receiver: Receiver, finish: Callable[[Failure | None], object] | None = None) -> None:
        self._receiver = receiver
        self._finish = finish

    def send(self, items: Body) -> None:
        self._receiver.arrived(items.head, items.buffers)

    def finish(self, failure: Failure | None) -> None:
        if self._finish is not None:
            self._finish(failure)
        else:
            self._receiver.ended(None if failure is None else failure.to_exception())

    async def room(self) -> None:
        """There is always some."""
