"""The payload of a request, and the arguments in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from labc.errors import CarryError, ProtocolError
from labc.wire.codec import Body, decode, encode_parts, encode_plain
from labc.wire.frames import Data


class Request(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The envelope of a call. Further fields at its end, of later versions, are ignored."""

    name: str
    """The function."""

    timeout: float | None
    """Seconds that the caller still waits; None: for ever."""

    arguments: msgspec.Raw
    """As `encode_arguments` made them. They are decoded apart: if they can't be, the call fails and not the lane."""

    streams: int = 0
    """How many streams the caller sends along, on the channels 1, 2…"""

    want_stream: bool = False
    """The result is wanted as ITEM frames and an END, not as one REPLY."""

    latest: bool = False
    """Of the stream's items that can't be sent at once, only the newest is wanted."""

    def encode(self) -> bytes:
        """The head of a REQUEST message."""
        return _encode(self)

    @classmethod
    def decode(cls, head: Data) -> Request:
        """The envelope in a REQUEST message, its arguments not yet decoded.

        Raises:
            ProtocolError: the head is no envelope.
        """
        try:
            return _decode(head)
        except Exception as error:
            raise ProtocolError(f"a request can't be read: {error}") from error


Arguments = tuple[tuple[Any, ...], dict[str, Any]]

_TEXT = frozenset({str})
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Request).decode
_split = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
ARRAY_32 = b"\xdd"
"""The first byte of a msgpack array whose length follows in 4 bytes."""


def encode_arguments(args: Sequence[Any], kwargs: Mapping[str, Any], streams: list[Any] | None = None) -> Body:
    """The arguments of a call, to be sent once or to several providers.

    ``streams`` gets those `StreamSource` that are among them, or in them: of the first the items travel on channel 1,
    and so on. Without that list they can't be carried.

    Raises:
        CarryError: a value can't be carried; ``where`` is its place: ``args[0].frames[3]``, ``kwargs['x']``.
    """
    return encode_plain(args, kwargs) or encode_parts(("args", list(args)), ("kwargs", dict(kwargs)), streams=streams)


def encode_many(heads: Sequence[bytes]) -> bytes:
    """The heads of several `encode_arguments`, none of which had buffers, as one."""
    return b"".join([ARRAY_32, len(heads).to_bytes(4, "big"), *heads])


def decode_many(data: Data) -> list[Arguments | CarryError]:
    """What `encode_many` made one of. What can't be decoded spoils nothing but itself.

    Raises:
        CarryError: it is not even a list.
    """
    try:
        return [_arguments(value) for value in decode(data)]
    except (CarryError, TypeError):
        parts = split_many(data)
    found: list[Arguments | CarryError] = []
    for part in parts:
        try:
            found.append(decode_arguments(part))
        except CarryError as error:
            found.append(error)
    return found


def split_many(data: Data) -> list[msgspec.Raw]:
    """The heads that `encode_many` made one of. Raises CarryError."""
    try:
        return _split(data)
    except ValueError as error:
        raise CarryError("value", f"can't be decoded: {error}") from error


def decode_arguments(raw: msgspec.Raw | Data, buffers: Sequence[Data] = (), streams: Sequence[Any] = ()) -> Arguments:
    """The arguments of a call: ``(args, kwargs)``. ``streams`` stand where the caller had those of channels 1, 2…

    Raises:
        CarryError: a value can't be decoded here.
    """
    return _arguments(decode(raw, buffers, "arguments", streams))


def _arguments(value: Any) -> Arguments:
    if type(value) is list and len(value) == 2:
        args, kwargs = value
        if type(args) is list and type(kwargs) is dict and (not kwargs or _TEXT.issuperset(map(type, kwargs))):
            return tuple(args), kwargs
    raise CarryError("arguments", "not a list of arguments and a map of named ones")
