"""The bytes of a lane: the preface, the 16-byte frame header, the kinds of frames and their limits.

::

    preface   b"LABC"  version u8  3 zero bytes           each side's first bytes, then its HELLO
    frame     length u32  kind u8  flags u8  channel u16  id u64    big endian, then ``length`` bytes of payload

The side that connected is the initiator. It numbers its requests 1, 3, 5…, the acceptor 2, 4, 6…
(as HTTP/2 does, RFC 9113 section 5.1.1), so that an id says whose call a frame belongs to, whichever way it travels.
Channel 0 is the result stream of a call, channel n the n-th stream from the caller to the provider.

A message without buffers whose head is at most `MAX_CHUNK` long is one frame, and its payload is the head.
Any other message opens with a frame flagged `MULTI`. Its payload begins with a table: the number of segments (u16),
then the size of each (u64), the head first; the bytes of the segments follow, in this frame and in CHUNK frames
with the same id and channel. A CHUNK with the flag `ABORT` and no payload makes the receiver forget the message.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final

import msgspec

PROTOCOL_VERSION: Final = 1
MAGIC: Final = b"LABC"
PREFACE: Final = MAGIC + bytes([PROTOCOL_VERSION, 0, 0, 0])

HEADER: Final = struct.Struct(">IBBHQ")
HEADER_BYTES: Final = HEADER.size
CREDIT_PAYLOAD: Final = struct.Struct(">IQ")

MAX_CHUNK: Final = 256 << 10
"""The most payload that is sent in one frame, and so what a small message may have to wait for."""

MAX_FRAME: Final = 1 << 20
"""The most payload that is taken in one frame. A header that declares more is an error before memory is spent."""

MAX_SEGMENTS: Final = 4096
"""The head and the buffers of one message. The table then fits any receiver's staging buffer;
the codec puts what is beyond into the head."""

MAX_PARTIALS: Final = 64
"""Messages that may be under way on a lane at once in each direction, their chunks interleaved."""

MULTI: Final = 0x01
"""Flag of a message's first frame: a table of segments comes first."""

ABORT: Final = 0x02
"""Flag of an empty CHUNK: the rest of this message will not come."""

MAX_ID: Final = (1 << 64) - 1
MAX_CHANNEL: Final = (1 << 16) - 1

Data = bytes | bytearray | memoryview
"""Byte-like objects as they come out of a parser and go into an outbox."""


class Kind(IntEnum):
    """What a frame is for."""

    HELLO = 1
    """The sender's greeting, see `labc.wire.greeting`."""
    GOODBYE = 2
    """The sender's last frame on this lane, with the reason as text. Its id is the highest of the other side's
    requests that were taken; 0: none was."""
    REQUEST = 3
    """Call a function."""
    REPLY = 4
    """The function's result."""
    FAILURE = 5
    """The call gave no result, and why."""
    CANCEL = 6
    """The caller no longer wants the result."""
    ITEM = 7
    """The next items of a stream: a list of one or more, see `labc.wire.items`."""
    END = 8
    """A stream is over: in good order (no payload) or with a failure."""
    CREDIT = 9
    """More items (u32) and bytes (u64) of a stream may be sent."""
    PING = 10
    """Are you there?"""
    PONG = 11
    """Yes, with the id of the PING."""
    CHUNK = 12
    """More bytes of a message."""
    REFUSAL = 13
    """Instead of a conversation: the sentence that says why these two nodes must not talk."""


ORDERED: Final = frozenset({Kind.REQUEST, Kind.REPLY, Kind.FAILURE, Kind.ITEM, Kind.END, Kind.CREDIT})
"""Kinds that keep their order within one (id, channel). The others may come between the chunks of a message."""

MULTI_KINDS: Final = ORDERED - {Kind.CREDIT}
"""Kinds that may be sent in several segments and frames."""

WHOLE_KINDS: Final = frozenset(Kind) - {Kind.CHUNK}
"""Kinds that can stand alone in one frame."""


class Message(msgspec.Struct, gc=False):
    """One whole message, put together from one frame or many."""

    kind: int
    id: int
    channel: int
    head: Data
    buffers: tuple[memoryview, ...] = ()
