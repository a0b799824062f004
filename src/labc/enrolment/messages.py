"""PURE. What the joining and the inviting host say to each other, each once: a length in four bytes, and msgpack."""

from __future__ import annotations

import msgspec

from labc.errors import InvitationError

VERSION = 1
MAX_REQUEST_BYTES = 16 << 10
MAX_ANSWER_BYTES = 8 << 20
LENGTH_BYTES = 4


class Request(msgspec.Struct, frozen=True):
    version: int
    secret: bytes
    host: str
    request: str
    """For a certificate, as PEM. Its private key stays where it is."""

    def __repr__(self) -> str:
        return f"<Request of {self.host!r}>"


class Accepted(msgspec.Struct, frozen=True, tag="accepted"):
    seat: int
    inviter: str
    secret: str
    certificate: str
    trust: str

    def __repr__(self) -> str:
        return f"<Accepted for seat {self.seat}>"


class Declined(msgspec.Struct, frozen=True, tag="declined"):
    sentence: str


def framed(message: msgspec.Struct) -> bytes:
    data = msgspec.msgpack.encode(message)
    return len(data).to_bytes(LENGTH_BYTES, "big") + data


def length_of(header: bytes | bytearray, limit: int) -> int:
    """Raises InvitationError: it is longer than this, so it is something else."""
    length = int.from_bytes(header, "big")
    if length > limit:
        raise InvitationError("what came is no answer of labc's")
    return length


def parse_request(data: bytes) -> Request:
    """Raises InvitationError."""
    try:
        request = msgspec.msgpack.decode(data, type=Request)
    except ValueError:
        raise InvitationError("the request can't be read") from None
    if request.version != VERSION:
        raise InvitationError("the two hosts have different versions of labc: use the same one on both")
    return request


def parse_answer(data: bytes) -> Accepted:
    """Raises InvitationError: it can't be read, or was declined, with the inviting host's sentence."""
    try:
        answer = msgspec.msgpack.decode(data, type=Accepted | Declined)
    except ValueError:
        raise InvitationError("the inviting host's answer can't be read") from None
    if isinstance(answer, Declined):
        raise InvitationError(answer.sentence)
    return answer
