"""The parser is fed frames built by hand, so that it is not only the outbox's mirror image."""

import itertools
import struct
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labc.errors import HandshakeError, LabcError, ProtocolError
from labc.wire.frames import ABORT, MAX_CHUNK, MAX_FRAME, MAX_PARTIALS, MULTI, PREFACE, Kind, Message
from labc.wire.parser import DIRECT_BYTES, PEEK_BYTES, STAGING_BYTES, Parser

LIMIT = 1 << 30


def frame(kind: int, id: int, payload: bytes = b"", *, flags: int = 0, channel: int = 0, length: int = -1) -> bytes:
    return struct.pack(">IBBHQ", len(payload) if length < 0 else length, kind, flags, channel, id) + payload


def table(*sizes: int) -> bytes:
    return struct.pack(f">H{len(sizes)}Q", len(sizes), *sizes)


def opening(kind: int, id: int, sizes: tuple[int, ...], data: bytes = b"", channel: int = 0) -> bytes:
    return frame(kind, id, table(*sizes) + data, flags=MULTI, channel=channel)


def chunk(id: int, data: bytes, channel: int = 0) -> bytes:
    return frame(Kind.CHUNK, id, data, channel=channel)


def ready(limit: int = LIMIT) -> Parser:
    parser = Parser(limit)
    assert parser.feed(PREFACE) == []
    return parser


def plain(message: Message) -> tuple[int, int, int, bytes, list[bytes]]:
    return message.kind, message.id, message.channel, bytes(message.head), [bytes(b) for b in message.buffers]


def test_a_small_frame_is_a_message_with_real_bytes() -> None:
    [message] = ready().feed(frame(Kind.REQUEST, 7, b"hello", channel=3))
    assert plain(message) == (Kind.REQUEST, 7, 3, b"hello", [])
    assert type(message.head) is bytes


def test_an_empty_payload_is_a_message() -> None:
    [message] = ready().feed(frame(Kind.CANCEL, 7))
    assert plain(message) == (Kind.CANCEL, 7, 0, b"", [])


def test_many_frames_in_one_read() -> None:
    data = b"".join(frame(Kind.REPLY, n, bytes([n])) for n in range(200))
    assert [(m.id, m.head) for m in ready().feed(data)] == [(n, bytes([n])) for n in range(200)]


@pytest.mark.parametrize("size", [0, 1, 1 << 15, (1 << 15) + 1, STAGING_BYTES - 16, STAGING_BYTES, MAX_CHUNK])
def test_single_frames_of_every_size(size: int) -> None:
    payload = bytes(itertools.islice(itertools.cycle(range(251)), size))
    parser = ready()
    messages = parser.feed(frame(Kind.REPLY, 1, payload) + frame(Kind.REPLY, 3, b"next"))
    assert [bytes(m.head) for m in messages] == [payload, b"next"]
    assert parser.is_between_messages


def test_a_message_in_one_frame_with_buffers() -> None:
    [message] = ready().feed(opening(Kind.REPLY, 1, (2, 3, 0, 1), b"hhbbbx"))
    assert plain(message) == (Kind.REPLY, 1, 0, b"hh", [b"bbb", b"", b"x"])


def test_a_message_in_chunks_with_others_between() -> None:
    parser = ready()
    data = (
        opening(Kind.ITEM, 1, (4, 4), b"ab", channel=2)
        + frame(Kind.ITEM, 1, b"other channel", channel=1)
        + chunk(1, b"cdX", channel=2)
        + opening(Kind.REPLY, 2, (1, 1))
        + frame(Kind.PING, 1, channel=2)
        + chunk(2, b"hb")
        + chunk(1, b"YZW", channel=2)
    )
    assert [plain(m) for m in parser.feed(data)] == [
        (Kind.ITEM, 1, 1, b"other channel", []),
        (Kind.PING, 1, 2, b"", []),
        (Kind.REPLY, 2, 0, b"h", [b"b"]),
        (Kind.ITEM, 1, 2, b"abcd", [b"XYZW"]),
    ]
    assert parser.is_between_messages


def test_large_bodies_are_read_straight_into_their_place() -> None:
    parser = ready()
    size = 300_000
    parser.feed(opening(Kind.REPLY, 1, (1, size)))
    parser.feed(struct.pack(">IBBHQ", 1 + 200_000, Kind.CHUNK, 0, 0, 1) + b"h")
    window = parser.get_buffer()
    assert len(window) == 200_000
    window[:] = b"a" * 200_000
    assert parser.buffer_updated(200_000) == []
    assert len(parser.get_buffer()) == PEEK_BYTES
    [message] = parser.feed(chunk(1, b"b" * 100_000))
    assert message.buffers[0].obj is window.obj
    assert bytes(message.buffers[0]) == b"a" * 200_000 + b"b" * 100_000


def test_an_aborted_message_is_forgotten_and_its_id_is_free() -> None:
    parser = ready()
    assert parser.feed(opening(Kind.REPLY, 1, (5, 5), b"abc")) == []
    assert not parser.is_between_messages
    assert parser.feed(frame(Kind.CHUNK, 1, flags=ABORT)) == []
    assert parser.is_between_messages
    assert [m.head for m in parser.feed(frame(Kind.FAILURE, 1, b"no"))] == [b"no"]


def test_aborted_bytes_count_no_more() -> None:
    parser = ready(MAX_CHUNK)
    for _ in range(10):
        parser.feed(opening(Kind.REPLY, 1, (MAX_CHUNK,)) + frame(Kind.CHUNK, 1, flags=ABORT))
    assert parser.error is None


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (frame(0, 1), "unknown kind 0 "),
        (frame(14, 1), "unknown kind 14 "),
        (frame(Kind.REPLY, 1, flags=0x40), "REPLY frame for id 1 with unknown flags 0x40"),
        (frame(Kind.PING, 1, table(1) + b"x", flags=MULTI), "PING frame for id 1 with unknown flags 0x01"),
        (frame(Kind.REPLY, 1, flags=ABORT), "unknown flags 0x02"),
        (frame(Kind.REPLY, 1, length=MAX_CHUNK + 1), "at most 262144"),
        (frame(Kind.REPLY, 1, length=(1 << 32) - 1), "of 4294967295 bytes"),
        (frame(Kind.REPLY, 1, flags=MULTI, length=MAX_FRAME + 1), "of 1048577 bytes with a table"),
        (frame(Kind.REPLY, 1, b"\0", flags=MULTI), "of 1 bytes with a table"),
        (frame(Kind.REPLY, 1, table(), flags=MULTI), "message of 0 segments"),
        (frame(Kind.REPLY, 1, b"\xff\xff", flags=MULTI, length=MAX_FRAME), "message of 65535 segments"),
        (frame(Kind.REPLY, 1, b"\0\2" + b"\0" * 8, flags=MULTI), "table of 2 segments for id 1 in a frame of 10 bytes"),
        (opening(Kind.REPLY, 1, (1, 1), b"abc"), "3 bytes of a REPLY for id 1 that has only 2"),
        (opening(Kind.REPLY, 1, (1, LIMIT)), "1073741825 bytes for id 1"),
        (opening(Kind.REPLY, 1, ((1 << 64) - 1, 1)), "are allowed"),
        (opening(Kind.REPLY, 1, (LIMIT,)) + opening(Kind.REPLY, 3, (1,)), "while 1073741824 bytes are under way"),
        (chunk(1, b"x"), "a chunk for id 1, channel 0, of which no message is under way"),
        (frame(Kind.CHUNK, 1, flags=ABORT), "no message is under way"),
        (opening(Kind.REPLY, 1, (4,)) + chunk(1, b"x", channel=1), "id 1, channel 1"),
        (opening(Kind.REPLY, 1, (4,)) + chunk(1, b""), "a chunk of 0 bytes"),
        (opening(Kind.REPLY, 1, (4,)) + chunk(1, b"12345"), "a chunk of 5 bytes for id 1, of which 4 remain"),
        (
            opening(Kind.REPLY, 1, (1 << 22,)) + frame(Kind.CHUNK, 1, length=MAX_FRAME + 1),
            "a chunk of 1048577 bytes",
        ),
        (opening(Kind.REPLY, 1, (4,)) + frame(Kind.CHUNK, 1, b"x", flags=ABORT), "with flags 0x02"),
        (opening(Kind.REPLY, 1, (4,)) + frame(Kind.REPLY, 1, b"x"), "inside another message"),
        (opening(Kind.REPLY, 1, (4,)) + opening(Kind.REPLY, 1, (4,)), "inside another message"),
        (opening(Kind.REPLY, 1, (4,)) + frame(Kind.REPLY, 1, length=100_000), "inside another message"),
    ],
)
def test_inconsistent_input_is_refused(data: bytes, words: str) -> None:
    parser = ready()
    assert parser.feed(data) == []
    assert isinstance(parser.error, ProtocolError)
    assert words in str(parser.error)
    with pytest.raises(ProtocolError):
        parser.feed(frame(Kind.PING, 1))


def test_messages_before_the_error_are_given() -> None:
    parser = ready()
    assert [m.id for m in parser.feed(frame(Kind.PING, 5) + frame(99, 6) + frame(Kind.PING, 7))] == [5]
    assert parser.error is not None


def test_number_of_messages_under_way_is_bounded() -> None:
    parser = ready()
    parser.feed(b"".join(opening(Kind.REPLY, n, (8,)) for n in range(MAX_PARTIALS)))
    assert parser.error is None
    assert [m.id for m in parser.feed(opening(Kind.REPLY, 998, (1, 1), b"ab"))] == [998]
    parser.feed(opening(Kind.REPLY, 999, (8,)))
    assert f"more than {MAX_PARTIALS} messages" in str(parser.error)


@pytest.mark.parametrize("garbage", [b"G", b"GET / HTTP/1.1\r\n", b"\x16\x03\x01", b"LABX", b"\0" * 8])
def test_garbage_is_recognised_by_its_first_bytes(garbage: bytes) -> None:
    parser = Parser(LIMIT)
    parser.feed(garbage.ljust(4, b" "))
    assert isinstance(parser.error, ProtocolError)
    assert "no Lab-Commander node" in str(parser.error)


def test_another_version_gets_the_same_sentence_on_both_sides() -> None:
    parser = Parser(LIMIT)
    parser.feed(b"LABC\x02\0\0\0")
    assert isinstance(parser.error, HandshakeError)
    assert "version 2 of the lane protocol and the other version 1" in str(parser.error)


def test_the_reserved_bytes_of_the_preface_are_zero() -> None:
    parser = Parser(LIMIT)
    parser.feed(b"LABC\x01\0\1\0")
    assert isinstance(parser.error, ProtocolError)


@pytest.mark.parametrize(
    ("data", "whole"),
    [
        (b"", False),
        (PREFACE[:5], False),
        (PREFACE, True),
        (PREFACE + frame(Kind.PING, 1), True),
        (PREFACE + frame(Kind.PING, 1)[:-1], False),
        (PREFACE + frame(Kind.REPLY, 1, b"x" * 50_000)[:-1], False),
        (PREFACE + opening(Kind.REPLY, 1, (4,)), False),
    ],
)
def test_close_tells_whether_the_end_came_between_messages(data: bytes, whole: bool) -> None:
    parser = Parser(LIMIT)
    parser.feed(data)
    assert parser.close() is whole
    with pytest.raises(ProtocolError, match="after the end"):
        parser.feed(b"x")


def test_a_lane_of_small_frames_keeps_little() -> None:
    """A declared message of a gigabyte, of which a byte comes, costs no gigabyte."""
    parser = ready()
    parser.feed(opening(Kind.REPLY, 1, (1, LIMIT - 1), b"h"))
    assert len(parser._partials[1, 0].filled) == 1


class Recipe(NamedTuple):
    """A message by its sizes: hypothesis shrinks and prints these better than the bytes."""

    kind: int
    id: int
    head: int
    buffers: tuple[int, ...]
    cut: int

    def frames(self) -> bytes:
        data = b"".join(bytes([65 + n]) * size for n, size in enumerate((self.head, *self.buffers)))
        if not self.buffers:
            return frame(self.kind, self.id, data)
        rest = data[self.cut // 2 :]
        parts = [rest[n : n + self.cut] for n in range(0, len(rest), self.cut)]
        first = opening(Kind.ITEM, self.id, (self.head, *self.buffers), data[: self.cut // 2])
        return first + b"".join(chunk(self.id, part) for part in parts)

    def message(self) -> tuple[int, int, int, bytes, list[bytes]]:
        kind = Kind.ITEM if self.buffers else self.kind
        segments = [bytes([65 + n]) * size for n, size in enumerate((self.head, *self.buffers))]
        return kind, self.id, 0, segments[0], segments[1:]


recipes = st.builds(
    Recipe,
    kind=st.sampled_from([Kind.PING, Kind.CANCEL, Kind.REPLY, Kind.REQUEST]),
    id=st.integers(0, 2**64 - 1),
    head=st.one_of(st.integers(0, 100), st.integers(30_000, 140_000)),
    buffers=st.lists(st.one_of(st.integers(0, 50), st.just(3 * DIRECT_BYTES)), max_size=4).map(tuple),
    cut=st.one_of(st.integers(1000, 100_000), st.just(2)),
)


@settings(deadline=None)
@given(st.lists(recipes, max_size=5), st.binary(max_size=40), st.lists(st.integers(1, 70_000), min_size=1, max_size=30))
def test_the_split_of_the_stream_makes_no_difference(plan: list[Recipe], tail: bytes, cuts: list[int]) -> None:
    # A step of few bytes is only for short streams: it tests nothing new after the first thousand.
    plan = [
        recipe._replace(cut=1000) if sum(recipe.buffers) > 1000 and recipe.cut < 1000 else recipe for recipe in plan
    ]
    stream = PREFACE + b"".join(recipe.frames() for recipe in plan) + tail
    whole = Parser(LIMIT)
    expected = [plain(m) for m in whole.feed(stream)]
    split = Parser(LIMIT)
    got = []
    position = 0
    least = len(stream) // 500
    for cut in itertools.cycle(cuts):
        if position >= len(stream) or split.error:
            break
        step = max(cut, least)
        got += split.feed(stream[position : position + step])
        position += step
    assert [plain(m) for m in got] == expected
    assert expected[: len(plan)] == [recipe.message() for recipe in plan]
    assert str(split.error) == str(whole.error)


@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_give_messages_or_one_error(data: bytes, prefaced: bool) -> None:
    parser = Parser(LIMIT)
    for byte in (PREFACE if prefaced else b"") + data:
        assert len(parser.get_buffer()) > 0
        if parser.error is not None:
            assert isinstance(parser.error, LabcError)
            break
        parser.feed(bytes([byte]))
