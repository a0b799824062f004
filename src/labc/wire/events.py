"""What a conversation tells its owner."""

from __future__ import annotations

import msgspec

from labc.errors import LabcError
from labc.wire.failures import Failure
from labc.wire.frames import Data
from labc.wire.greeting import Greeting
from labc.wire.messages import Request


class Greeted(msgspec.Struct):
    """The other node said hello, and the two may talk."""

    greeting: Greeting


class Refused(msgspec.Struct):
    """The two nodes must not talk; nothing that was asked has run. Write what is pending, then close."""

    sentence: str


class Requested(msgspec.Struct, gc=False):
    """The other node calls a function here: answer with `reply`, `fail`, or `item`s and `end`."""

    id: int
    request: Request
    buffers: tuple[memoryview, ...]


class Replied(msgspec.Struct, gc=False):
    """The result of a call of ours, to be decoded with `codec.decode`. The call is over."""

    id: int
    head: Data
    buffers: tuple[memoryview, ...]


class Failed(msgspec.Struct):
    """A call of ours gave no result. The call is over."""

    id: int
    failure: Failure


class Cancelled(msgspec.Struct, gc=False):
    """The other node no longer wants the result of its call; what is still said about it is dropped."""

    id: int


class Item(msgspec.Struct, gc=False):
    """The next items of a stream; see `items`."""

    id: int
    channel: int
    head: Data
    buffers: tuple[memoryview, ...]


class Ended(msgspec.Struct):
    """A stream is over: in good order, or with a failure. The end of channel 0 is the end of the call."""

    id: int
    channel: int
    failure: Failure | None


class Credited(msgspec.Struct, gc=False):
    """More items and bytes of a stream may be sent: see `window.Window`."""

    id: int
    channel: int
    items: int
    bytes: int


class Ponged(msgspec.Struct, gc=False):
    """The answer to our PING of that id."""

    id: int


class GoodbyeReceived(msgspec.Struct, gc=False):
    """The other node leaves in good order; nothing more comes. Open calls get no answer: they may have run, but for
    those with a higher id than ``last_id``, which it never saw (as in HTTP/2, RFC 9113 section 6.8)."""

    reason: str
    last_id: int


class Broken(msgspec.Struct):
    """The other side sent what makes no sense, or ended without a goodbye; nothing more is processed.
    Write what is pending (it tells the other node why), then close."""

    error: LabcError


Event = (
    Greeted
    | Refused
    | Requested
    | Replied
    | Failed
    | Cancelled
    | Item
    | Ended
    | Credited
    | Ponged
    | GoodbyeReceived
    | Broken
)
"""Anything that a conversation tells its owner."""
