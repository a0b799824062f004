"""A message that arrives in pieces, and the memory it arrives in."""

from __future__ import annotations

import functools
import mmap
from collections.abc import Callable, Sequence
from contextlib import suppress

from labc.errors import ProtocolError
from labc.wire.frames import Message

LAZY_BYTES = 64 << 10
"""Buffers from this size on are not filled with zeros, which takes time and commits memory to what may never arrive."""

HUGE_BYTES = 32 << 20
"""From this size on C libraries give freed memory back, so that each buffer is made of new pages: huge ones, then,
as each page costs a fault."""


@functools.cache
def _bytearray_maker() -> Callable[[None, int], bytearray]:
    """Makes one that is not filled."""
    import ctypes  # for those who receive something large: it takes memory

    make = ctypes.pythonapi.PyByteArray_FromStringAndSize
    make.restype = ctypes.py_object
    make.argtypes = [ctypes.c_void_p, ctypes.c_ssize_t]
    return make


def allocate(size: int) -> memoryview:
    """A writable buffer. A large one costs memory only as far as it is written; what was there before is still in it.

    Raises:
        ProtocolError: there is no memory for it.
    """
    try:
        if size < LAZY_BYTES:
            return memoryview(bytearray(size))
        if size >= HUGE_BYTES and hasattr(mmap, "MADV_HUGEPAGE"):
            return memoryview(_map(size))
        return memoryview(_bytearray_maker()(None, size))
    except (MemoryError, OSError, OverflowError, SystemError) as error:
        raise ProtocolError(f"there is no memory for a message part of {size} bytes") from error


def scratch(size: int) -> memoryview:
    """A writable buffer for the life of a connection, which costs memory only as far as it is written."""
    if hasattr(mmap, "MAP_ANONYMOUS"):
        with suppress(OSError):  # the process may have no more address space
            return memoryview(_anonymous(size))
    return allocate(size)


def _map(size: int) -> mmap.mmap:
    memory = _anonymous(size)
    with suppress(OSError):  # this Linux has none
        memory.madvise(mmap.MADV_HUGEPAGE)
    return memory


def _anonymous(size: int) -> mmap.mmap:
    # Private, or a forked child would share the memory.
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


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
