"""Files on their way out: asked for in parts, over one connection or several at the same time."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from labc.errors import FilesError
from labc.files import rawio
from labc.files.chunks import CHUNK, count_chunks, digest_of, digest_of_all, length_of
from labc.files.folder import Folder, entry_of, problem_of
from labc.files.paths import shown
from labc.files.pieces import Chunk, Entry, Failed, Sent, Wanted

_REMEMBERED = 64
"""Files whose chunks' digests are known for a while."""


class _Identity(NamedTuple):
    """A version of a file."""

    device: int
    number: int
    size: int
    modified: int


class Digests:
    """Those of the chunks that were read lately, so that a file's need not be found by reading it again. From any
    thread."""

    def __init__(self) -> None:
        self._known: OrderedDict[_Identity, dict[int, bytes]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, identity: _Identity) -> dict[int, bytes]:
        """By chunk; what is put in is remembered."""
        with self._lock:
            found = self._known.setdefault(identity, {})
            self._known.move_to_end(identity)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
            return found


class ChangedError(Exception):
    """The file is not that which was listed any more."""


class Sending:
    """The files of one folder, for one who asks."""

    def __init__(self, folder: Folder, digests: Digests) -> None:
        self._folder = folder
        self._digests = digests
        self._path: str | None = None
        self._file = -1

    def answers(self, wanted: Iterable[Wanted]) -> Iterator[Chunk | Sent | Failed]:
        """Of each that is wanted, in this order, its chunks, and that they are all, or why there are no more."""
        try:
            for each in wanted:
                try:
                    yield from self._answer(each)
                except ChangedError:
                    yield self._changed(each)
                except (OSError, FilesError) as error:
                    yield Failed(each.number, problem_of(error, each.path))
        finally:
            self._close()

    def digest(self, path: str) -> tuple[Entry, bytes]:
        """Of a file as it is now, read to its end.

        Raises:
            FilesError, OSError
            ChangedError: it was written to meanwhile.
        """
        file = self._folder.open_file(path)
        try:
            before = os.fstat(file)
            digests = (digest for digest, _ in _read(file, range(count_chunks(before.st_size)), _identity(before)))
            return entry_of(path, before), digest_of_all(digests)
        finally:
            os.close(file)

    # Within.

    def _answer(self, wanted: Wanted) -> Iterator[Chunk | Sent]:
        self._open(wanted.path)
        about = os.fstat(self._file)
        identity = _identity(about)
        if (identity.size, identity.modified) != (wanted.size, wanted.modified):
            raise ChangedError
        known = self._digests.of(identity)
        every = range(count_chunks(identity.size))
        chunks = every[wanted.first : wanted.first + wanted.length]
        for chunk, (digest, data) in zip(chunks, _read(self._file, chunks, identity), strict=True):
            known[chunk] = digest
            yield Chunk(wanted.number, chunk, digest, data)
        whole = None
        if wanted.whole:
            unknown = [chunk for chunk in every if chunk not in known]
            known.update(zip(unknown, (digest for digest, _ in _read(self._file, unknown, identity)), strict=True))
            whole = digest_of_all(known[chunk] for chunk in every)
        yield Sent(wanted.number, whole)

    def _changed(self, wanted: Wanted) -> Failed:
        self._close()
        try:
            now = self._folder.entry(wanted.path)
        except (OSError, FilesError) as error:
            return Failed(wanted.number, problem_of(error, wanted.path))
        return Failed(
            wanted.number, f"{shown(wanted.path)} is changed while it is read", (now.size, now.modified, now.executable)
        )

    def _open(self, path: str) -> None:
        """The one before stays open as long as parts of it are wanted."""
        if path != self._path:
            self._close()
            self._file = self._folder.open_file(path)
            self._path = path

    def _close(self) -> None:
        file, self._file, self._path = self._file, -1, None
        if file >= 0:
            os.close(file)


def _read(file: int, chunks: Iterable[int], identity: _Identity) -> Iterator[tuple[bytes, Any]]:
    """Digest and data of each chunk. Raises ChangedError."""
    for chunk in chunks:
        length = length_of(chunk, identity.size)
        data = rawio.read_at(file, length, chunk * CHUNK)
        if len(data) != length or _identity(os.fstat(file)) != identity:
            raise ChangedError
        yield digest_of(data), data


def _identity(about: os.stat_result) -> _Identity:
    return _Identity(about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns)
