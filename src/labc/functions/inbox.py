"""What comes on the node's loop for a reader who may be in any thread."""

from __future__ import annotations

import asyncio
import math
import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Generic, TypeVar

from labc.errors import ClosedError, ForkedError
from labc.jobs import Gate

A = TypeVar("A")

PARTS = 4
"""Credit is given back when a part of the window like this has been read: rarely enough to cost little, and soon enough
for the sender never to wait for a reader who is quick."""


class EndOfStream(Exception):
    """There are no more values."""


class WaitedLongEnoughError(Exception):
    """No value came in time. A TimeoutError may be anybody's: an iterable's, for one."""


class Inbox(ABC, Generic[A]):
    """Values for one reader, in any thread or on the loop, until the end.

    Between the loop and a reader in a thread there is no lock: a signal may interrupt the reader anywhere.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, what: str) -> None:
        self._loop = loop
        self._process = os.getpid()
        self.what = what
        """In the words of an error."""
        self._arrived: deque[A] = deque()
        self._wake: Callable[[], object] = lambda: None
        self.begun = False
        """Whether anything has come."""
        self._over = False
        self._error: BaseException | None = None
        self._broken: BaseException | None = None
        """What the reader is told from now on, whatever has come."""
        self.on_close: Callable[[], object] = lambda: None
        """Called on the loop when nobody reads any more, and there may still be something to come."""

    # On the loop.

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
                raise ClosedError(f"nobody waits any more for the call that reads this {self.what}")
            raise WaitedLongEnoughError
        return values

    def take_now(self) -> list[Any] | None:
        """The same without waiting; None: there is nothing yet."""
        if self._broken is not None:
            raise self._broken
        over = self._over  # before the look at what has arrived
        self._has_read()
        try:
            arrived = self._arrived.popleft()
        except IndexError:
            if not over:
                return None
            if self._error is not None:
                raise self._error from None
            raise EndOfStream from None
        return self._values(arrived)

    def close(self) -> None:
        """Nobody reads any more. From any thread; closing twice is harmless, and so is closing it in a forked child."""
        if os.getpid() != self._process:  # the loop's wake-up is shared with the parent
            return
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._close)

    # Within.

    @abstractmethod
    def _values(self, arrived: A) -> list[Any]:
        """What the reader gets of it. In his thread."""

    @abstractmethod
    def _has_read(self) -> None:
        """The reader has done with what he got last. In his thread."""

    def _put(self, arrived: A) -> None:
        self.begun = True
        self._arrived.append(arrived)
        self._wake()

    @property
    def _has_news(self) -> bool:
        return bool(self._arrived) or self._over or self._broken is not None

    def _close(self) -> None:
        if not self._over:
            self.ended(ClosedError(f"this {self.what} was closed"))
            self.on_close()
        self._arrived.clear()


def _open(arrival: asyncio.Future[None]) -> None:
    if not arrival.done():
        arrival.set_result(None)
