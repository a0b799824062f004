"""Files from a share to a folder here, over streams: whatever breaks is tried again, and what can't be is told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from labc.errors import ProtocolError
from labc.files.fetching import Connection, Fetching, Summary
from labc.files.folder import Folder
from labc.files.pieces import Chunk, Entry, Failed, Ready, Sent, Waiting, packed, unpacked, unpacked_entries

LIST, READ = "core.files.list", "core.files.read"

_TRIES = 3
"""How often a connection is made again that brings nothing."""
_WAIT = 0.5
"""Seconds before the next try; then twice as long."""


class Remote(Protocol):
    """The node that has the share. For threads."""

    def stream(self, name: str, *args: Any) -> Any:
        """What a generator there gives, to iterate over; with ``close()``, for any thread."""

    def outgoing(self, values: Iterable[Any]) -> Any:
        """Values that are sent one by one."""


class Download:
    """One order. :meth:`run` does it; the rest is for other threads."""

    def __init__(
        self,
        remote: Remote,
        share: str,
        how: str,
        what: Any,
        folder: Folder,
        target_of: Callable[[str], str],
        connections: int,
    ) -> None:
        self._remote = remote
        self._share = share
        self._how = how
        self._what = what
        self._connections = connections
        self._fetching = Fetching(folder, target_of)
        self._lock = threading.Lock()
        self._streams: set[Any] = set()
        self._stopping = threading.Event()
        self._running = 0
        self._listing_failed: BaseException | None = None

    def run(self) -> Summary:
        """Returns when all files are there, or can't be.

        Raises:
            LabcError: they could not even be listed.
        """
        self._running = self._connections
        threads = [threading.Thread(target=self._list, name="labc files list", daemon=True)]
        for _ in range(self._connections):
            threads.append(threading.Thread(target=self._connect, name="labc files", daemon=True))
        try:
            for thread in threads:
                thread.start()
            self._fetching.wait()
        except BaseException:  # Ctrl-C
            self.stop("it was interrupted")
            raise
        finally:
            self._close_streams()
            for thread in threads:
                thread.join()
        if self._listing_failed is not None:
            raise self._listing_failed
        return self._fetching.summary

    def stop(self, why: str) -> None:
        """What has not come has failed. From any thread."""
        self._fetching.give_up(why)
        self._close_streams()

    # Within.

    def _list(self) -> None:
        self._fetching.plan(self._entries())

    def _entries(self) -> Iterator[Entry]:
        try:
            for rows in self._opened(LIST, self._share, self._how, self._what):
                yield from unpacked_entries(rows)
        except Exception as error:  # whatever it is, it is told where it was ordered
            if not self._fetching.is_over:
                self._listing_failed = error

    def _connect(self) -> None:
        tries, problem = 0, "all connections were lost"
        while not self._fetching.is_over:
            connection, came = Connection(), 0
            try:
                tasks = map(packed, self._fetching.tasks(connection))
                for values in self._opened(READ, self._share, self._remote.outgoing(tasks)):
                    came += self._came(connection, values)
                break  # there is nothing left to ask for
            except Exception as error:  # also of a peer that makes no sense
                problem = str(error)
            finally:
                self._fetching.lost(connection)
            tries = 1 if came else tries + 1
            if tries >= _TRIES:
                break
            self._stopping.wait(_WAIT * 2 ** (tries - 1))
        with self._lock:
            self._running -= 1
            is_last = not self._running
        if is_last and not self._fetching.is_over:
            self._fetching.give_up(problem)

    def _came(self, connection: Connection, values: Any) -> bool:
        """Whether it was anything of a file."""
        piece = unpacked(values)
        if isinstance(piece, Chunk | Sent | Failed):
            self._fetching.came(connection, piece)
            return True
        if isinstance(piece, Ready):
            self._fetching.ready(connection)
        elif not isinstance(piece, Waiting):
            raise ProtocolError(f"a {type(piece).__name__} where pieces of files come")
        return False

    def _opened(self, name: str, *args: Any) -> Iterator[Any]:
        """The values of a stream, which is closed when all is over."""
        stream = self._remote.stream(name, *args)
        with self._lock:
            self._streams.add(stream)
        try:
            if not self._stopping.is_set():
                yield from stream
        finally:
            with self._lock:
                self._streams.discard(stream)
            stream.close()

    def _close_streams(self) -> None:
        self._stopping.set()
        with self._lock:
            streams = list(self._streams)
        for stream in streams:
            stream.close()
