"""Files on their way out: asked for in parts, over one connection or several at the same time."""

from __future__ import annotations

import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from labc.errors import FilesError
from labc.files import rawio
from labc.files.chunks import CHUNK, DIGEST, count_chunks, digest_of, digest_of_all, is_small, length_of, zeros
from labc.files.folder import Folder, Near, problem_of
from labc.files.paths import shown
from labc.files.pieces import Answer, Chunk, Failed, Sent, Wanted, Whole

_REMEMBERED = 16 << 20
"""Bytes of digests that are known for a while: those of a file of 1 TiB, or of as many of 32."""
_REMEMBERED_FILES = 32
_NONE = bytes(DIGEST)


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
        self._known: OrderedDict[_Identity, bytearray] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, version: _Identity, chunk: int) -> bytes | None:
        """None: it is not known."""
        with self._lock:
            known = self._known.get(version)
        digest = bytes(known[chunk * DIGEST : (chunk + 1) * DIGEST]) if known is not None else _NONE
        return digest if digest != _NONE else None

    def put(self, version: _Identity, chunk: int, digest: bytes) -> None:
        """Remember it, if there is room."""
        size = count_chunks(version.size) * DIGEST
        if size > _REMEMBERED:
            return
        with self._lock:
            if (known := self._known.get(version)) is None:
                known = self._known[version] = bytearray(size)
            self._known.move_to_end(version)
            known[chunk * DIGEST : (chunk + 1) * DIGEST] = digest
            while len(self._known) > _REMEMBERED_FILES or sum(map(len, self._known.values())) > _REMEMBERED:
                self._known.popitem(last=False)


class ChangedError(Exception):
    """The file is not that which was listed any more."""


class Sending:
    """The files of one folder, for one who asks."""

    def __init__(self, folder: Folder, digests: Digests) -> None:
        self._folder = folder
        self._digests = digests
        self._path: str | None = None
        self._file = -1

    def answers(self, wanted: Iterable[Sequence[Wanted]]) -> Iterator[list[Answer]]:
        """Of each that is wanted, in this order, all of it, or its chunks and that they are all, or why there are no
        more. What is wanted together is answered together, as far as it is not too much for that."""
        try:
            for some in wanted:
                with self._folder.near() as near:
                    yield from _in_lists(answer for each in some for answer in self._answers(each, near))
        finally:
            self._close()

    def digest(self, path: str, gone: Callable[[], bool] = lambda: False) -> bytes:
        """Of a file as it is now, read to its end, unless who waits for it is ``gone``.

        Raises:
            FilesError, OSError
            ChangedError: it was written to meanwhile.
        """
        file = self._folder.open_file(path)
        try:
            return _digest(file, _identity(os.fstat(file)), gone)
        finally:
            os.close(file)

    # Within.

    def _answers(self, wanted: Wanted, near: Near) -> Iterator[Answer]:
        try:
            yield from self._answer(wanted, near)
        except ChangedError:
            yield self._changed(wanted)
        except (OSError, FilesError) as error:
            yield Failed(wanted.number, problem_of(error, wanted.path))

    def _answer(self, wanted: Wanted, near: Near) -> Iterator[Answer]:
        self._open(wanted.path, near)
        about = os.fstat(self._file)
        identity = _identity(about)
        if (identity.size, identity.modified) != (wanted.size, wanted.modified):
            raise ChangedError
        if is_small(identity.size):
            digest, data = _read(self._file, 0, identity)
            yield Whole(wanted.number, digest_of_all([digest] if identity.size else ()), data)
            return
        every = range(count_chunks(identity.size))
        for chunk in every[wanted.first : wanted.first + wanted.length]:
            digest, data = self._read(chunk, identity)
            yield Chunk(wanted.number, chunk, digest, data)
        whole = digest_of_all(self._digest(chunk, identity) for chunk in every) if wanted.whole else None
        yield Sent(wanted.number, whole)

    def _digest(self, chunk: int, identity: _Identity) -> bytes:
        """Raises ChangedError."""
        return self._digests.get(identity, chunk) or self._read(chunk, identity)[0]

    def _read(self, chunk: int, identity: _Identity) -> tuple[bytes, Any]:
        """Its digest and its bytes. Raises ChangedError."""
        digest, data = _read(self._file, chunk, identity)
        self._digests.put(identity, chunk, digest)
        return digest, data

    def _changed(self, wanted: Wanted) -> Failed:
        self._close()
        try:
            now = self._folder.entry(wanted.path)
        except (OSError, FilesError) as error:
            return Failed(wanted.number, problem_of(error, wanted.path))
        return Failed(
            wanted.number, f"{shown(wanted.path)} is changed while it is read", (now.size, now.modified, now.executable)
        )

    def _open(self, path: str, near: Near) -> None:
        """The one before stays open as long as parts of it are wanted."""
        if path != self._path:
            self._close()
            self._file = near.open_file(path)
            self._path = path

    def _close(self) -> None:
        file, self._file, self._path = self._file, -1, None
        if file >= 0:
            os.close(file)


def _in_lists(answers: Iterable[Answer]) -> Iterator[list[Answer]]:
    """Each of about as many bytes as a chunk has."""
    some, size = [], 0
    for answer in answers:
        some.append(answer)
        size += len(answer.data) if isinstance(answer, Whole | Chunk) else 0
        if size >= CHUNK:
            yield some
            some, size = [], 0
    if some:
        yield some


def checksum(path: str | os.PathLike[str]) -> str:
    """Of a file of this computer, in hexadecimal digits.

    Raises:
        FilesError: it is no plain file, or was written to meanwhile.
        OSError: it can't be read.
    """
    with open(path, "rb", buffering=0) as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise FilesError(f"{shown(os.fspath(path))} is no plain file")
        try:
            return _digest(file.fileno(), _identity(about)).hex()
        except ChangedError:
            raise FilesError(f"{shown(os.fspath(path))} is changed while it is read") from None


def _digest(file: int, version: _Identity, gone: Callable[[], bool] = lambda: False) -> bytes:
    """Of all of it. Raises ChangedError; FilesError: nobody waits for it."""

    def digests() -> Iterator[bytes]:
        for chunk in range(count_chunks(version.size)):
            if gone():
                raise FilesError("nobody waits for it any more")
            yield _read(file, chunk, version)[0]

    return digest_of_all(digests())


def _read(file: int, chunk: int, identity: _Identity) -> tuple[bytes, Any]:
    """Digest and data of a chunk, no data of one that is nothing but zeros. Raises ChangedError."""
    length = length_of(chunk, identity.size)
    is_hole = length == CHUNK and rawio.is_hole(file, length, chunk * CHUNK)
    data = b"" if is_hole else rawio.read_at(file, length, chunk * CHUNK)
    if (len(data) != length and not is_hole) or _identity(os.fstat(file)) != identity:
        raise ChangedError
    digest = zeros() if is_hole else digest_of(data)
    return digest, data if digest != zeros() else b""


def _identity(about: os.stat_result) -> _Identity:
    return _Identity(about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns)
