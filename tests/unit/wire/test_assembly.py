import psutil
import pytest

from labc.errors import ProtocolError
from labc.wire.assembly import HUGE_BYTES, LAZY_BYTES, Assembly, allocate


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


@pytest.mark.parametrize("size", [HUGE_BYTES - 1, HUGE_BYTES, 1 << 30])
def test_large_memory_costs_nothing_until_it_is_written(size: int) -> None:
    process = psutil.Process()
    before = process.memory_info().rss
    buffers = [allocate(size) for _ in range(4)]
    assert process.memory_info().rss - before < 16 << 20
    for buffer in buffers:
        buffer[: 8 << 20] = bytes(8 << 20)
    assert process.memory_info().rss - before < 64 << 20


@pytest.mark.parametrize("size", [0, 1, LAZY_BYTES - 1, LAZY_BYTES, HUGE_BYTES - 1, HUGE_BYTES, HUGE_BYTES + 1])
def test_buffers_of_every_size_are_writable_bytes(size: int) -> None:
    buffer = allocate(size)
    assert (len(buffer), buffer.format, buffer.readonly) == (size, "B", False)
    buffer[size // 2 :] = b"x" * (size - size // 2)
    assert buffer[size // 2 :] == b"x" * (size - size // 2)


def test_no_memory_is_a_protocol_error() -> None:
    with pytest.raises(ProtocolError, match="no memory for a message part of 4611686018427387904 bytes"):
        allocate(1 << 62)
