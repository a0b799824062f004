"""A lane's bytes carried by the fabric, where no direct connection can be made: slower, never refused.

Each publication is one message: a kind, a number, and bytes. The fabric keeps order and delivers, or drops under
a congestion that lasts; a gap in the numbers ends the relay, so that a lane over it breaks and never lies. What is
sent and not yet acknowledged is bounded, so that a relay can't swamp the roots.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import Callable
from typing import Any

_HEADER = struct.Struct(">BQ")
_OPEN, _DATA, _ACK, _CLOSE = range(4)

WINDOW = 1 << 20
"""Bytes under way at most. Trade-off: memory in the roots, against speed over a long way (window / round trip)."""
_PIECE = 1 << 16


class RelayTransport(asyncio.Transport):
    """An asyncio transport whose other end is a publication away.

    ``send(bytes)`` publishes to the peer in order, without blocking the loop.
    """

    def __init__(
        self, protocol: asyncio.BufferedProtocol, send: Callable[[bytes], None], on_closed: Callable[[], None]
    ) -> None:
        super().__init__({"peername": None, "relay": True})
        self._protocol: Any = protocol
        self._send = send
        self._on_closed = on_closed
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[memoryview] = deque()
        self._sent = 0
        self._acknowledged = 0
        self._received = 0
        self._unacknowledged_received = 0
        self._paused = False
        self._closing = False
        self._closed = False

    def start(self, opening: bool) -> None:
        if opening:
            self._send(_HEADER.pack(_OPEN, 0))
        self._protocol.connection_made(self)

    def receive(self, message: bytes) -> None:
        """A publication of the peer arrived."""
        if self._closed or len(message) < _HEADER.size:
            return
        kind, number = _HEADER.unpack_from(message)
        if kind == _DATA:
            self._receive_data(number, memoryview(message)[_HEADER.size :])
        elif kind == _ACK and self._acknowledged <= number <= self._sent:
            self._acknowledged = number
            self._pump()
        elif kind == _CLOSE:
            self._end(None)

    def _receive_data(self, number: int, data: memoryview) -> None:
        if number != self._received:
            self._end(ConnectionResetError("a piece was lost on the way through the relay"))
            return
        self._received += len(data)
        self._unacknowledged_received += len(data)
        while data and not self._closed:
            buffer = self._protocol.get_buffer(len(data))
            size = min(len(buffer), len(data))
            buffer[:size] = data[:size]
            data = data[size:]
            self._protocol.buffer_updated(size)
        if self._unacknowledged_received >= WINDOW // 4 and not self._closed:
            self._unacknowledged_received = 0
            self._send(_HEADER.pack(_ACK, self._received))

    # asyncio.Transport

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        view = memoryview(data).cast("B")
        self._waiting.extend(view[start : start + _PIECE] for start in range(0, len(view), _PIECE))
        self._pump()

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def get_write_buffer_size(self) -> int:
        return sum(map(len, self._waiting)) + self._sent - self._acknowledged

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._closing = True
        if not self._waiting:
            self._end(None)

    def abort(self) -> None:
        self._end(None)

    def _pump(self) -> None:
        while self._waiting and self._sent - self._acknowledged < WINDOW and not self._closed:
            piece = self._waiting.popleft()
            self._send(_HEADER.pack(_DATA, self._sent) + piece)
            self._sent += len(piece)
        if self._closing and not self._waiting:
            self._end(None)
        elif bool(self._waiting) != self._paused and not self._closed:
            self._paused = not self._paused
            (self._protocol.pause_writing if self._paused else self._protocol.resume_writing)()

    def _end(self, error: Exception | None) -> None:
        if self._closed:
            return
        self._closed = self._closing = True
        self._waiting.clear()
        self._send(_HEADER.pack(_CLOSE, 0))
        self._on_closed()
        self._loop.call_soon(self._protocol.connection_lost, error)


def is_opening(message: bytes) -> bool:
    """Whether this first publication of an unknown relay asks for a new one."""
    return len(message) >= _HEADER.size and message[0] == _OPEN
