"""What travels on a topic."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

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


class Message(msgspec.Struct, frozen=True):
    """One message, as it was published."""

    topic: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = {}
    sender: Sender = Sender()
    time: datetime | None = None
    """When it was published, by the sender's clock, in UTC."""

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


BATCH = "application/msgpack;batch"
"""The encoding of several messages in one publication, for programs that are no labc nodes."""

_encode_origin = msgspec.msgpack.Encoder().encode
_decode_origin = msgspec.msgpack.Decoder(_Origin).decode


def pack(sender: Sender, seconds: float, body: Body) -> tuple[bytes, bytes]:
    """Payload and attachment of a publication. ``body``: the arguments, encoded."""
    head, buffers = body.head, body.buffers
    if not buffers:
        return head, _encode_origin(_Origin(sender.host, sender.node, sender.node_id, seconds, [len(head)]))
    sizes = [len(head), *(buffer.nbytes for buffer in buffers)]
    origin = _Origin(sender.host, sender.node, sender.node_id, seconds, sizes)
    return b"".join([head, *buffers]), _encode_origin(origin)


def pack_many(sender: Sender, gathered: Sequence[tuple[bytes, float]]) -> tuple[bytes, bytes]:
    """Payload and attachment of a publication of several messages: the head of each, and when it was published."""
    payload = encode_many([head for head, _ in gathered])
    times = [seconds for _, seconds in gathered]
    return payload, _encode_origin(_Origin(sender.host, sender.node, sender.node_id, times[0], [len(payload)], times))


def unpack(topic: str, payload: bytes, attachment: bytes | None, encoding: str) -> Sequence[Message | CarryError]:
    """The messages in a publication; also of a program that is not a labc node, by its declared encoding.

    Raises:
        CarryError: it can't be understood.
    """
    if attachment is None:
        return (Message(topic, (_foreign(payload, encoding),)),)
    try:
        origin = _decode_origin(attachment)
        times = [datetime.fromtimestamp(seconds, UTC) for seconds in origin.times or (origin.seconds,)]
    except (msgspec.DecodeError, ValueError, OverflowError, OSError):
        return (Message(topic, (_foreign(payload, encoding),)),)
    if sum(origin.sizes) != len(payload) or not origin.sizes or min(origin.sizes) < 0:
        raise CarryError(f"a message on {topic!r}", "its parts do not add up")
    sender = _sender(origin.host, origin.node, origin.node_id)
    if origin.times:
        return _unpack_many(topic, payload, sender, times)
    when = times[0]
    if len(origin.sizes) == 1:
        args, kwargs = decode_arguments(payload)
        return (Message(topic, args, kwargs, sender, when),)
    parts, start = [], 0
    view = memoryview(payload)
    for size in origin.sizes:
        parts.append(view[start : start + size])
        start += size
    args, kwargs = decode_arguments(parts[0], parts[1:])
    return (Message(topic, args, kwargs, sender, when),)


def count(attachment: bytes | None) -> int:
    """How many messages a publication holds."""
    if attachment is None:
        return 1
    try:
        return len(_decode_origin(attachment).times) or 1
    except msgspec.DecodeError:
        return 1


def _unpack_many(
    topic: str, payload: bytes, sender: Sender, times: Sequence[datetime]
) -> Sequence[Message | CarryError]:
    found = decode_many(payload)
    if len(found) != len(times):
        raise CarryError(f"messages on {topic!r}", "they do not add up")
    return [
        each if isinstance(each, CarryError) else Message(topic, *each, sender, when)
        for each, when in zip(found, times, strict=True)
    ]


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
