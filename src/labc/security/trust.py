"""PURE, but for the check of the signature. Whom the members of a network trust: one text, signed by its authority.

A network has a number of seats, and each has a certificate of authority of its own, all with the same key but with
names of their own. A member's certificate names the one of its seat as its issuer. The text holds those of all seats
but the revoked ones, as PEM, so the engine and Python's TLS read it as it is: who has a revoked seat is refused in the
handshake, as if another network had made its certificate. (A list of revoked certificates, the usual way, is nothing
that the engine reads.)

The lines before the certificates say which edition this is and which seats are good, and sign it.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Self

from labc.errors import MembershipError

SEATS = 64
"""In each batch. A seat is used once; when all are, the authority adds as many."""

MAX_SEATS = 4096
MAX_BYTES = 4 << 20

_HEADER = re.compile(r"labc trust (\d{1,9})\nseats ([\d ,-]*)\nsignature ([A-Za-z0-9+/=]+)\n")


@dataclass(frozen=True)
class Trust:
    """One edition. Of two, that with the higher number counts."""

    number: int
    seats: frozenset[int]
    """Those that are good, whether a host has them or not."""
    certificates: str
    """PEM, one after the other."""
    signature: bytes = b""

    @property
    def signed(self) -> bytes:
        """What the signature is over."""
        return f"labc trust {self.number}\nseats {shortened(self.seats)}\n{self.certificates}".encode()

    def text(self) -> str:
        signature = base64.b64encode(self.signature).decode()
        return f"labc trust {self.number}\nseats {shortened(self.seats)}\nsignature {signature}\n{self.certificates}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The signature is not checked.

        Raises:
            MembershipError: it is no such text.
        """
        match = _HEADER.match(text) if len(text) <= MAX_BYTES else None
        try:
            if match is None:
                raise ValueError
            signature = base64.b64decode(match[3], validate=True)
            return cls(int(match[1]), frozenset(lengthened(match[2])), text[match.end() :], signature)
        except (ValueError, binascii.Error):
            raise MembershipError("the list of trusted members can't be read: it is damaged") from None


def shortened(seats: frozenset[int]) -> str:
    """``{0, 1, 2, 5}`` as ``0-2,5``."""
    parts: list[str] = []
    ordered = sorted(seats)
    start = 0
    for index, seat in enumerate(ordered):
        if index + 1 == len(ordered) or ordered[index + 1] != seat + 1:
            first = ordered[start]
            parts.append(f"{first}" if first == seat else f"{first}-{seat}")
            start = index + 1
    return ",".join(parts)


def lengthened(text: str) -> list[int]:
    """The way back. Raises ValueError."""
    seats: list[int] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        low, high = int(first), int(last or first)
        if not 0 <= low <= high < MAX_SEATS:
            raise ValueError(part)
        seats += range(low, high + 1)
    return seats
