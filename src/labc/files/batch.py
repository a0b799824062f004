"""Small files on their way in, many at a time: each is written beside its place, and put there when all is right.

What takes longest is to wait for the disk. So that it has not to do so for each of them by itself, all are written, and
the system is asked to begin with that, before the first one is waited for: as dpkg does it [1]_.

.. [1] https://salsa.debian.org/dpkg-team/dpkg/-/blob/main/src/main/archives.c: ``tar_writeback_barrier`` and
   ``tar_deferred_extract``
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import Any, NamedTuple

from labc.errors import LabcError
from labc.files import rawio
from labc.files.arrival import BeingWrittenError, SpoiledError
from labc.files.chunks import CHUNK, digest_of, digest_of_all, zeros
from labc.files.folder import Folder, Spot
from labc.files.paths import checked, shown, unfinished
from labc.files.pieces import Entry

MOST = 32
"""Files."""
_batches = threading.BoundedSemaphore(4)
"""At a time in this process: each holds two descriptors of each of its files, at most."""


class Small(NamedTuple):
    """A file that has come."""

    path: str
    """Where it goes."""
    source: Entry
    """What it is where it comes from."""
    digest: bytes
    data: Any
    """No bytes of one that is a hole."""


def put_together(folder: Folder, files: Sequence[Small]) -> list[Exception | None]:
    """All of them are in their places when this returns, with their times, and on the disk; but for those of which it
    tells why not: :class:`SpoiledError`, :class:`BeingWrittenError`, other errors of labc, or of the system."""
    problems: list[Exception | None] = [None] * len(files)
    writing: list[tuple[int, _Written]] = []
    with _batches, ExitStack() as open_:
        spots = _Spots(folder, open_)
        for place, small in enumerate(files):
            try:
                _check(small)
                written = _Written(spots.of(small.path), small)
                open_.callback(written.close)
                writing.append((place, written))
                written.write()
            except (OSError, LabcError) as error:
                problems[place] = error
        for place, written in writing:
            if problems[place] is None:
                try:
                    written.finish()
                except OSError as error:
                    problems[place] = error
        spots.sync()
    return problems


class _Spots:
    """Of files that often have their folder in common."""

    def __init__(self, folder: Folder, open_: ExitStack) -> None:
        """What is open until ``open_`` ends."""
        self._folder = folder
        self._open = open_
        self._folders: dict[tuple[str, ...], Spot] = {}
        """One in each, by its names."""

    def of(self, path: str) -> Spot:
        """Raises what :meth:`Folder.spot` does."""
        names = checked(path, windows=rawio.WINDOWS)
        if not names or names[:-1] not in self._folders:
            self._folders[names[:-1]] = self._open.enter_context(self._folder.spot(path, create=True))
        return self._folders[names[:-1]].beside(names[-1])

    def sync(self) -> None:
        for spot in self._folders.values():
            spot.sync()


class _Written:
    """One of them, which nobody else writes meanwhile."""

    def __init__(self, spot: Spot, small: Small) -> None:
        """Raises BeingWrittenError, OSError."""
        self._spot = spot
        self._small = small
        self._name = unfinished(small.path, "part")
        file = spot.open_alone(self._name)
        if file is None:
            raise BeingWrittenError(small.path)
        self._file = file
        self._in_place = False

    def write(self) -> None:
        """Raises OSError."""
        source = self._small.source
        if os.fstat(self._file).st_size:  # of an earlier try
            os.truncate(self._file, 0)
        rawio.write_at(self._file, self._small.data, 0)
        if len(self._small.data) != source.size:
            os.truncate(self._file, source.size)
        rawio.begin_sync(self._file)
        self._spot.describe(self._name, self._file, modified=source.modified, executable=source.executable)

    def finish(self) -> None:
        """Raises OSError."""
        os.fsync(self._file)
        if rawio.WINDOWS:  # which moves no file that is open
            os.close(self._file)
            self._file = -1
        self._spot.replace(self._name)
        self._in_place = True

    def close(self) -> None:
        """What is not in its place is of no use."""
        if rawio.WINDOWS and self._file >= 0:
            os.close(self._file)
            self._file = -1
        if not self._in_place:
            with suppress(OSError):
                self._spot.remove(self._name)
        if self._file >= 0:
            os.close(self._file)


def _check(small: Small) -> None:
    """Raises SpoiledError."""
    size, data = small.source.size, small.data
    if not data and size == CHUNK:
        is_right = small.digest == digest_of_all([zeros()])
    else:
        is_right = len(data) == size and small.digest == digest_of_all([digest_of(data)] if size else ())
    if not is_right:
        raise SpoiledError(shown(small.path))
