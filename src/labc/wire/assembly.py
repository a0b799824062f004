"""A message that arrives in pieces, and the memory it arrives in."""

from __future__ import annotations

import mmap
import sys
from collections.abc import Sequence

from labc.errors import ProtocolError
from labc.wire.frames import Message

LAZY_BYTES = 64 << 10
"""Buffers from this size on come from the operating system, which commits a page when it is first written."""


def _map(size: int) -> mmap.mmap:
    if sys.platform == "win32":
        return mmap.mmap(-1, size)
    # Private, or a forked child would share the memory.
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def allocate(size: int) -> memoryview:
    """A writable buffer. A large one costs memory only as far as it is written.

    Raises:
        ProtocolError: there is no memory for it.
    """
    try:
        return memoryview(bytearray(size) if size < LAZY_BYTES else _map(size))
    except (MemoryError, OSError, OverflowError) as error:
        raise ProtocolError(f"there is no memory for a message part of {size} bytes") from error


class Assembly:
    """The segments of one message, filled in order from first to last byte.

    A segment's memory is allocated when its first byte arrives, so what is declared costs nothing.
    """

    __slots__ = ("_at", "_left", "_sizes", "_view", "channel", "filled", "id", "kind", "remaining", "total")

    def __init__(self, kind: int, id: int, channel: int, sizes: Sequence[int]) -> None:
        self.kind = kind
        self.id = id
        self.channel = channel
        self.total = self.remaining = sum(sizes)
        self.filled: list[memoryview] = []
        self._sizes = sizes
        self._view = memoryview(b"")
        self._at = 0
        self._left = 0

    def window(self, limit: int) -> memoryview:
        """Where the next bytes belong: at most ``limit`` of them, and not beyond the segment's end."""
        while not self._left:
            self._next_segment()
        return self._view[self._at : self._at + min(limit, self._left)]

    def advance(self, count: int) -> None:
        """``count`` bytes were written into the last window."""
        self._at += count
        self._left -= count
        self.remaining -= count

    def write(self, data: memoryview) -> None:
        """Take these bytes, which may span segments but not the message's end."""
        while data:
            window = self.window(len(data))
            count = len(window)
            window[:] = data[:count]
            self.advance(count)
            data = data[count:]

    def message(self) -> Message:
        """The whole message, when nothing remains."""
        while len(self.filled) < len(self._sizes):
            self._next_segment()
        return Message(self.kind, self.id, self.channel, self.filled[0], tuple(self.filled[1:]))

    def _next_segment(self) -> None:
        size = self._sizes[len(self.filled)]
        self._view = allocate(size)
        self._at = 0
        self._left = size
        self.filled.append(self._view)
