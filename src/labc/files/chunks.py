"""PURE. Files in chunks, and the digests that tell whether they have arrived as they were.

A chunk's digest is its XXH3-128 [1]_: it finds what memory, disks and networks spoil, and not what somebody forges, who
would have to be the sender: against others a network with a key is for. A file's digest is that of its chunks' digests,
one after the other: it finds chunks that are missing, doubled, in the wrong place, or of another version of the file.
Two files with the same bytes have the same digest, wherever they are.

.. [1] https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
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
    try:
        import xxhash
    except ImportError:
        raise FilesError("files need a library that is not installed here: pip install 'labc[files]'") from None
    return xxhash.xxh3_128_digest(data)


def digest_of_all(digests: Iterable[bytes]) -> bytes:
    """Of a file, by those of its chunks. One of no bytes has no chunks."""
    return digest_of(b"".join(digests))


def checksum(path: str | os.PathLike[str]) -> str:
    """Of a file of this computer, in hexadecimal digits. Raises OSError: it can't be read."""
    with open(path, "rb", buffering=0) as file:
        return digest_of_all(digest_of(chunk) for chunk in iter(lambda: _filled(file), b"")).hex()


def _filled(file: Any) -> bytes:
    """The next chunk; a shorter one only at the end of the file."""
    parts, missing = [], CHUNK
    while missing and (data := file.read(missing)):
        parts.append(data)
        missing -= len(data)
    return b"".join(parts)


def count_chunks(size: int) -> int:
    """Of a file of so many bytes."""
    return -(-size // CHUNK)


def length_of(chunk: int, size: int) -> int:
    """The bytes of a chunk of a file of so many bytes."""
    return min(CHUNK, size - chunk * CHUNK)


def parts_of(chunks: Sequence[int], most: int) -> list[Part]:
    """These chunks, in rising order, as parts of at most so many."""
    parts: list[Part] = []
    for chunk in chunks:
        last = parts[-1] if parts else None
        if last is not None and chunk == last.first + last.length and last.length < most:
            parts[-1] = Part(last.first, last.length + 1)
        else:
            parts.append(Part(chunk, 1))
    return parts
