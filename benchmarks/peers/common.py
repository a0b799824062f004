"""What a part of the benchmark asks of every peer. A peer implements the roles that it takes part in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

Ready = Callable[[], None]
Echo = Callable[[bytes], bytes]
AsyncEcho = Callable[[bytes], Awaitable[bytes]]
ArrayEcho = Callable[[Any], Any]
Handler = Callable[[bytes], None]
Values = Callable[[int, int], int]
"""Read a stream of so many values, of so many bytes each (0: small numbers), to its end; returns how many came."""
Flood = Callable[[bytes, float], int]
"""Publish as fast as possible for so many seconds, and return how many messages were sent."""


@dataclass(frozen=True)
class Place:
    """Where a peer's server is, and which of the peer's ways is measured."""

    address: str
    port: int
    path: str = ""
    """For Unix sockets; empty: between hosts, TCP only."""
    network: str = ""
    way: str = ""


class Peer:
    """The roles of one peer. What prepares them is not measured; every connection is made once and kept."""

    blocking = True
    """Whether its fastest single call is a blocking one (``echo``), or one that is awaited (``async_echo``)."""

    def broker(self, place: Place, ready: Ready) -> None:
        """Run the broker that it needs, until the process is ended."""
        raise NotImplementedError

    def serve(self, place: Place, ready: Ready) -> None:
        """Answer calls with their argument, until the process is ended."""
        raise NotImplementedError

    def serve_arrays(self, place: Place, ready: Ready) -> None:
        """Answer arrays with the same array."""
        self.serve(place, ready)

    def echo(self, place: Place) -> Iterator[Echo]:
        """Yields what makes one call."""
        raise NotImplementedError

    def async_echo(self, place: Place) -> AsyncIterator[AsyncEcho]:
        """Yields what makes one call, of which many may be in flight."""
        raise NotImplementedError

    def array_echo(self, place: Place) -> Iterator[ArrayEcho]:
        """Yields what sends a numpy array of bytes and returns one."""
        raise NotImplementedError

    def serve_values(self, place: Place, ready: Ready) -> None:
        """Give streams of values."""
        self.serve(place, ready)

    def values(self, place: Place) -> Iterator[Values]:
        """Yields what reads a stream."""
        raise NotImplementedError

    def flood(self, place: Place) -> Iterator[Flood]:
        """Yields what publishes."""
        raise NotImplementedError

    def subscribe(self, place: Place, handler: Handler, ready: Ready) -> None:
        """Call the handler with each message, until the process is ended."""
        raise NotImplementedError

    def new_loop(self) -> asyncio.AbstractEventLoop:
        """The event loop that its documents recommend."""
        return asyncio.new_event_loop()


def opened(iterator: Iterator[Any]) -> Any:
    """A role's connection as a context manager."""
    return contextmanager(lambda: iterator)()


def opened_async(iterator: AsyncIterator[Any]) -> AbstractAsyncContextManager[Any]:
    """A role's connection as an asynchronous context manager."""
    return asynccontextmanager(lambda: iterator)()


def until(deadline: float, publish: Callable[[], object]) -> int:
    """Publish until ``time.perf_counter()`` has come there; the clock is read every 16 messages."""
    sent = 0
    while time.perf_counter() < deadline:
        for _ in range(16):
            publish()
        sent += 16
    return sent


def patiently(connect: Callable[[], Any], within: float = 10.0) -> Any:
    """What ``connect`` returns, when the server is there."""
    deadline = time.monotonic() + within
    while True:
        try:
            return connect()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
