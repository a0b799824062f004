"""Bytes in, messages out."""

from __future__ import annotations

import struct
from typing import NoReturn

from labc.errors import HandshakeError, LabcError, ProtocolError
from labc.wire.assembly import Assembly, scratch
from labc.wire.frames import (
    ABORT,
    HEADER,
    HEADER_BYTES,
    MAGIC,
    MAX_CHUNK,
    MAX_FRAME,
    MAX_PARTIALS,
    MAX_SEGMENTS,
    MULTI,
    MULTI_KINDS,
    ORDERED,
    PREFACE,
    PROTOCOL_VERSION,
    WHOLE_KINDS,
    Data,
    Kind,
    Message,
)

STAGING_BYTES = 128 << 10
"""What is read at once while small frames come in."""

PEEK_BYTES = 16 << 10
"""What is read at once while a large message is under way: the next header, and little that has to be copied."""

DIRECT_BYTES = 8 << 10
"""From this size on, bytes of a segment are read straight into it."""

WAIT_BYTES = 32 << 10
"""A single frame shorter than this is waited for in the staging buffer, a longer one gets its own."""

_unpack_header = HEADER.unpack_from
_CHUNK = int(Kind.CHUNK)


class Parser:
    """The receiving half of a lane: a state machine that is given bytes and gives whole messages.

    Ask for a buffer with `get_buffer`, write into its front, tell how much with `buffer_updated`
    (as ``asyncio.BufferedProtocol`` and ``socket.recv_into`` do). The buffer is a part of the final array if possible.

    The first inconsistency ends the parser: messages that were whole before it are still returned,
    `error` says what is wrong, and further input raises it. So the result does not depend on how the bytes were split.
    """

    def __init__(self, max_message_bytes: int) -> None:
        self.error: LabcError | None = None
        self._max_message_bytes = max(max_message_bytes, MAX_CHUNK)
        self._staging = scratch(STAGING_BYTES)
        self._filled = 0
        self._needed = len(MAGIC)
        self._prefaced = False
        self._partials: dict[tuple[int, int], Assembly] = {}
        self._declared_bytes = 0
        self._body: Assembly | None = None
        self._body_left = 0
        self._direct = False

    def get_buffer(self) -> memoryview:
        """A writable buffer for the next bytes, never empty. It is valid until the next `buffer_updated`."""
        if self._body_left >= DIRECT_BYTES and self._body is not None and self.error is None:
            window = self._body.window(self._body_left)
            if len(window) >= DIRECT_BYTES:
                self._direct = True
                return window
        self._direct = False
        if self._partials:
            return self._staging[self._filled : self._filled + PEEK_BYTES]
        return self._staging[self._filled :] if self._filled else self._staging

    def buffer_updated(self, count: int) -> list[Message]:
        """The first ``count`` bytes of the buffer were written: the messages that are whole now.

        Raises:
            LabcError: the `error` that was found in earlier input.
        """
        if self.error is not None:
            raise self.error
        messages: list[Message] = []
        try:
            if self._direct:
                self._take_direct(count, messages)
            else:
                self._take_staged(count, messages)
        except (ProtocolError, HandshakeError) as error:
            self._stop(error)
        return messages

    def feed(self, data: Data) -> list[Message]:
        """Take these bytes, for which somebody else had a buffer: the messages that are whole now.

        Raises:
            LabcError: the `error` that was found in earlier input.
        """
        messages: list[Message] = []
        view = memoryview(data)
        while view:
            buffer = self.get_buffer()
            count = min(len(buffer), len(view))
            buffer[:count] = view[:count]
            view = view[count:]
            messages += self.buffer_updated(count)
            if self.error is not None:
                break
        return messages

    @property
    def is_between_messages(self) -> bool:
        """Whether the input could end here: nothing is held of a frame or message that is not whole."""
        return self._prefaced and not (self._filled or self._body_left or self._partials)

    def close(self) -> bool:
        """No more input will come, nor is it taken. True if the end came between messages."""
        whole = self.is_between_messages
        if self.error is None:
            self._stop(ProtocolError("bytes arrived after the end of the connection"))
        return whole

    def _stop(self, error: LabcError) -> None:
        """Refuse further input, and let go of all memory but the staging buffer."""
        self.error = error
        self._partials = {}
        self._body = None
        self._body_left = 0
        self._filled = 0

    def _take_direct(self, count: int, messages: list[Message]) -> None:
        assert self._body is not None
        self._body.advance(count)
        self._body_left -= count
        if not self._body_left:
            self._end_frame(messages)

    def _take_staged(self, count: int, messages: list[Message]) -> None:
        filled = self._filled + count
        if filled < self._needed:
            self._filled = filled
            return
        # One immutable copy of what was read: heads are then cut from it at C speed, and are real bytes.
        data = bytes(self._staging[:filled])
        used = self._parse(data, messages)
        rest = filled - used
        if rest:
            self._staging[:rest] = data[used:]
        self._filled = rest

    def _parse(self, data: bytes, messages: list[Message]) -> int:
        """Take as many frames as there are. Returns how many bytes were used; `_needed` says what would be of use."""
        position = 0
        if not self._prefaced:
            if not self._take_preface(data):
                return 0
            position = len(PREFACE)
        if self._body_left:
            position = self._take_body(data, position, messages)
        end = len(data)
        partials = self._partials
        while end - position >= HEADER_BYTES:
            length, kind, flags, channel, id = _unpack_header(data, position)
            start = position + HEADER_BYTES
            stop = start + length
            if stop > end or flags or kind not in WHOLE_KINDS:
                used = self._take_special(data, position, messages)
                if not used:
                    return position
                position = used
                continue
            if partials and kind in ORDERED and (id, channel) in partials:
                self._fail_overlap(kind, id, channel)
            messages.append(Message(kind, id, channel, data[start:stop]))
            position = stop
        self._needed = HEADER_BYTES if position < end else 1
        return position

    def _take_preface(self, data: bytes) -> bool:
        """Whether the preface is whole and right."""
        if not MAGIC.startswith(data[: len(MAGIC)]):
            raise ProtocolError(f"the first bytes are {data[:16]!r}: this is no Lab-Commander node")
        if len(data) < len(PREFACE):
            self._needed = len(PREFACE)
            return False
        version = data[len(MAGIC)]
        if version != PROTOCOL_VERSION:
            raise HandshakeError(
                f"one node speaks version {max(version, PROTOCOL_VERSION)} of the lane protocol and the other "
                f"version {min(version, PROTOCOL_VERSION)}: install the same version of labc on both"
            )
        if not data.startswith(PREFACE):
            raise ProtocolError(f"the preface {data[: len(PREFACE)]!r} does not end in three zero bytes")
        self._prefaced = True
        return True

    def _take_special(self, data: bytes, position: int, messages: list[Message]) -> int:
        """Take a frame that is not small, plain and whole. Returns where it or its part ends, 0: more is needed."""
        length, kind, flags, channel, id = _unpack_header(data, position)
        if kind == _CHUNK:
            body_at = self._begin_chunk(position, length, flags, id, channel)
        elif kind not in WHOLE_KINDS:
            raise ProtocolError(f"a frame of unknown kind {kind} for id {id}")
        elif flags == MULTI and kind in MULTI_KINDS:
            body_at = self._begin_message(data, position)
        elif flags:
            raise ProtocolError(f"a {Kind(kind).name} frame for id {id} with unknown flags {flags:#04x}")
        else:
            body_at = self._begin_whole(position, length, kind, id, channel)
        return self._take_body(data, body_at, messages) if body_at else 0

    def _begin_whole(self, position: int, length: int, kind: int, id: int, channel: int) -> int:
        """A message in one frame that is not whole yet. Returns where its body begins, 0: wait for all of it."""
        if length > MAX_CHUNK:
            raise ProtocolError(
                f"a {Kind(kind).name} frame for id {id} of {length} bytes; "
                f"without a table at most {MAX_CHUNK} are allowed"
            )
        if kind in ORDERED and (id, channel) in self._partials:
            self._fail_overlap(kind, id, channel)
        if length < WAIT_BYTES:
            self._needed = HEADER_BYTES + length
            return 0
        self._body = Assembly(kind, id, channel, (length,))
        self._body_left = length
        return position + HEADER_BYTES

    def _begin_chunk(self, position: int, length: int, flags: int, id: int, channel: int) -> int:
        partial = self._partials.get((id, channel))
        if partial is None:
            raise ProtocolError(f"a chunk for id {id}, channel {channel}, of which no message is under way")
        if flags == ABORT and not length:
            self._forget(partial)
        elif flags:
            raise ProtocolError(f"a chunk of {length} bytes for id {id} with flags {flags:#04x}")
        elif not 0 < length <= min(partial.remaining, MAX_FRAME):
            raise ProtocolError(
                f"a chunk of {length} bytes for id {id}, of which {partial.remaining} remain; "
                f"from 1 to {MAX_FRAME} are allowed"
            )
        else:
            self._body = partial
            self._body_left = length
        return position + HEADER_BYTES

    def _begin_message(self, data: bytes, position: int) -> int:
        """The first frame of a message in several segments. Returns where its body begins, 0: wait for the table."""
        length, kind, _, channel, id = _unpack_header(data, position)
        sizes = self._take_table(data, position, length, id)
        if not sizes:
            return 0
        if (id, channel) in self._partials:
            self._fail_overlap(kind, id, channel)
        table_bytes = 2 + 8 * len(sizes)
        message = Assembly(kind, id, channel, sizes)
        self._body = message
        self._body_left = length - table_bytes
        if self._body_left > message.total:
            raise ProtocolError(
                f"a frame with {self._body_left} bytes of a {Kind(kind).name} for id {id} that has only {message.total}"
            )
        if self._body_left < message.total:
            self._expect(message)
        return position + HEADER_BYTES + table_bytes

    def _expect(self, message: Assembly) -> None:
        """Remember a message of several frames."""
        if self._declared_bytes + message.total > self._max_message_bytes:
            raise ProtocolError(
                f"a {Kind(message.kind).name} of {message.total} bytes for id {message.id} while "
                f"{self._declared_bytes} bytes are under way; together at most {self._max_message_bytes} are allowed"
            )
        if len(self._partials) >= MAX_PARTIALS:
            raise ProtocolError(f"more than {MAX_PARTIALS} messages are under way at once")
        self._partials[message.id, message.channel] = message
        self._declared_bytes += message.total

    def _take_table(self, data: bytes, position: int, length: int, id: int) -> tuple[int, ...]:
        """The sizes of the segments; none: more input is needed."""
        at = position + HEADER_BYTES
        if not 2 <= length <= MAX_FRAME:
            raise ProtocolError(
                f"a frame of {length} bytes with a table for id {id}; from 2 to {MAX_FRAME} are allowed"
            )
        if len(data) < at + 2:
            self._needed = HEADER_BYTES + 2
            return ()
        (count,) = struct.unpack_from(">H", data, at)
        if not 0 < count <= MAX_SEGMENTS:
            raise ProtocolError(f"a message of {count} segments for id {id}; from 1 to {MAX_SEGMENTS} are allowed")
        if 2 + 8 * count > length:
            raise ProtocolError(f"a table of {count} segments for id {id} in a frame of {length} bytes")
        if len(data) < at + 2 + 8 * count:
            self._needed = HEADER_BYTES + 2 + 8 * count
            return ()
        return struct.unpack_from(f">{count}Q", data, at + 2)

    def _take_body(self, data: bytes, position: int, messages: list[Message]) -> int:
        """Take what is there of the current frame's segments. Returns where it ends."""
        if self._body is None:
            return position
        stop = min(position + self._body_left, len(data))
        self._body.write(memoryview(data)[position:stop])
        self._body_left -= stop - position
        if not self._body_left:
            self._end_frame(messages)
        else:
            self._needed = 1
        return stop

    def _end_frame(self, messages: list[Message]) -> None:
        assembly, self._body = self._body, None
        self._needed = 1
        if assembly is not None and not assembly.remaining:
            if self._partials.get((assembly.id, assembly.channel)) is assembly:
                self._forget(assembly)
            messages.append(assembly.message())

    def _forget(self, partial: Assembly) -> None:
        del self._partials[partial.id, partial.channel]
        self._declared_bytes -= partial.total

    def _fail_overlap(self, kind: int, id: int, channel: int) -> NoReturn:
        raise ProtocolError(f"a {Kind(kind).name} for id {id}, channel {channel}, inside another message of it")
