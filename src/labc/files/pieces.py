"""PURE. What is said about files over a stream: plain lists, so that every version of labc can read them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from labc.errors import ProtocolError

MAX_SIZE = 1 << 44
"""Bytes of a file: 16 TiB."""


class Entry(NamedTuple):
    """A file of a share, as it was when it was looked at."""

    path: str
    size: int
    """Bytes."""
    modified: int
    """Nanoseconds since 1970, UTC."""
    executable: bool


class Wanted(NamedTuple):
    """Some chunks of a file, and its digest, if it is to be told."""

    number: int
    """By which the answers name it."""
    path: str
    size: int
    modified: int
    """Of the version that is wanted."""
    first: int
    length: int
    whole: bool
    """Whether the digest of the file shall be told."""


class Chunk(NamedTuple):
    number: int
    chunk: int
    digest: bytes
    data: Any


class Sent(NamedTuple):
    """All chunks that were wanted have come before."""

    number: int
    digest: bytes | None
    """Of the whole file."""


class Failed(NamedTuple):
    """No more of this one comes."""

    number: int
    text: str
    """Why: a sentence that names the file."""
    now: tuple[int, int, bool] | None = None
    """It was changed: size, time and whether it can be executed are these now, and it may be tried again."""


class Waiting(NamedTuple):
    """The other side has too many connections; this one waits its turn."""

    ahead: int
    """How many do so for longer."""


class Ready(NamedTuple):
    """It is its turn: what is asked for is answered."""


Piece = Wanted | Chunk | Sent | Failed | Waiting | Ready
_KINDS: dict[str, Any] = {
    "want": Wanted,
    "chunk": Chunk,
    "sent": Sent,
    "failed": Failed,
    "wait": Waiting,
    "ready": Ready,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def packed(piece: Piece) -> list[Any]:
    """To be sent."""
    values: list[Any] = list(piece)
    if isinstance(piece, Wanted):
        values[1] = packed_path(piece.path)
    return [_NAMES[type(piece)], *values]


def unpacked(values: Any) -> Piece:
    """Raises ProtocolError: it makes no sense."""
    try:
        kind, *rest = values
        if kind == "want":
            rest[1] = unpacked_path(rest[1])
        return msgspec.convert(rest, _KINDS[kind])  # type: ignore[no-any-return]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ProtocolError(f"a piece of a file that makes no sense: {str(error)[:80]}") from None


def packed_path(path: str) -> str | bytes:
    """Paths may have bytes in them that are no text in UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return os.fsencode(path)
    return path


def unpacked_path(path: Any) -> str:
    """Raises ProtocolError."""
    if isinstance(path, bytes):
        return os.fsdecode(path)
    if not isinstance(path, str):
        raise ProtocolError(f"a path that is none: {str(path)[:80]}")
    return path


def packed_entries(entries: Iterable[Entry]) -> list[list[Any]]:
    return [[packed_path(entry.path), *entry[1:]] for entry in entries]


def unpacked_entries(rows: Iterable[Any]) -> Iterator[Entry]:
    """Raises ProtocolError."""
    for row in rows:
        try:
            path, *rest = row
            entry = msgspec.convert([unpacked_path(path), *rest], Entry)
        except (TypeError, ValueError) as error:
            raise ProtocolError(f"an entry of a share that makes no sense: {str(error)[:80]}") from None
        if not (0 <= entry.size <= MAX_SIZE and abs(entry.modified) < 1 << 63):
            raise ProtocolError(f"an entry of a share that makes no sense: {entry.size} bytes of {entry.modified}")
        yield entry
