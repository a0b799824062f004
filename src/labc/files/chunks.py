"""PURE. Files in chunks, and the digests that tell whether they have arrived as they were.

A chunk's digest is its XXH3-128 [1]_: it finds what memory, disks and networks spoil, and not what somebody forges, who
would have to be the sender: against others a network with a key is for. A file's digest is that of its chunks' digests,
one after the other: it finds chunks that are missing, doubled, in the wrong place, or of another version of the file.
Two files with the same bytes have the same digest, wherever they are.

.. [1] https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, NamedTuple

from labc.errors import FilesError

CHUNK = 1 << 20
"""Bytes. Part of what a file's digest means: not to be changed."""
DIGEST = 16
"""Bytes."""


class Part(NamedTuple):
    """Some chunks of a file, one after the other."""

    first: int
    length: int


def digest_of(data: Any) -> bytes:
    """Of a chunk."""
    return bytes(_library().xxh3_128_digest(data))


def digest_of_all(digests: Iterable[bytes]) -> bytes:
    """Of a file, by those of its chunks. One of no bytes has no chunks."""
    whole = _library().xxh3_128()
    for digest in digests:
        whole.update(digest)
    return bytes(whole.digest())


@cache
def zeros() -> bytes:
    """The digest of a whole chunk that is nothing but zeros: of such a chunk no bytes are sent, or written."""
    return digest_of(bytes(CHUNK))


def count_chunks(size: int) -> int:
    """Of a file of so many bytes."""
    return -(-size // CHUNK)


def is_small(size: int) -> bool:
    """Whether a file of so many bytes has one chunk at most, and travels as a whole."""
    return size <= CHUNK


def length_of(chunk: int, size: int) -> int:
    """The bytes of a chunk of a file of so many bytes."""
    return min(CHUNK, size - chunk * CHUNK)


def parts_of(chunks: Iterable[int], most: int) -> Iterator[Part]:
    """These chunks, in rising order, as parts of at most so many."""
    part: Part | None = None
    for chunk in chunks:
        if part is not None and chunk == part.first + part.length and part.length < most:
            part = Part(part.first, part.length + 1)
            continue
        if part is not None:
            yield part
        part = Part(chunk, 1)
    if part is not None:
        yield part


@cache
def _library() -> Any:
    try:
        import xxhash
    except ImportError:
        raise FilesError("files need a library that is not installed here: pip install 'labc[files]'") from None
    return xxhash
