"""PURE. The datagrams of discovery: two of our own, and two of the engine's (Zenoh's scouting protocol, version 9).

Ours is 40 bytes, most significant byte first: ``labc``, version, kind (1: ask, 2: answer), digest of the network's name
(8), TCP port of the sender's root (2), token (8), id of the sender's root (16). An answer repeats the token of the ask.

In a keyed network a seal follows: the sender's address (4), and a tag (16) over all before it, which only members can
make. So nobody can send another one's datagram from his own address.
"""

from __future__ import annotations

import ipaddress
import struct
import zlib
from dataclasses import dataclass
from typing import NamedTuple

_MAGIC = b"labc"
_VERSION = 1
_FORM = struct.Struct("!4sBB8sH8s16s")
_ASK, _ANSWER = 1, 2

TOKEN_BYTES = 8
MAX_BYTES = 2048
"""None that concerns us is longer."""

_ADDRESS_BYTES, _TAG_BYTES = 4, 16
_PURPOSE = b"labc discovery"

_SCOUT, _HELLO = 0x01, 0x02
_HAS_LOCATORS = 0x20
_ENGINE_VERSION = 9
_ROUTERS = 0b001
"""Of what a Scout looks for."""
_MAX_LOCATORS = 8
_MAX_LOCATOR_BYTES = 100


@dataclass(frozen=True, slots=True)
class Datagram:
    """An ask ("which root is there?") or an answer."""

    answer: bool
    digest: bytes
    port: int
    """The TCP port of the sender's root."""
    token: bytes
    root_id: str
    """The engine's id of the sender's root, in hexadecimal digits."""


def network_digest(network: str) -> bytes:
    """The same on all hosts; by it networks that share ports are kept apart."""
    name = network.encode()
    return struct.pack("!II", zlib.crc32(name), zlib.crc32(name[::-1]))


def encode(datagram: Datagram) -> bytes:
    kind = _ANSWER if datagram.answer else _ASK
    root_id = bytes.fromhex(datagram.root_id)
    return _FORM.pack(_MAGIC, _VERSION, kind, datagram.digest, datagram.port, datagram.token, root_id)


def decode(data: bytes) -> Datagram | None:
    """None: it is not one of ours, or of a version that is not known here. Later versions may be longer."""
    if len(data) < _FORM.size:
        return None
    magic, version, kind, digest, port, token, root_id = _FORM.unpack_from(data)
    if magic != _MAGIC or version != _VERSION or kind not in (_ASK, _ANSWER) or not port:
        return None
    return Datagram(kind == _ANSWER, digest, port, token, root_id.hex())


class Opened(NamedTuple):
    """What a member of a keyed network has sealed."""

    data: bytes
    sender: str
    """The address from which he believed to send it. It differs behind a router that translates addresses."""


def sealed(data: bytes, sender: str, secret: bytes) -> bytes:
    """A datagram of a keyed network, to be sent from this IPv4 address."""
    data += ipaddress.IPv4Address(sender).packed
    return data + _tag(data, secret)


def opened(data: bytes, secret: bytes) -> Opened | None:
    """None: no member of the network with this secret has made it."""
    import hmac  # what open networks do without

    data, tag = data[:-_TAG_BYTES], data[-_TAG_BYTES:]
    if len(data) < _ADDRESS_BYTES or not hmac.compare_digest(tag, _tag(data, secret)):
        return None
    return Opened(data[:-_ADDRESS_BYTES], str(ipaddress.IPv4Address(data[-_ADDRESS_BYTES:])))


def _tag(data: bytes, secret: bytes) -> bytes:
    import hashlib

    return hashlib.blake2b(data, digest_size=_TAG_BYTES, key=secret, person=_PURPOSE).digest()


def is_scout(data: bytes) -> bool:
    """Whether this is the engine's question for routers."""
    if len(data) < 3 or data[0] & 0x1F != _SCOUT:
        return False
    return data[1] == _ENGINE_VERSION and bool(data[2] & _ROUTERS)


def hello(root_id: str, locators: list[str]) -> bytes:
    """The engine's answer to a Scout: a router with this id can be reached there.

    A router that scouts takes it at any time, from anybody, and connects if it has no link with that id.

    Raises:
        ValueError: more locators than 8, or one that is no text for them.
    """
    zenoh_id = bytes.fromhex(root_id)[::-1]
    texts = [locator.encode("ascii") for locator in locators]
    if not 0 < len(texts) <= _MAX_LOCATORS or any(len(text) > _MAX_LOCATOR_BYTES for text in texts):
        raise ValueError(f"locators={locators!r}")
    router_with_id = (len(zenoh_id) - 1) << 4
    head = bytes([_HELLO | _HAS_LOCATORS, _ENGINE_VERSION, router_with_id]) + zenoh_id
    return head + bytes([len(texts)]) + b"".join(bytes([len(text)]) + text for text in texts)
