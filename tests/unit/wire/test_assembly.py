import mmap

import pytest

from labc.errors import ProtocolError
from labc.wire.assembly import LAZY_BYTES, Assembly, allocate


def test_bytes_fill_segments_in_order_whatever_their_split() -> None:
    assembly = Assembly(3, 1, 0, (2, 0, 3, 0))
    for part in (b"a", b"bc", b"", b"de"):
        assembly.write(memoryview(part))
    message = assembly.message()
    assert bytes(message.head) == b"ab"
    assert [bytes(buffer) for buffer in message.buffers] == [b"", b"cde", b""]
    assert assembly.remaining == 0


def test_window_ends_with_the_segment_and_with_the_limit() -> None:
    assembly = Assembly(3, 1, 0, (4, 10))
    assert len(assembly.window(100)) == 4
    assert len(assembly.window(3)) == 3
    assembly.advance(4)
    assert len(assembly.window(100)) == 10


def test_what_is_declared_costs_nothing_until_it_arrives() -> None:
    assembly = Assembly(3, 1, 0, (1 << 40, 1 << 40))
    assert assembly.filled == []
    assert assembly.total == 1 << 41


def test_large_memory_is_lazy_and_small_is_not_mapped() -> None:
    assert isinstance(allocate(LAZY_BYTES).obj, mmap.mmap)
    assert isinstance(allocate(LAZY_BYTES - 1).obj, bytearray)


def test_no_memory_is_a_protocol_error() -> None:
    with pytest.raises(ProtocolError, match="no memory for a message part of 4611686018427387904 bytes"):
        allocate(1 << 62)
