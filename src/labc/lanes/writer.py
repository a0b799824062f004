"""The writing half of a lane: from the conversation to the socket, by the event loop or past it."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
from contextlib import suppress
from typing import Any

from labc.lanes.cut import send_again_steadily
from labc.wire import Conversation

_WRITE_BYTES = 1 << 18
"""Handed to the transport at a time: enough to fill a socket, little enough to stay fair between calls."""

_AT_ONCE_BYTES = 1 << 16
"""What is written past the loop, at most."""

_STREAM_BYTES = 1 << 18
"""What waits to be written before streams add no more to it. Trade-off: a call waits behind it, and the socket must not
run dry until they are asked again."""

_TOGETHER = 8
"""Messages that are written together, at most, while the loop goes on: with all of one turn together the two ends of a
lane would take turns, and each be idle while the other works."""


class Writer:
    """Writes what a conversation has to say, in order.

    A thread that ran a function writes the answer itself, which saves waking the loop. So every use of the conversation
    and of the transport's buffer is under the lock.
    """

    def __init__(self, conversation: Conversation, lock: threading.RLock, max_pending_bytes: int) -> None:
        self.room = asyncio.Event()
        """Set while less than ``max_pending_bytes`` wait to be written, and less than half of it after a jam."""
        self.room.set()
        self._streams: list[asyncio.Future[None]] = []
        """Who waits for :meth:`room_for_streams`."""
        self._conversation = conversation
        self._lock = lock
        self._max_pending_bytes = max_pending_bytes
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._transport: asyncio.Transport | None = None
        self.socket: socket.socket | None = None
        """The transport's own, a second time: to write past the loop, and to ask the system about it."""
        self._is_encrypted = False
        """What is written past the loop would not be."""
        self._rest = b""
        """What could not be written past the loop, and goes before all else."""
        self._scheduled = False
        self._together = 0
        self._paused = False
        self._threads_may_write = _threads_may_write(self._loop)
        # In some versions writelines() of Python's own loops says nothing when the buffer is full (CVE-2024-12254).
        self._takes_many = not isinstance(self._loop, asyncio.BaseEventLoop)

    def begin(self, transport: asyncio.Transport) -> None:
        """There is a connection."""
        self._transport = transport
        self.socket = _second(transport.get_extra_info("socket"))
        send_again_steadily(self.socket)
        self._is_encrypted = transport.get_extra_info("sslcontext") is not None
        self.flush()

    @property
    def has_room_for_streams(self) -> bool:
        """Whether so little waits to be written that calls are not held up by what streams add."""
        return self._conversation.pending_bytes < _STREAM_BYTES

    async def room_for_streams(self) -> None:
        """Returns when that may be so, or the lane has ended."""
        if self.has_room_for_streams:
            return
        turn: asyncio.Future[None] = self._loop.create_future()
        self._streams.append(turn)
        await turn

    def end(self) -> None:
        """There is none any more. With the lock."""
        self._wake_streams()
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    def abandon(self, null: int) -> None:
        """After fork, in the child."""
        own = self._transport.get_extra_info("socket") if self._transport is not None else None
        for connection in (own, self.socket):
            if connection is not None and connection.fileno() >= 0:
                os.dup2(null, connection.fileno(), inheritable=False)

    def pause(self) -> None:
        """The transport's buffer is full."""
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        self.flush()

    def soon(self) -> None:
        """On the loop: write what is pending, with what else is said in this turn."""
        if self._conversation.pending_bytes > self._max_pending_bytes:
            self.room.clear()
        if not self._scheduled:
            self._scheduled = True
            self._together = 1
            self._loop.call_soon(self.flush)
            return
        self._together += 1
        if self._together >= _TOGETHER:
            self._together = 0
            with self._lock:
                self._write_at_once()

    def now(self, *, is_last: bool) -> None:
        """From any thread, with the lock: write what is pending, and wake the loop only if that can't be.

        ``is_last``: nothing else will be said in this turn of the loop.
        """
        if threading.get_ident() == self._loop_thread:
            if not is_last or self._scheduled or not self._write_at_once():
                self.soon()
        elif not (self._threads_may_write and self._write_at_once()):
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self.flush)

    def flush(self) -> None:
        """On the loop: write as much as the transport takes."""
        self._scheduled = False
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        with self._lock:
            if self._rest:
                transport.write(self._rest)
                self._rest = b""
            while not self._paused and (chunks := self._conversation.take(_WRITE_BYTES)):
                if len(chunks) > 1 and self._takes_many:
                    transport.writelines(chunks)
                else:
                    for chunk in chunks:
                        transport.write(chunk)
        pending = self._conversation.pending_bytes
        if pending > self._max_pending_bytes:
            self.room.clear()
        elif pending <= self._max_pending_bytes // 2:
            self.room.set()
        if self._streams and self.has_room_for_streams:
            self._wake_streams()

    def _wake_streams(self) -> None:
        """In the order in which they came: the first may fill it again."""
        waiting, self._streams = self._streams, []
        for turn in waiting:
            if not turn.done():
                turn.set_result(None)

    def _write_at_once(self) -> bool:
        """Write what is pending, if nothing is on its way before it. False: the loop has to."""
        transport, connection = self._transport, self.socket
        if (
            transport is None
            or connection is None
            or self._is_encrypted
            or self._rest
            or self._conversation.pending_bytes > _AT_ONCE_BYTES
            or transport.is_closing()
            or transport.get_write_buffer_size()
        ):
            return False
        data = b"".join(self._conversation.take(_AT_ONCE_BYTES))
        try:
            sent = connection.send(data)
        except OSError:  # it is full, or broken: the loop tries it again, and closes it if need be
            sent = 0
        self._rest = data[sent:]
        return not self._rest and not self._conversation.pending_bytes


def _threads_may_write(loop: asyncio.AbstractEventLoop) -> bool:
    """Python's own transports take what is left to write out of their buffer for a moment, from 3.12 on, and a thread
    that looks just then finds it empty."""
    return sys.version_info < (3, 12) or not isinstance(loop, asyncio.BaseEventLoop)


def _second(own: Any) -> socket.socket | None:
    """Another handle of the socket, so that writing to it is safe whatever the loop does; None for a relay."""
    if own is None or not hasattr(socket, "MSG_DONTWAIT"):  # Windows' handles are no file descriptors
        return None
    second = socket.socket(fileno=os.dup(own.fileno()))
    second.setblocking(False)  # whatever socket.setdefaulttimeout() says
    return second
