"""PURE. What a root tells to anybody who asks, of its network or not: for :mod:`labc.discovery.inquiry`.

Two questions, which keep their form in all versions. "Who is there?" is an ask (:mod:`labc.discovery.datagrams`) with
zeros for the digest; any root answers it as it answers its own network. "Who are you?" is ``labc``, 1, kind (3: ask, 4:
answer), token (8) and, in an answer, a :class:`Description` as MessagePack. This ask is longer than any answer, so that
nobody can make a root send more to somebody else than he sends himself.
"""

from __future__ import annotations

import struct

import msgspec

from labc.discovery.datagrams import TOKEN_BYTES, Datagram, decode, encode

PROTOCOL = 1
"""Raised when programs of two versions of labc can't be in one network any more."""
ANY_NETWORK = bytes(8)

_FORM = struct.Struct(f"!4sBB{TOKEN_BYTES}s")
_MAGIC, _VERSION = b"labc", 1
_ASK, _ANSWER = 3, 4
_ASK_BYTES = 800
_NOBODY = "00" * 16


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """Of a root and its network. Fields that only a later version knows are ignored."""

    protocol: int
    digest: bytes
    """Of the network; the same for two roots means the same network and key."""
    root_id: str
    port: int
    """The root's TCP port."""
    time: float
    """There, in seconds since 1970."""
    keyed: bool
    """Whether the network has a key. Then the fields that follow are empty: strangers are told no names."""
    host: str = ""
    network: str = ""
    version: str = ""
    methods: list[str] = []


def who_is_there(token: bytes) -> bytes:
    return encode(Datagram(False, ANY_NETWORK, 1, token, _NOBODY))


def asks_who_is_there(data: bytes) -> bytes | None:
    """The token of such an ask; None: it is none."""
    datagram = decode(data)
    return datagram.token if datagram and not datagram.answer and datagram.digest == ANY_NETWORK else None


def who_are_you(token: bytes) -> bytes:
    return _FORM.pack(_MAGIC, _VERSION, _ASK, token).ljust(_ASK_BYTES, b"\0")


def asks_who_you_are(data: bytes) -> bytes | None:
    """The token of such an ask; None: it is none."""
    return None if len(data) < _ASK_BYTES else _token(data, _ASK)


def described(token: bytes, description: Description) -> bytes:
    """The answer; with shorter names if they are so long that the ask would not be longer."""
    data = _FORM.pack(_MAGIC, _VERSION, _ANSWER, token) + msgspec.msgpack.encode(description)
    if len(data) <= _ASK_BYTES:
        return data
    short = msgspec.structs.replace(description, host=description.host[:60], network=description.network[:60])
    return _FORM.pack(_MAGIC, _VERSION, _ANSWER, token) + msgspec.msgpack.encode(short)


def description_in(data: bytes, token: bytes) -> Description | None:
    """What the answer to the ask with this token tells; None: it is none."""
    if _token(data, _ANSWER) != token:
        return None
    try:
        return _decode(data[_FORM.size :])
    except ValueError:
        return None


def _token(data: bytes, wanted: int) -> bytes | None:
    if len(data) < _FORM.size:
        return None
    magic, _, kind, token = _FORM.unpack_from(data)  # whatever the version
    return bytes(token) if magic == _MAGIC and kind == wanted else None


_decode = msgspec.msgpack.Decoder(Description).decode
