"""A file on its way in: written beside its place, chunk by chunk in any order, and put there when all is right.

What has come stays when the program is killed, and counts when the same file is fetched again: a journal beside it says
which chunks there are, and with which digests, by which they are looked at before they count.
"""

from __future__ import annotations

import hashlib
import os
import struct
import threading
from contextlib import ExitStack, suppress
from typing import Any, Self

from labc.errors import LabcError
from labc.files import rawio
from labc.files.chunks import CHUNK, DIGEST, count_chunks, digest_of, digest_of_all, length_of
from labc.files.folder import UNFINISHED, Folder
from labc.files.paths import shown
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
        token = hashlib.blake2b(os.fsencode(path.rpartition("/")[2]), digest_size=8).hexdigest()
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
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()
        self._file = -1

    @property
    def missing(self) -> list[int]:
        """The chunks that have not come, in rising order."""
        with self._lock:
            return [chunk for chunk in range(count_chunks(self._source.size)) if chunk not in self._digests]

    def put(self, chunk: int, data: Any, digest: bytes) -> None:
        """A chunk has come. From any thread.

        Raises:
            SpoiledError: it is not what was sent.
            OSError: it can't be written.
        """
        expected = length_of(chunk, self._source.size)
        if len(data) != expected or digest_of(data) != digest:
            raise SpoiledError(f"chunk {chunk} of {shown(self._path)} did not arrive as it was sent")
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
            OSError: it can't be put there.
        """
        if self.missing or digest_of_all(self._digests[chunk] for chunk in sorted(self._digests)) != digest:
            self.throw_away()
            raise SpoiledError(f"{shown(self._path)} did not arrive as it was sent")
        source = self._source
        os.fsync(self._file)
        self._close_file()
        self._spot.describe(self._part, modified=source.modified, executable=source.executable)
        self._spot.replace(self._part)
        self._spot.sync()
        self._forget_journal()

    def throw_away(self) -> None:
        """Keep nothing of it."""
        self._close_file()
        with suppress(OSError):
            self._spot.remove(self._part)
        self._forget_journal()

    # Within.

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
        kept = b""
        if notes[: _HEAD.size] == head:
            whole = (len(notes) - _HEAD.size) // _LINE.size * _LINE.size
            for chunk, digest in _LINE.iter_unpack(notes[_HEAD.size : _HEAD.size + whole]):
                if chunk < count_chunks(source.size) and self._has(chunk, digest):
                    self._digests[chunk] = digest
                    kept += _LINE.pack(chunk, digest)
        else:
            os.truncate(self._file, 0)
        os.truncate(self._journal, 0)
        os.lseek(self._journal, 0, os.SEEK_SET)
        os.write(self._journal, head + kept)

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
        self._close_journal()
        with suppress(OSError):
            self._spot.remove(self._notes)
