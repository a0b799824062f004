"""Files from a share to a folder here, over streams: whatever breaks is tried again, and what can't be is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from labc.errors import ClosedError, NotFoundError, PeerLostError, ProtocolError
from labc.files.choosing import How, Rank, ranking
from labc.files.fetching import Connection, Fetching, Summary
from labc.files.folder import Folder
from labc.files.order import Order, Remote, Tries
from labc.files.paths import shown
from labc.files.pieces import (
    Entry,
    Missing,
    Ready,
    Status,
    Waiting,
    answers,
    packed,
    unpacked,
    unpacked_entries,
    unpacked_path,
)

LIST, READ = "core.files.list", "core.files.read"


class Download(Order):
    """``what``: a glob, or packed paths. ``target_of`` the path of a file in the share is its path in the folder.
    ``wanted(path)``: whether it is, of those that are chosen."""

    def __init__(
        self,
        remote: Remote,
        share: str,
        how: How,
        what: str | Sequence[str | bytes],
        folder: Folder,
        target_of: Callable[[str], str],
        connections: int,
        wanted: Callable[[str], bool] = lambda path: True,
    ) -> None:
        super().__init__(remote, connections)
        self._share = share
        self._how = how
        self._what = what
        self._rank = ranking(how, what if isinstance(what, str) else [unpacked_path(path) for path in what])
        self._told: Rank | None = None
        """Of the last one that was listed."""
        self._wanted = wanted
        self._fetching = Fetching(folder, target_of)

    def status(self) -> Status:
        return self._fetching.status()

    # Within.

    def _lead(self) -> None:
        self._fetching.plan(self._lists())

    def _lists(self) -> Iterator[list[Entry | Missing]]:
        """The list is asked for again when it breaks off, and goes on behind what was told of it."""
        tries = Tries(self._stopping)
        while not self._is_over:
            before = self._told
            try:
                for rows in self._opened(LIST, self._share, self._how, self._what):
                    yield self._meant(rows, before)
                return
            except Exception as error:
                if self._told != before:
                    tries.came()
                if isinstance(error, NotFoundError | PeerLostError) and tries.again():
                    continue
                if self._told is not None:
                    raise
                self._failed = error  # it could not even be begun
                return

    def _meant(self, rows: Any, before: Rank | None) -> list[Entry | Missing]:
        """``before``: what had been told earlier.

        Raises:
            ProtocolError: the list makes no sense, or has something for which nobody asked.
        """
        meant: list[Entry | Missing] = []
        told = self._told
        for entry in unpacked_entries(rows):
            path = entry.path.removesuffix("/")
            if isinstance(entry, Missing) and entry.is_folder:
                meant.append(entry)
            elif (rank := self._rank(path)) is None:
                raise ProtocolError(f"{shown(path)} is listed, for which nobody has asked")
            elif before is None or rank > before:
                told = rank
                if self._wanted(path):
                    meant.append(entry)
        self._told = told
        return meant

    def _connect(self, came: Callable[[], None]) -> None:
        connection = Connection()
        tasks = map(packed, self._fetching.tasks(connection))
        try:
            for values in self._opened(READ, self._share, self.remote.outgoing(tasks)):
                match unpacked(values):
                    case [Ready()]:
                        self._fetching.ready(connection)
                    case [Waiting()]:
                        self._fetching.waits(connection)
                    case pieces:
                        self._fetching.came(connection, answers(pieces))
                        came()
            if not self._is_over:
                raise ClosedError("the other end has closed the connection")
        finally:
            self._fetching.lost(connection)

    @property
    def _is_over(self) -> bool:
        return self._fetching.is_over

    def _wait(self) -> None:
        self._fetching.wait()

    def _give_up(self, why: str) -> None:
        self._fetching.give_up(why)

    def _summary(self) -> Summary:
        return self._fetching.summary
