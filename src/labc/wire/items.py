"""The payload of an ITEM message: the values of a stream that travel together, as a list of at least one.

Small values that are there at the same time share a frame, which costs both sides much the same however many it holds.
One with buffers beside it travels alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from labc.errors import CarryError, ProtocolError
from labc.wire.codec import decode
from labc.wire.frames import Data
from labc.wire.messages import ARRAY_32, encode_many, split_many

HEADER = 5
"""Bytes of an ITEM message that belong to no value."""


def encode_items(heads: Sequence[bytes]) -> bytes:
    """The heads of several `encode`, none of which had buffers, or of one that may have, as one."""
    return encode_many(heads)


def count_items(head: Data) -> int:
    """How many values are in it, by its own word; they are what follows after `HEADER`.

    Raises:
        ProtocolError: it is no such list.
    """
    if len(head) < HEADER or head[:1] != ARRAY_32:
        raise ProtocolError("an ITEM that is no list of values")
    count = int.from_bytes(head[1:HEADER], "big")
    if not 0 < count <= len(head) - HEADER:  # each takes a byte
        raise ProtocolError(f"an ITEM of {len(head)} bytes that says to hold {count} values")
    return count


def decode_items(head: Data, buffers: Sequence[Data], where: str) -> tuple[list[Any], CarryError | None]:
    """The values, and why there are no more: one can't be decoded here."""
    try:
        values = decode(head, buffers, where)
        if type(values) is list:
            return values, None
    except CarryError as error:
        if buffers:
            return [], error
    values = []
    try:
        for part in split_many(head):
            values.append(decode(part, (), where))
    except CarryError as error:
        return values, error
    return values, CarryError(where, "not a list of values")
