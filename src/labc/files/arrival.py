"""A file on its way in: written beside its place, chunk by chunk in any order, and put there when all is right.

What has come stays when the program is killed, and counts when the same file is fetched again: a journal beside it says
which chunks there are, and with which digests, by which they are looked at before they count.
"""

from __future__ import annotations

import hashlib
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Self

from labc.errors import ClosedError, LabcError
from labc.files import rawio
from labc.files.chunks import CHUNK, DIGEST, count_chunks, digest_of, digest_of_all, length_of
from labc.files.folder import Folder
from labc.files.paths import UNFINISHED, shown
from labc.files.pieces import Entry

_HEAD = struct.Struct(f"<8sQqQ{DIGEST}s")
_LINE = struct.Struct(f"<Q{DIGEST}s")
_MAGIC = b"labcpart"
_JOURNAL_FROM = 2
"""Chunks. A file of fewer is fetched again when it did not arrive."""


class SpoiledError(LabcError):
    """What came is not what was sent."""


class BeingWrittenError(LabcError):
    """Another one is at it."""


class Arrival:
    """One file, for any number of threads that bring chunks. It is begun with ``with``; what is not finished when that
    ends is kept for the next time, if it is worth it."""

    def __init__(self, folder: Folder, path: str, source: Entry) -> None:
        """``source``: what the file is where it comes from; ``path``: where it goes."""
        self._folder = folder
        self._path = path
        self._source = source
        self._digests: dict[int, bytes] = {}
        self._lock = threading.Lock()
        self._open = ExitStack()
        self._file = self._journal = -1
        self._inside = 0
        """Threads that are at it."""
        self._left = True
        self._closed = True
        self._in_place = False
        """Whether it is complete."""
        token = hashlib.blake2b(os.fsencode(path), digest_size=8).hexdigest()
        self._part, self._notes = (f"{UNFINISHED}{token}{end}" for end in (".part", ".journal"))

    def __enter__(self) -> Self:
        try:
            self._spot = self._open.enter_context(self._folder.spot(self._path, create=True))
            self._open_alone()
            self._open.callback(self._close_file)
            if count_chunks(self._source.size) >= _JOURNAL_FROM:
                self._resume()
            else:
                os.truncate(self._file, 0)
        except BaseException:
            self._open.close()
            raise
        self._left = self._closed = False
        return self

    def __exit__(self, *_: object) -> None:
        """Who is at it in another thread ends it first."""
        with self._lock:
            self._left = True
        self._close_if_left()

    @property
    def missing(self) -> list[int]:
        """The chunks that have not come, in rising order."""
        with self._lock:
            return [chunk for chunk in range(count_chunks(self._source.size)) if chunk not in self._digests]

    def put(self, chunk: int, data: Any, digest: bytes) -> None:
        """A chunk has come. From any thread.

        Raises:
            SpoiledError: it is not what was sent.
            ClosedError: it has been left.
            OSError: it can't be written.
        """
        expected = length_of(chunk, self._source.size)
        if len(data) != expected or digest_of(data) != digest:
            raise SpoiledError(f"chunk {chunk} of {shown(self._path)} did not arrive as it was sent")
        with self._being_at_it():
            rawio.write_at(self._file, data, chunk * CHUNK)
            with self._lock:
                self._digests[chunk] = digest
                if self._journal >= 0:
                    os.write(self._journal, _LINE.pack(chunk, digest))

    def finish(self, digest: bytes) -> None:
        """All chunks have come; ``digest`` is that of the file, by who has sent it. It is in its place when this
        returns, with its times, and on the disk.

        Raises:
            SpoiledError: it is not the file that was sent. What came is thrown away.
            ClosedError: it has been left.
            OSError: it can't be put there.
        """
        with self._being_at_it():
            if self.missing or digest_of_all(self._digests[chunk] for chunk in sorted(self._digests)) != digest:
                self._throw_away()
                raise SpoiledError(f"{shown(self._path)} did not arrive as it was sent")
            source = self._source
            self._spot.describe(self._part, modified=source.modified, executable=source.executable)
            try:
                os.fsync(self._file)
            except OSError:
                self._throw_away()  # what the disk has of it, nobody knows
                raise
            # Until the end nobody else may have it, who would begin it anew. Windows moves no file that is open.
            if rawio.WINDOWS:
                self._close_file()
            self._forget_journal()
            self._spot.replace(self._part)
            self._in_place = True
            self._spot.sync()

    # Within.

    @contextmanager
    def _being_at_it(self) -> Iterator[None]:
        """What is open stays open in here. Raises ClosedError."""
        with self._lock:
            if self._left:
                raise ClosedError(f"{shown(self._path)} is not being written any more")
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
            self._close_if_left()

    def _close_if_left(self) -> None:
        with self._lock:
            is_last = self._left and not (self._inside or self._closed)
            self._closed = self._closed or is_last
        if is_last:
            if self._journal < 0 and not self._in_place:  # of no use to a later try
                if rawio.WINDOWS:
                    self._close_file()
                with suppress(OSError):
                    self._spot.remove(self._part)
            self._open.close()

    def _throw_away(self) -> None:
        """Keep nothing of it."""
        if rawio.WINDOWS:
            self._close_file()
        self._forget_journal()
        with suppress(OSError):
            self._spot.remove(self._part)

    def _open_alone(self) -> None:
        """Raises BeingWrittenError: another one writes the same file just now."""
        while True:
            self._file = self._spot.open(self._part, os.O_RDWR | os.O_CREAT)
            try:
                if not rawio.lock(self._file):
                    raise BeingWrittenError(f"{shown(self._path)} is being written by another program, or thread")
                with suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(self._file), self._spot.stat(self._part)):
                        return
            except BaseException:
                self._close_file()
                raise
            self._close_file()  # the other one has just put it into its place

    def _resume(self) -> None:
        """Count what an earlier try has left of the same file, if it is as it was then."""
        self._journal = self._spot.open(self._notes, os.O_RDWR | os.O_CREAT)
        self._open.callback(self._close_journal)
        source = self._source
        head = _HEAD.pack(_MAGIC, source.size, source.modified, CHUNK, digest_of(os.fsencode(source.path)))
        notes = rawio.read_at(self._journal, os.fstat(self._journal).st_size, 0)
        kept = [head]
        if notes[: _HEAD.size] == head:
            whole = (len(notes) - _HEAD.size) // _LINE.size * _LINE.size
            for chunk, digest in _LINE.iter_unpack(notes[_HEAD.size : _HEAD.size + whole]):
                if chunk < count_chunks(source.size) and self._has(chunk, digest):
                    self._digests[chunk] = digest
                    kept.append(_LINE.pack(chunk, digest))
        else:
            os.truncate(self._file, 0)
        journal = b"".join(kept)
        if journal != notes:  # what is left behind it, if this is killed now, is looked at like all else
            rawio.write_at(self._journal, journal, 0)
            os.truncate(self._journal, len(journal))
        os.lseek(self._journal, 0, os.SEEK_END)

    def _has(self, chunk: int, digest: bytes) -> bool:
        length = length_of(chunk, self._source.size)
        data = rawio.read_at(self._file, length, chunk * CHUNK)
        return len(data) == length and digest_of(data) == digest

    def _close_file(self) -> None:
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def _close_journal(self) -> None:
        journal, self._journal = self._journal, -1
        if journal >= 0:
            os.close(journal)

    def _forget_journal(self) -> None:
        with self._lock:
            self._close_journal()
        with suppress(OSError):
            self._spot.remove(self._notes)
