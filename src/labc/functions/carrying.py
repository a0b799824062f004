"""From a value that a generator gave to what is sent of it, while the generator goes on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

from labc.wire import Body, encode

Encode = Callable[[Any, str], Body]


def carried(value: Any, where: str, encode: Encode = encode) -> Body:
    """Encoded, in memory that nobody else writes to: a camera's buffer may hold the next picture before this one is
    sent. So it is copied, but for an array that only the caller of this has.

    Raises:
        CarryError: it can't be carried; ``where`` is what it is called.
    """
    references = _references(value)
    body = encode(value, where)
    if not body.buffers or all(buffer.readonly for buffer in body.buffers):
        return body
    if references == _ALONE and _is_own_memory(value):
        return body
    return Body(body.head, tuple(b if b.readonly else memoryview(bytes(b)) for b in body.buffers))


def _is_own_memory(value: Any) -> bool:
    """Whether it is an array that no other shares its memory with."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and type(value) is numpy.ndarray and value.base is None and bool(value.flags.owndata)


_references: Callable[[Any], int] = getattr(sys, "getrefcount", lambda value: 0)


def _references_of(value: Any, where: str) -> int:
    """What `carried` counts: in a function that is called as that is."""
    return _references(value)


def _count(values: Iterator[Any]) -> int:
    """The same, for the loop that calls it."""
    found = 0
    for value in values:
        found = _references_of(value, "")
    return found


def _given_away() -> Iterator[Any]:
    yield object()


def _kept() -> Iterator[Any]:
    value = object()
    yield value


_ALONE = _count(_given_away())
"""References to a value that its generator has let go of, in `carried`: it depends on the interpreter."""
if _count(_kept()) <= _ALONE:
    _ALONE = -1  # there is no telling
