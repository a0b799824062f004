"""The receiving end of an upload: it asks for what it has not got, over connections that the sender opens."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from labc.errors import FilesError
from labc.files.fetching import Connection, Fetching
from labc.files.folder import Folder
from labc.files.pieces import (
    Entry,
    Failures,
    Missing,
    Opened,
    Over,
    Piece,
    Ready,
    answers,
    packed_path,
    unpacked,
    unpacked_entries,
)

_TELL_EVERY = 0.2
"""Seconds between two words on how far it is."""
_TOGETHER = 500
"""Failures that travel together."""
_MAX_ORDERS = 64
"""Uploads of one caller at a time: each has a thread, and files that are open."""


class Receiving:
    """One upload."""

    def __init__(self, folder: Folder, to: str) -> None:
        """``to``: the path of a folder in it, to which the paths of the files are added; empty: none."""
        self._fetching = Fetching(folder, lambda path: f"{to}/{path}" if to else path)

    def follow(self, rows: Iterable[Any], gone: Callable[[], bool]) -> Iterator[list[Piece]]:
        """How far it is, to its end, or until the sender is ``gone``. ``rows``: which files there are; read in a thread
        of its own."""
        fetching, told, status = self._fetching, 0, None
        planning = threading.Thread(target=fetching.plan, args=(_lists(rows),), name="labc files plan", daemon=True)
        try:
            yield [Opened()]
            planning.start()
            over = False
            while not over and not gone():
                over = fetching.wait(_TELL_EVERY)
                while failures := fetching.failures(told)[:_TOGETHER]:
                    told += len(failures)
                    yield [Failures([(packed_path(path), text) for path, text in failures])]
                if status != (now := fetching.status()):
                    status = now
                    yield [now]
            yield [Over(fetching.summary.stopped)]
        finally:  # also when nobody follows it any more
            fetching.give_up("its sender is gone")

    def take(self, connection: Connection, values: Iterable[Any]) -> Iterator[Sequence[Piece]]:
        """What one connection is asked for. ``values``: its answers; read in a thread of its own."""
        problems: list[Exception] = []

        def read() -> None:
            try:
                for value in values:
                    self._fetching.came(connection, answers(unpacked(value)))
            except Exception as error:  # also of a sender that makes no sense, or is gone
                problems.append(error)
            finally:
                self._fetching.lost(connection)

        threading.Thread(target=read, name="labc files", daemon=True).start()
        self._fetching.ready(connection)
        yield [Ready()]
        yield from self._fetching.tasks(connection)
        if problems and not self._fetching.is_over:
            raise problems[0]

    def waits(self, connection: Connection) -> None:
        """For its turn."""
        self._fetching.waits(connection)

    def left(self, connection: Connection) -> None:
        """Nothing more is asked for on it."""
        self._fetching.lost(connection)


class Orders:
    """The uploads of all callers to one node."""

    def __init__(self) -> None:
        self._orders: dict[tuple[str, str], Receiving] = {}
        self._lock = threading.Lock()

    def begin(self, caller: str, number: str, receiving: Receiving) -> None:
        """Raises FilesError: he has too many, or one of this number."""
        with self._lock:
            if (caller, number) in self._orders:
                raise FilesError("there is an upload of this number already")
            if sum(who == caller for who, _ in self._orders) >= _MAX_ORDERS:
                raise FilesError(f"there are {_MAX_ORDERS} uploads of this program already")
            self._orders[caller, number] = receiving

    def find(self, caller: str, number: str) -> Receiving:
        """Raises FilesError: there is none."""
        with self._lock:
            receiving = self._orders.get((caller, number))
        if receiving is None:
            raise FilesError("there is no such upload, or it has ended")
        return receiving

    def end(self, caller: str, number: str) -> None:
        with self._lock:
            self._orders.pop((caller, number), None)


def _lists(rows: Iterable[Any]) -> Iterator[Iterator[Entry | Missing]]:
    return map(unpacked_entries, rows)
