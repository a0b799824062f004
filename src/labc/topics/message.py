"""What travels on a topic."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import msgspec

from labc.errors import CarryError, OutsideError
from labc.wire import Body, decode_arguments, decode_many, encode_many


@dataclass(frozen=True, slots=True)
class Sender:
    """The node that published a message. Empty for a program that is not a labc node."""

    host: str = ""
    node: str = ""
    node_id: str = ""

    def __str__(self) -> str:
        return f"{self.node} on {self.host}" if self.node else "not a labc node"


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_END_OF_TIME: Final = (datetime.max.replace(tzinfo=UTC) - _EPOCH).total_seconds()


class Message(msgspec.Struct, frozen=True):
    """One message, as it was published."""

    topic: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = {}
    sender: Sender = Sender()
    seconds: float | None = None
    """When it was published, by the sender's clock, in seconds since 1970."""
    retained: bool = False
    """Whether it was published before this subscription began, and kept for it: see ``publish(..., retain=True)``."""

    @property
    def time(self) -> datetime | None:
        """The same as a date and time in UTC."""
        return None if self.seconds is None else _EPOCH + timedelta(seconds=self.seconds)

    @property
    def value(self) -> Any:
        """The one value that was published; a tuple of them, when it was not just one."""
        return self.args[0] if len(self.args) == 1 else self.args


class _Origin(msgspec.Struct, array_like=True):
    """The attachment of a publication."""

    host: str
    node: str
    node_id: str
    seconds: float
    sizes: list[int]
    """Of the parts of the payload: the head, then each array."""
    times: list[float] = []
    """Of several messages in one publication: when each of them was published."""
    retain: bool = False
    """Whether it is kept for who subscribes later."""
    number: int = 0
    """Of the publication among all of the node, from 1 on; 0: it can come only once. See :mod:`labc.topics.repeats`."""


BATCH = "application/msgpack;batch"
"""The encoding of several messages in one publication, for programs that are no labc nodes."""

_encode_origin = msgspec.msgpack.Encoder().encode
_decode_origin = msgspec.msgpack.Decoder(_Origin).decode


def pack(sender: Sender, seconds: float, body: Body, retain: bool = False, number: int = 0) -> tuple[bytes, bytes]:
    """Payload and attachment of a publication. ``body``: the arguments, encoded. ``retain``: it is kept."""
    head, buffers = body.head, body.buffers
    if not buffers:
        origin = _Origin(sender.host, sender.node, sender.node_id, seconds, [len(head)], [], retain, number)
        return head, _encode_origin(origin)
    sizes = [len(head), *(buffer.nbytes for buffer in buffers)]
    origin = _Origin(sender.host, sender.node, sender.node_id, seconds, sizes, [], retain, number)
    return b"".join([head, *buffers]), _encode_origin(origin)


def pack_many(sender: Sender, gathered: Sequence[tuple[bytes, float]], number: int = 0) -> tuple[bytes, bytes]:
    """Payload and attachment of a publication of several messages: the head of each, and when it was published."""
    payload = encode_many([head for head, _ in gathered])
    times = [seconds for _, seconds in gathered]
    origin = _Origin(sender.host, sender.node, sender.node_id, times[0], [len(payload)], times, False, number)
    return payload, _encode_origin(origin)


class Unpacked(NamedTuple):
    """What a publication held."""

    messages: Sequence[Message] = ()
    errors: Sequence[CarryError] = ()
    """Of those that can't be understood."""
    retain: bool = False
    """Whether the one message is kept for who subscribes later."""


def unpack(topic: str, payload: bytes, attachment: bytes | None, encoding: str) -> Unpacked:
    """The messages in a publication; also of a program that is not a labc node, by its declared encoding."""
    if attachment is None or (origin := _origin(attachment)) is None:
        return Unpacked((Message(topic, (_foreign(payload, encoding),)),))
    sizes, sender = origin.sizes, _sender(origin.host, origin.node, origin.node_id)
    if sum(sizes) != len(payload) or not sizes or min(sizes) < 0:
        return Unpacked(errors=(CarryError(f"a message on {topic!r}", "its parts do not add up"),))
    try:
        if origin.times:
            return _unpack_many(topic, payload, sender, origin.times)
        head, *buffers = [payload] if len(sizes) == 1 else _parts(memoryview(payload), sizes)
        message = Message(topic, *decode_arguments(head, buffers), sender, origin.seconds)
        return Unpacked((message,), (), origin.retain)
    except CarryError as error:
        return Unpacked(errors=(error,))


def count(attachment: bytes | None) -> int:
    """How many messages a publication holds."""
    if attachment is None:
        return 1
    try:
        return len(_decode_origin(attachment).times) or 1
    except ValueError:
        return 1


def identity(attachment: bytes | None) -> tuple[str, int]:
    """The id of the node that published, and the number of the publication; empty and 0, if no labc node did."""
    origin = None if attachment is None else _origin(attachment)
    return ("", 0) if origin is None else (origin.node_id, origin.number)


def _origin(attachment: bytes) -> _Origin | None:
    """None: another program's attachment."""
    try:
        origin = _decode_origin(attachment)
    except ValueError:
        return None
    return origin if all(map(is_time, origin.times or (origin.seconds,))) else None


def is_time(seconds: float) -> bool:
    """Whether it is seconds since 1970, and of a year that has four digits."""
    return 0 <= seconds < _END_OF_TIME


def _parts(view: memoryview, sizes: Sequence[int]) -> list[memoryview]:
    ends = itertools.accumulate(sizes)
    return [view[end - size : end] for end, size in zip(ends, sizes, strict=True)]


def _unpack_many(topic: str, payload: bytes, sender: Sender, times: Sequence[float]) -> Unpacked:
    found = decode_many(payload)
    if len(found) != len(times):
        raise CarryError(f"messages on {topic!r}", "they do not add up")
    messages = [
        Message(topic, *each, sender, seconds)
        for each, seconds in zip(found, times, strict=True)
        if type(each) is tuple
    ]
    return Unpacked(messages, [each for each in found if isinstance(each, CarryError)])


@functools.lru_cache(1024)  # the same ones again and again
def _sender(host: str, node: str, node_id: str) -> Sender:
    return Sender(host, node, node_id)


def _foreign(payload: bytes, encoding: str) -> Any:
    """What a plain Zenoh program published: JSON and text by their encoding, else bytes."""
    try:
        if encoding.startswith(("application/json", "text/json")):
            return msgspec.json.decode(payload)
        if encoding.startswith(("text/", "zenoh/string")):
            return payload.decode()
        if encoding.startswith("application/msgpack"):
            return msgspec.msgpack.decode(payload)
    except Exception:  # malformed, or nested too deeply
        pass
    return payload


_current: ContextVar[Message] = ContextVar("labc_current_message")


def current_message() -> Message:
    """The message that the running handler was given: its topic, sender and time.

    Raises:
        OutsideError: this code does not handle a message.
    """
    try:
        return _current.get()
    except LookupError:
        raise OutsideError("current_message() is for handlers of topics while they run") from None


def set_current_message(message: Message) -> None:
    _current.set(message)
