"""PURE. An invitation as text: short enough to paste, and checked so that a typo is told.

``labc-`` and groups of letters and digits (base 32; capitals, spaces, dashes and line breaks do not matter), which
hold, after a checksum: the network's name, where the inviting host listens, the fingerprint of the network's
authority, which the joining host insists on, and a secret, which it shows to be let in.
"""

from __future__ import annotations

import base64
import ipaddress
import re
import zlib
from typing import Self

import msgspec

from labc.errors import InvitationError

FINGERPRINT_BYTES = 16
"""Of the authority's certificate: nobody finds another one with the same in 2**128 tries."""

SECRET_BYTES = 16

_PREFIX = "labc-"
_VERSION = 1
_NAME = b"name:"
_CHECKSUM_BYTES = 4
_MAX_TEXT = 4096
_MAX_ADDRESSES = 8


class _Packed(msgspec.Struct, array_like=True):
    version: int
    network: str
    addresses: list[bytes]
    """IP addresses as their 4 or 16 bytes, names behind a mark with which no address begins that is given to hosts."""
    port: int
    fingerprint: bytes
    secret: bytes
    expires: int


class Invitation(msgspec.Struct, frozen=True, kw_only=True):
    """What a host needs to know to become a member. Its ``repr`` does not show the secret."""

    network: str
    addresses: tuple[str, ...]
    """Of the inviting host; IP addresses or names, the likeliest first. At most 8."""
    port: int
    fingerprint: bytes
    secret: bytes
    expires: int
    """Seconds since 1970."""

    def __repr__(self) -> str:
        return f"<Invitation to {self.network!r}>"

    def text(self) -> str:
        """What is printed, and pasted on the other host. Whoever reads it can join until it expires."""
        packed = _Packed(
            _VERSION,
            self.network,
            [_packed_address(address) for address in self.addresses[:_MAX_ADDRESSES]],
            self.port,
            self.fingerprint,
            self.secret,
            self.expires,
        )
        payload = msgspec.msgpack.encode(packed)
        data = zlib.crc32(payload).to_bytes(_CHECKSUM_BYTES, "big") + payload
        return _PREFIX + base64.b32encode(data).decode().rstrip("=").lower()

    @classmethod
    def parse(cls, text: str) -> Self:
        """The invitation that this text is.

        Raises:
            InvitationError: it is none, or not all of it, or has a typo; says which.
        """
        letters = re.sub(r"[\s-]", "", text).lower()
        if not letters.startswith("labc") or len(letters) > _MAX_TEXT:
            raise InvitationError("this is no invitation: `labc network invite` prints one, which begins with labc-")
        letters = letters.removeprefix("labc").upper()
        try:
            data = base64.b32decode(letters + "=" * (-len(letters) % 8))
        except ValueError:  # also of what is no letter
            raise InvitationError(_TYPO) from None
        payload = data[_CHECKSUM_BYTES:]
        if zlib.crc32(payload).to_bytes(_CHECKSUM_BYTES, "big") != data[:_CHECKSUM_BYTES]:
            raise InvitationError(_TYPO)
        return cls._unpacked(payload)

    @classmethod
    def _unpacked(cls, payload: bytes) -> Self:
        try:
            version = msgspec.msgpack.decode(payload)[0]
            if version != _VERSION:
                raise InvitationError("this invitation was made by another version of labc: use the same one on both")
            packed = msgspec.msgpack.decode(payload, type=_Packed)
            addresses = tuple(map(_unpacked_address, packed.addresses))
        except InvitationError:
            raise
        except (ValueError, TypeError, IndexError, KeyError):
            raise InvitationError(_TYPO) from None
        return cls(
            network=packed.network,
            addresses=addresses,
            port=packed.port,
            fingerprint=packed.fingerprint,
            secret=packed.secret,
            expires=packed.expires,
        )


_TYPO = "this invitation has a typo, or a part of it is missing: copy all of it, from labc- to its end"


def _packed_address(address: str) -> bytes:
    try:
        return ipaddress.ip_address(address).packed
    except ValueError:
        return _NAME + address.encode()


def _unpacked_address(address: bytes) -> str:
    return address.removeprefix(_NAME).decode() if address.startswith(_NAME) else str(ipaddress.ip_address(address))
