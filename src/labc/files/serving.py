"""What a node answers about its shares: lists, files to and fro, digests, and what is deleted."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

from labc.errors import FilesError, LabcError, ProtocolError
from labc.files.choosing import How, chosen
from labc.files.fetching import Connection
from labc.files.folder import Folder, problem_of
from labc.files.paths import shown
from labc.files.pieces import (
    Missing,
    Ready,
    Waiting,
    Wanted,
    packed,
    packed_entries,
    packed_path,
    questions,
    together,
    unpacked,
    unpacked_path,
)
from labc.files.receiving import Orders, Receiving
from labc.files.sending import ChangedError, Digests, Sending
from labc.files.turns import Turn, Turns


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
        self._orders = Orders()

    def shares(self) -> list[list[Any]]:
        """Name, whether the caller may read and write, of those of which he may do either; and a text that is another
        one for another folder of this computer."""
        rows = []
        for name, share in sorted(self._shares.items()):
            may = [self._may(name, share, verb) for verb in ("read", "write")]
            if any(may):
                folder = os.path.realpath(os.fspath(share.path))
                rows.append([name, *may, hashlib.blake2b(os.fsencode(folder), digest_size=8).hexdigest()])
        return rows

    def entries(self, share: str, how: str, what: Any) -> Iterator[list[list[Any]]]:
        """Those files that are meant, in lists of entries."""
        yield from map(packed_entries, together(chosen(self._folder(share, "read"), *_choice(how, what))))

    def read(self, share: str, wanted: Iterable[Any]) -> Iterator[list[Any]]:
        """The files that are asked for, piece by piece."""
        folder, caller = self._folder(share, "read"), self._caller()
        with self._turns.turn(caller.node_id) as turn:
            yield from self._waiting(turn, caller)
            if not turn.began:  # nobody waits any more
                return
            yield packed([Ready()])
            yield from map(packed, Sending(folder, self._digests).answers(map(_tasks, wanted)))

    def receive(self, share: str, number: str, to: str, rows: Iterable[Any]) -> Iterator[list[Any]]:
        """Take files: ``rows`` tell which there are, and :meth:`write` with this number gets them. How far it is."""
        folder, caller = self._folder(share, "write"), self._caller()
        receiving = Receiving(folder, to)
        self._orders.begin(caller.node_id, number, receiving)
        try:
            if to:
                self._make(folder, to)
            yield from map(packed, receiving.follow(rows, lambda: caller.cancelled))
        finally:
            self._orders.end(caller.node_id, number)

    def write(self, number: str, answers: Iterable[Any]) -> Iterator[list[Any]]:
        """What is asked for on one connection of such an order."""
        caller = self._caller()
        receiving, connection = self._orders.find(caller.node_id, number), Connection()
        receiving.waits(connection)
        try:
            with self._turns.turn(caller.node_id) as turn:
                yield from self._waiting(turn, caller)
                if turn.began:
                    yield from map(packed, receiving.take(connection, answers))
        finally:
            receiving.left(connection)

    def usage(self, share: str, path: str) -> list[int]:
        """How many files there are in a folder and below, their bytes, and what is free on the disk."""
        folder = self._folder(share, "read")
        try:
            return [*folder.usage(path), folder.free()]
        except OSError as error:
            raise FilesError(problem_of(error, path)) from None

    def checksums(self, share: str, how: str, what: Any) -> Iterator[list[Any]]:
        """Path and digest of those files that are meant, or why there is none."""
        folder = self._folder(share, "read")
        sending, gone = Sending(folder, self._digests), self._gone()
        for entry in chosen(folder, *_choice(how, what)):
            if isinstance(entry, Missing):
                yield [packed_path(entry.path), None, entry.text]
                continue
            if entry.is_folder:
                continue
            try:
                yield [packed_path(entry.path), sending.digest(entry.path, gone), ""]
            except ChangedError:
                yield [packed_path(entry.path), None, f"{shown(entry.path)} is changed while it is read"]
            except (OSError, FilesError) as error:
                yield [packed_path(entry.path), None, problem_of(error, entry.path)]

    def delete(self, share: str, rows: Iterable[Any]) -> Iterator[list[Any]]:
        """Of each ``[path, digest]`` the path, and why it was not deleted, if so; with a digest only if it has that."""
        folder = self._folder(share, "write")
        sending, gone = Sending(folder, self._digests), self._gone()
        for row in rows:
            packed_name, digest = _row(row)
            path = unpacked_path(packed_name)
            try:
                if digest is not None and sending.digest(path, gone) != digest:
                    yield [packed_name, f"{shown(path)} is another one than was meant: it has another digest"]
                    continue
                folder.delete(path)
            except ChangedError:
                yield [packed_name, f"{shown(path)} is changed just now"]
            except (OSError, FilesError) as error:
                yield [packed_name, problem_of(error, path)]
            else:
                yield [packed_name, ""]

    # Within.

    def _gone(self) -> Callable[[], bool]:
        """Whether the caller of now does not wait any more."""
        caller = self._caller()
        return lambda: caller.cancelled

    def _waiting(self, turn: Turn, caller: Caller) -> Iterator[list[Any]]:
        """Until it is his turn, or nobody waits any more."""
        for ahead in turn.waiting(lambda: not caller.cancelled):
            yield packed([Waiting(ahead)])

    def _make(self, folder: Folder, path: str) -> None:
        try:
            folder.make(path)
        except OSError as error:
            raise FilesError(problem_of(error, path)) from None

    def _folder(self, name: str, verb: str) -> Folder:
        """Raises FilesError, RefusedError."""
        share = self._shares.get(name)
        if share is None:
            raise FilesError(f"there is no share {name!r} here")
        if not getattr(share, verb):
            raise FilesError(f"the share {name!r} is not to {verb}: its setting says {verb} = false")
        self._check(f"files/{name}/{verb}", not share.open)
        return Folder(os.fspath(share.path))

    def _may(self, name: str, share: Share, verb: str) -> bool:
        try:
            self._folder(name, verb)
        except LabcError:
            return False
        return True


def _choice(how: str, what: Any) -> tuple[How, Any]:
    """Raises ProtocolError."""
    if how == "glob" and isinstance(what, str):
        return "glob", what
    if how == "paths" and isinstance(what, list):
        return "paths", [unpacked_path(path) for path in what]
    raise ProtocolError(f"files are chosen by a glob or by paths, and not by {how!r}")


def _tasks(values: Any) -> list[Wanted]:
    """Raises ProtocolError."""
    return questions(unpacked(values))


def _row(row: Any) -> tuple[Any, bytes | None]:
    """Raises ProtocolError."""
    if not isinstance(row, list | tuple) or len(row) != 2 or not isinstance(row[1], bytes | None):
        raise ProtocolError("what is to be deleted: expected a path, and a digest or none")
    return row[0], row[1]
