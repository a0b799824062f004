"""A large file on its way in: written beside its place, chunk by chunk in any order, and put there when all is right.

What has come stays when the program is killed, and counts when the same file is fetched again: a journal beside it says
which chunks there are, and with which digests, by which they are looked at before they count.
"""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Self

from labc.errors import ClosedError, LabcError
from labc.files import rawio
from labc.files.chunks import CHUNK, DIGEST, count_chunks, digest_of, digest_of_all, length_of, zeros
from labc.files.folder import Folder
from labc.files.paths import shown, unfinished
from labc.files.pieces import Entry

_HEAD = struct.Struct(f"<8sQqQ{DIGEST}s")
"""Of a journal. The digests of the chunks come after it, each in its place."""
_MAGIC = b"labcpart"
_NONE = bytes(DIGEST)
"""The digest of a chunk that has not come."""
_DIGESTS = 4096
"""That are read at a time."""


class SpoiledError(LabcError):
    """What came is not what was sent."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} did not arrive as it was sent")


class BeingWrittenError(LabcError):
    """Another one is at it."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{shown(path)} is being written by another program, or thread")


class Arrival:
    """One file of several chunks, for any number of threads that bring them.

    It is begun with ``with``; what is not finished when that ends is kept for the next time.
    """

    def __init__(self, folder: Folder, path: str, source: Entry, may_wait: Callable[[], bool] = lambda: False) -> None:
        """``source``: what the file is where it comes from; ``path``: where it goes. ``may_wait()``, after a moment,
        whether another one that writes the same file shall be waited for."""
        self._folder = folder
        self._path = path
        self._source = source
        self._may_wait = may_wait
        self._come = bytearray(count_chunks(source.size))
        """Of each chunk, whether it is there."""
        self._lock = threading.Lock()
        self._all_closed = threading.Event()
        self._all_closed.set()
        self._open = ExitStack()
        self._file = self._journal = -1
        self._inside = 0
        """Threads that are at it."""
        self._left = True
        self._closed = True
        self._in_place = False
        """Whether it is complete."""
        self._part, self._notes = unfinished(path, "part"), unfinished(path, "journal")

    def __enter__(self) -> Self:
        try:
            self._spot = self._open.enter_context(self._folder.spot(self._path, create=True))
            self._open_alone()
            self._open.callback(self._close_file)
            self._resume()
        except BaseException:
            self._open.close()
            raise
        self._left = self._closed = False
        self._all_closed.clear()
        return self

    def __exit__(self, *_: object) -> None:
        """Who is at it in another thread ends it first."""
        with self._lock:
            self._left = True
        self._close_if_left()

    def wait_until_closed(self) -> None:
        """Returns when nobody is at it any more, after it has been left."""
        self._all_closed.wait()

    @property
    def missing(self) -> Iterator[int]:
        """The chunks that have not come, in rising order, as of when it is asked for each."""
        chunk = -1
        while (chunk := self._come.find(0, chunk + 1)) >= 0:
            yield chunk

    @property
    def bytes_to_come(self) -> int:
        """Those of the chunks that are missing."""
        missing = self._come.count(0)
        if not missing:
            return 0
        last = len(self._come) - 1
        return missing * CHUNK - (0 if self._come[last] else CHUNK - length_of(last, self._source.size))

    def put(self, chunk: int, data: Any, digest: bytes) -> None:
        """A chunk has come; no bytes of one that is nothing but zeros. From any thread.

        Raises:
            SpoiledError: it is not what was sent.
            ClosedError: it has been left.
            OSError: it can't be written.
        """
        expected = length_of(chunk, self._source.size)
        is_hole = not data and expected == CHUNK and digest == zeros()
        if not is_hole and (len(data) != expected or digest_of(data) != digest):
            raise SpoiledError(f"chunk {chunk} of {shown(self._path)}")
        with self._being_at_it():
            if not is_hole:
                rawio.write_at(self._file, data, chunk * CHUNK)
            elif not rawio.is_hole(self._file, expected, chunk * CHUNK):  # an earlier try may have begun there
                rawio.write_at(self._file, bytes(CHUNK), chunk * CHUNK)
            with self._lock:
                self._write_down(chunk, digest)
                self._come[chunk] = True

    def finish(self, digest: bytes) -> None:
        """All chunks have come; ``digest`` is that of the file, by who has sent it. It is in its place when this
        returns, with its times, and on the disk.

        Raises:
            SpoiledError: it is not the file that was sent. What came is thrown away.
            ClosedError: it has been left.
            OSError: it can't be put there.
        """
        with self._being_at_it():
            if not all(self._come) or digest_of_all(self._digests()) != digest:
                self._throw_away()
                raise SpoiledError(shown(self._path))
            source = self._source
            os.truncate(self._file, source.size)  # there may be a hole at its end
            self._spot.describe(self._part, self._file, modified=source.modified, executable=source.executable)
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
            self._all_closed.set()

    def _throw_away(self) -> None:
        """Keep nothing of it."""
        if rawio.WINDOWS:
            self._close_file()
        self._forget_journal()
        with suppress(OSError):
            self._spot.remove(self._part)

    def _open_alone(self) -> None:
        """Raises BeingWrittenError: another one writes the same file just now."""
        while (file := self._spot.open_alone(self._part)) is None:
            if not self._may_wait():
                raise BeingWrittenError(self._path)
        self._file = file

    def _resume(self) -> None:
        """Count what an earlier try has left of the same file, if it is as it was then."""
        self._journal = self._spot.open(self._notes, os.O_RDWR | os.O_CREAT)
        self._open.callback(self._close_journal)
        source = self._source
        head = _HEAD.pack(_MAGIC, source.size, source.modified, CHUNK, digest_of(os.fsencode(source.path)))
        if rawio.read_at(self._journal, _HEAD.size, 0) != head:
            os.truncate(self._journal, 0)
            os.truncate(self._file, 0)
            rawio.write_at(self._journal, head, 0)
            return
        for chunk, digest in enumerate(self._digests()):
            if digest == _NONE:
                continue
            if self._has(chunk, digest):
                self._come[chunk] = True
            else:
                self._write_down(chunk, _NONE)

    def _digests(self) -> Iterator[bytes]:
        """Of all chunks, in their order, as far as the journal goes."""
        count = len(self._come)
        for first in range(0, count, _DIGESTS):
            length = min(_DIGESTS, count - first) * DIGEST
            some = rawio.read_at(self._journal, length, _HEAD.size + first * DIGEST)
            for start in range(0, len(some) // DIGEST * DIGEST, DIGEST):
                yield some[start : start + DIGEST]

    def _write_down(self, chunk: int, digest: bytes) -> None:
        rawio.write_at(self._journal, digest, _HEAD.size + chunk * DIGEST)

    def _has(self, chunk: int, digest: bytes) -> bool:
        length = length_of(chunk, self._source.size)
        if digest == zeros() and rawio.is_hole(self._file, length, chunk * CHUNK):
            return True
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
