"""The receiving end of a stream: what arrived and was not taken yet, and the credit for more."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from labc.errors import ProtocolError
from labc.functions.inbox import PARTS, Inbox
from labc.wire import ITEMS_HEADER, Body, Failure, Window, count_items, decode_items, encode_items

Grant = Callable[[int, int], object]


class _Arrived(msgspec.Struct, gc=False):
    head: Any
    buffers: Sequence[Any]
    items: int
    bytes: int


class Receiver(Inbox[_Arrived]):
    """One stream on its way in.

    The sender may be ``items`` values and ``bytes`` bytes ahead of the reader. With ``latest`` the reader gets the
    newest value each time, and what came before it and was not read is dropped.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, where: str, items: int, bytes: int, *, latest: bool = False
    ) -> None:
        super().__init__(loop, "stream")
        self._where = where
        self._size = (2, bytes) if latest else (items, bytes)
        self._latest = latest
        self._window = Window()
        """What the sender may still send."""
        self._grant: Grant = lambda items, bytes: None
        self._reading: _Arrived | None = None
        """What the reader has, for whose room no credit was given yet."""
        self._owed_items = self._owed_bytes = 0
        self.skipped = 0
        """With ``latest``: values that came, and were not read."""

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
        self._put(_Arrived(head, buffers, items, size))

    def _values(self, arrived: _Arrived) -> list[Any]:
        self._reading = arrived
        values, self._broken = decode_items(arrived.head, arrived.buffers, self._where)
        if self._broken is not None:
            self.close()
            if not values:
                raise self._broken
        return values[-1:] if self._latest else values

    def _has_read(self) -> None:
        read = self._reading
        if read is None or self._latest:
            return
        self._reading = None
        self._owed_items += read.items
        self._owed_bytes += read.bytes
        items, size = self._size
        if self._owed_items * PARTS >= items or self._owed_bytes * PARTS >= size:
            owed = self._owed_items, self._owed_bytes
            self._owed_items = self._owed_bytes = 0
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._give, *owed)

    def _give(self, items: int, bytes: int) -> None:
        self._window.grant(items, bytes)
        self._grant(items, bytes)


class WayHere:
    """To a receiver in this very node."""

    has_room = True
    limit = sys.maxsize

    def __init__(self, receiver: Receiver, finish: Callable[[Failure | None], object] | None = None) -> None:
        self._receiver = receiver
        self._finish = finish

    def send(self, values: Sequence[Body]) -> None:
        self._receiver.arrived(encode_items([each.head for each in values]), values[0].buffers)

    def finish(self, failure: Failure | None) -> None:
        if self._finish is not None:
            self._finish(failure)
        else:
            self._receiver.ended(None if failure is None else failure.to_exception())

    async def room(self) -> None:
        """There is always some."""
