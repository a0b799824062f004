"""Files from a share to a folder here, over streams: whatever breaks is tried again, and what can't be is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from labc.errors import ClosedError, NotFoundError, PeerLostError, ProtocolError
from labc.files.choosing import How, was_chosen
from labc.files.fetching import Connection, Fetching, Summary
from labc.files.folder import Folder
from labc.files.order import Order, Remote, pauses
from labc.files.paths import shown
from labc.files.pieces import (
    Chunk,
    Entry,
    Failed,
    Missing,
    Ready,
    Sent,
    Status,
    Waiting,
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
        self._was_chosen = was_chosen(how, what if isinstance(what, str) else [unpacked_path(path) for path in what])
        self._wanted = wanted
        self._fetching = Fetching(folder, target_of)

    def status(self) -> Status:
        return self._fetching.status()

    # Within.

    def _lead(self) -> None:
        self._fetching.plan(self._entries())

    def _entries(self) -> Iterator[Entry | Missing]:
        """What ends the list before its time is raised when those that it told have come."""
        told, problem = False, Exception()
        for pause in (*pauses(), None):
            try:
                for rows in self._opened(LIST, self._share, self._how, self._what):
                    told = True
                    yield from filter(self._is_meant, unpacked_entries(rows))
                return
            except Exception as error:
                problem = error
            if told or pause is None or not isinstance(problem, NotFoundError | PeerLostError):
                break
            self._stopping.wait(pause)
        if not self._is_over:
            self._failed = problem

    def _is_meant(self, entry: Entry | Missing) -> bool:
        """Raises ProtocolError: nobody asked for it."""
        path = entry.path.removesuffix("/")
        if not self._was_chosen(path):
            raise ProtocolError(f"{shown(path)} is listed, for which nobody has asked")
        return self._wanted(path)

    def _connect(self, came: Callable[[], None]) -> None:
        connection = Connection()
        tasks = map(packed, self._fetching.tasks(connection))
        try:
            for values in self._opened(READ, self._share, self.remote.outgoing(tasks)):
                piece = unpacked(values)
                if isinstance(piece, Chunk | Sent | Failed):
                    self._fetching.came(connection, piece)
                    came()
                elif isinstance(piece, Ready):
                    self._fetching.ready(connection)
                elif isinstance(piece, Waiting):
                    self._fetching.waits(connection)
                else:
                    raise ProtocolError(f"a {type(piece).__name__} where pieces of files come")
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
