"""What a node answers about its shares: lists, files, digests, and what is deleted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

from labc.errors import LabcError, ProtocolError
from labc.files.folder import Folder
from labc.files.paths import PathRefusedError, shown
from labc.files.patterns import Selection, by_glob, by_paths, fixed_part
from labc.files.pieces import (
    Entry,
    Ready,
    Waiting,
    Wanted,
    packed,
    packed_entries,
    packed_path,
    unpacked,
    unpacked_path,
)
from labc.files.sending import ChangedError, Digests, Sending, problem_of
from labc.files.turns import Turns

_TOGETHER = 500
"""Entries that travel together."""


class Share(Protocol):
    """See the settings."""

    @property
    def path(self) -> str: ...

    @property
    def read(self) -> bool: ...

    @property
    def write(self) -> bool: ...

    @property
    def open(self) -> bool: ...


class Caller(Protocol):
    """Who asks."""

    @property
    def node_id(self) -> str: ...

    @property
    def cancelled(self) -> bool: ...


Check = Callable[[str, bool], None]
"""``check(right, dangerous)`` raises RefusedError if the caller has not the right of this name."""


class Serving:
    """The shares of one node. Its functions run in threads, for one caller each."""

    def __init__(self, shares: Mapping[str, Share], check: Check, caller: Callable[[], Caller], turns: Turns) -> None:
        self._shares = shares
        self._check = check
        self._caller = caller
        self._turns = turns
        self._digests = Digests()

    def shares(self) -> list[list[Any]]:
        """Name, and whether the caller may read and write, of those of which he may do either."""
        rows = []
        for name, share in sorted(self._shares.items()):
            may = [self._may(name, share, verb) for verb in ("read", "write")]
            if any(may):
                rows.append([name, *may])
        return rows

    def entries(self, share: str, how: str, what: Any) -> Iterator[list[list[Any]]]:
        """Those files that are meant, in lists of entries."""
        folder, selection = self._folder(share, "read"), _selection(how, what)
        below = fixed_part(what) if how == "glob" else ""
        found: list[Any] = []
        for entry in _told(folder.entries(selection, below), below):
            found.append(entry)
            if len(found) >= _TOGETHER:
                yield packed_entries(found)
                found = []
        if found:
            yield packed_entries(found)

    def read(self, share: str, wanted: Iterable[Any]) -> Iterator[list[Any]]:
        """The files that are asked for, piece by piece."""
        folder, caller = self._folder(share, "read"), self._caller()
        with self._turns.turn(caller.node_id) as turn:
            for ahead in turn.waiting(lambda: not caller.cancelled):
                yield packed(Waiting(ahead))
            if not turn.began:  # nobody waits any more
                return
            yield packed(Ready())
            for piece in Sending(folder, self._digests).answers(map(_task, wanted)):
                yield packed(piece)

    def usage(self, share: str, path: str) -> list[int]:
        """How many files there are in a folder and below, their bytes, and what is free on the disk."""
        folder = self._folder(share, "read")
        try:
            return [*folder.usage(path), folder.free()]
        except OSError as error:
            raise PathRefusedError(problem_of(error, path)) from None

    def checksums(self, share: str, how: str, what: Any) -> Iterator[list[Any]]:
        """Path and digest of those files that are meant, or why there is none."""
        folder, selection = self._folder(share, "read"), _selection(how, what)
        below = fixed_part(what) if how == "glob" else ""
        sending = Sending(folder, self._digests)
        for entry in _told(folder.entries(selection, below), below):
            try:
                yield [packed_path(entry.path), sending.digest(entry.path)[1], ""]
            except ChangedError:
                yield [packed_path(entry.path), None, f"{shown(entry.path)} is changed while it is read"]
            except (OSError, PathRefusedError) as error:
                yield [packed_path(entry.path), None, problem_of(error, entry.path)]

    def delete(self, share: str, rows: Iterable[Any]) -> Iterator[list[Any]]:
        """Of each ``[path, digest]`` the path, and why it was not deleted, if so; with a digest only if it has that."""
        folder = self._folder(share, "write")
        sending = Sending(folder, self._digests)
        for row in rows:
            packed_name, digest = _row(row)
            path = unpacked_path(packed_name)
            try:
                if digest is not None and sending.digest(path)[1] != digest:
                    yield [packed_name, f"{shown(path)} is another one than was meant: it has another digest"]
                    continue
                folder.delete(path)
            except ChangedError:
                yield [packed_name, f"{shown(path)} is changed just now"]
            except (OSError, PathRefusedError) as error:
                yield [packed_name, problem_of(error, path)]
            else:
                yield [packed_name, ""]

    # Within.

    def _folder(self, name: str, verb: str) -> Folder:
        """Raises PathRefusedError, RefusedError."""
        share = self._shares.get(name)
        if share is None:
            raise PathRefusedError(f"there is no share {name!r} here")
        if not getattr(share, verb):
            raise PathRefusedError(f"the share {name!r} is not to {verb}: its setting says {verb} = false")
        self._check(f"files/{name}/{verb}", not share.open)
        return Folder(os.fspath(share.path))

    def _may(self, name: str, share: Share, verb: str) -> bool:
        try:
            self._folder(name, verb)
        except LabcError:
            return False
        return True


def _selection(how: str, what: Any) -> Selection:
    """Raises PathRefusedError, ProtocolError."""
    if how == "glob" and isinstance(what, str):
        return by_glob(what)
    if how == "paths" and isinstance(what, list):
        return by_paths(map(unpacked_path, what))
    raise ProtocolError(f"files are chosen by a glob or by paths, and not by {how!r}")


def _told(entries: Iterator[Entry], below: str) -> Iterator[Entry]:
    """Raises PathRefusedError where the system can't read a folder."""
    try:
        yield from entries
    except OSError as error:
        raise PathRefusedError(problem_of(error, below)) from None


def _task(values: Any) -> Wanted:
    """Raises ProtocolError."""
    piece = unpacked(values)
    if not isinstance(piece, Wanted):
        raise ProtocolError(f"a {type(piece).__name__} where a part of a file is asked for")
    return piece


def _row(row: Any) -> tuple[Any, bytes | None]:
    """Raises ProtocolError."""
    if not isinstance(row, list | tuple) or len(row) != 2 or not isinstance(row[1], bytes | None):
        raise ProtocolError("what is to be deleted: expected a path, and a digest or none")
    return row[0], row[1]
