"""PURE. What is said about files over a stream: plain lists, so that every version of labc can read them.

What travels is a list of pieces: of many small files, the pieces of some dozens go together.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from labc.errors import ProtocolError

_TOGETHER = 500
"""Entries."""
MAX_SIZE = 1 << 44
"""Bytes of a file: 16 TiB."""


class Entry(NamedTuple):
    """A file of a share, as it was when it was looked at; or an empty folder, whose path ends with a slash."""

    path: str
    size: int
    """Bytes."""
    modified: int
    """Nanoseconds since 1970, UTC."""
    executable: bool

    @property
    def is_folder(self) -> bool:
        return self.path.endswith("/")


class Missing(NamedTuple):
    """A file that can't be had; or a folder that can't be looked into, whose path ends with a slash."""

    path: str
    text: str
    """Why: a sentence that names it."""

    @property
    def is_folder(self) -> bool:
        return self.path.endswith("/")


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


class Whole(NamedTuple):
    """All of a small file."""

    number: int
    digest: bytes
    """Of the file."""
    data: Any
    """No bytes of one that is a hole."""


class Chunk(NamedTuple):
    """Of a large file."""

    number: int
    chunk: int
    digest: bytes
    data: Any


class Sent(NamedTuple):
    """All chunks of a large file that were wanted have come before."""

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


# What the receiving end of an upload tells of it as a whole.


class Opened(NamedTuple):
    """Files can be sent from now on."""


class Status(NamedTuple):
    """How far an order has come."""

    files: int = 0
    """That have come."""
    bytes: int = 0
    """That have come."""
    skipped: int = 0
    """Files that were there already."""
    failed: int = 0
    under_way: int = 0
    """Files that are known of, and have neither come nor failed."""
    bytes_to_come: int = 0
    """Of these."""
    listed: bool = False
    """Whether all are known of."""
    large: Sequence[tuple[str, int, int]] = ()
    """Of the files of several chunks that are under way: path, bytes that are there, size."""
    waiting: int = 0
    """Connections that wait for their turn."""


class Failures(NamedTuple):
    """Files that did not arrive, and why."""

    rows: list[tuple[Any, str]]


class Over(NamedTuple):
    """No more comes of it."""

    stopped: str
    """Why it ended before its time, if it did."""


Answer = Whole | Chunk | Sent | Failed
Piece = Wanted | Answer | Waiting | Ready | Opened | Status | Failures | Over
_KINDS: dict[str, Any] = {
    "want": Wanted,
    "whole": Whole,
    "chunk": Chunk,
    "sent": Sent,
    "failed": Failed,
    "wait": Waiting,
    "ready": Ready,
    "opened": Opened,
    "status": Status,
    "failures": Failures,
    "over": Over,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def packed(pieces: Iterable[Piece]) -> list[list[Any]]:
    """To be sent together."""
    return [_packed(piece) for piece in pieces]


def unpacked(values: Any) -> list[Piece]:
    """Raises ProtocolError: it makes no sense."""
    if not isinstance(values, list | tuple) or not values:
        raise ProtocolError(f"expected pieces of files, and not {str(values)[:80]}")
    return [_unpacked(each) for each in values]


def answers(pieces: Iterable[Piece]) -> Iterator[Answer]:
    """The same. Raises ProtocolError: one is none."""
    for piece in pieces:
        if not isinstance(piece, Answer):
            raise ProtocolError(f"a {type(piece).__name__} where pieces of files come")
        yield piece


def questions(pieces: Sequence[Piece]) -> list[Wanted]:
    """The same. Raises ProtocolError: one is none."""
    wanted = [piece for piece in pieces if isinstance(piece, Wanted)]
    if len(wanted) != len(pieces):
        raise ProtocolError("something else where parts of files are asked for")
    return wanted


def _packed(piece: Piece) -> list[Any]:
    values: list[Any] = list(piece)
    if isinstance(piece, Wanted):
        values[1] = packed_path(piece.path)
    elif isinstance(piece, Status):
        values[7] = [[packed_path(path), *rest] for path, *rest in piece.large]
    return [_NAMES[type(piece)], *values]


def _unpacked(values: Any) -> Piece:
    """Raises ProtocolError."""
    try:
        kind, *rest = values
        if kind == "want":
            rest[1] = unpacked_path(rest[1])
        elif kind == "status":
            rest[7] = [[unpacked_path(path), *others] for path, *others in rest[7]]
        elif kind in ("whole", "chunk"):
            memoryview(rest[-1])  # raises TypeError: these are no bytes
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


def together(entries: Iterable[Entry | Missing]) -> Iterator[list[Entry | Missing]]:
    """In lists, of which each travels as a whole."""
    left = iter(entries)
    while some := list(itertools.islice(left, _TOGETHER)):
        yield some


def packed_entries(entries: Iterable[Entry | Missing]) -> list[list[Any]]:
    return [[packed_path(entry.path), *entry[1:]] for entry in entries]


def unpacked_entries(rows: Iterable[Any]) -> Iterator[Entry | Missing]:
    """Raises ProtocolError."""
    for row in rows:
        try:
            path, *rest = row
            if len(rest) == 1:
                yield msgspec.convert([unpacked_path(path), *rest], Missing)
                continue
            entry = msgspec.convert([unpacked_path(path), *rest], Entry)
        except (TypeError, ValueError) as error:
            raise ProtocolError(f"an entry of a share that makes no sense: {str(error)[:80]}") from None
        if not (0 <= entry.size <= MAX_SIZE and abs(entry.modified) < 1 << 63):
            raise ProtocolError(f"an entry of a share that makes no sense: {entry.size} bytes of {entry.modified}")
        yield entry
