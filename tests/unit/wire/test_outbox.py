import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labc.wire.frames import ABORT, HEADER, MAX_CHUNK, MAX_PARTIALS, PREFACE, Kind, Message
from labc.wire.outbox import Outbox
from labc.wire.parser import Parser

LIMIT = 1 << 24
BIG = 3 * MAX_CHUNK


def opened() -> Outbox:
    outbox = Outbox()
    outbox.open(LIMIT)
    return outbox


def drain(outbox: Outbox, size: int = 1 << 30) -> bytes:
    data = b""
    while pieces := outbox.take(size):
        data += b"".join(pieces)
    return data


def parse(data: bytes) -> list[Message]:
    parser = Parser(LIMIT)
    messages = parser.feed(PREFACE + data)
    assert parser.error is None
    assert parser.is_between_messages
    return messages


def headers(data: bytes) -> list[tuple[int, int, int]]:
    """(kind, flags, id) of each frame."""
    found = []
    while data:
        length, kind, flags, _, id = HEADER.unpack_from(data)
        found.append((kind, flags, id))
        data = data[HEADER.size + length :]
    return found


def test_small_messages_leave_in_order_and_at_once() -> None:
    outbox = Outbox()
    for n in range(5):
        outbox.put(Kind.REPLY, n, 0, bytes([n]))
    assert [m.head for m in parse(b"".join(outbox.take(10**6)))] == [bytes([n]) for n in range(5)]
    assert outbox.take(10**6) == []
    assert outbox.pending_bytes == 0


def test_take_stops_near_the_wanted_size() -> None:
    outbox = Outbox()
    for n in range(10):
        outbox.put(Kind.REPLY, n, 0, b"x" * 84)
    assert outbox.pending_bytes == 1000
    assert sum(map(len, outbox.take(250))) == 300
    assert outbox.pending_bytes == 700


def test_large_messages_wait_until_the_other_side_is_known() -> None:
    outbox = Outbox()
    outbox.put(Kind.REQUEST, 1, 0, b"head", [b"b" * BIG])
    outbox.put(Kind.REQUEST, 3, 0, b"small")
    assert [m.id for m in parse(drain(outbox))] == [3]
    assert outbox.open(LIMIT) == set()
    assert [m.id for m in parse(drain(outbox))] == [1]


def test_messages_too_large_for_the_other_side_are_dropped_when_it_is_known() -> None:
    outbox = Outbox()
    outbox.put(Kind.REQUEST, 1, 0, b"", [b"b" * BIG])
    outbox.put(Kind.REQUEST, 3, 0, b"", [b"b" * (MAX_CHUNK + 1)])
    assert outbox.open(MAX_CHUNK + 1) == {1}
    assert [m.id for m in parse(drain(outbox))] == [3]
    assert outbox.pending_bytes == 0


def test_buffers_are_not_copied() -> None:
    buffer = bytearray(BIG)
    outbox = opened()
    outbox.put(Kind.REPLY, 1, 0, b"h", [buffer])
    views = [piece for piece in outbox.take(1 << 30) if isinstance(piece, memoryview)]
    assert sum(map(len, views)) >= BIG - 8192
    assert all(view.obj is buffer for view in views)


def test_a_small_message_overtakes_large_ones() -> None:
    outbox = opened()
    for id in (1, 3, 5):
        outbox.put(Kind.REPLY, id, 0, b"", [b"b" * BIG])
    sent = b"".join(outbox.take(1))
    outbox.put(Kind.REPLY, 7, 0, b"small")
    sent += b"".join(outbox.take(1))
    assert (Kind.REPLY, 0, 7) in headers(sent)
    assert len(sent) < 2 * (MAX_CHUNK + 1000)
    assert next(m.id for m in parse(sent + drain(outbox))) == 7


def test_large_messages_take_turns() -> None:
    outbox = opened()
    outbox.put(Kind.REPLY, 1, 0, b"", [b"a" * BIG])
    outbox.put(Kind.REPLY, 3, 0, b"", [b"b" * BIG])
    ids = [id for _, _, id in headers(drain(outbox))]
    assert ids == [1, 3] * (len(ids) // 2)


def test_small_messages_can_not_hold_up_a_large_one_for_ever() -> None:
    outbox = opened()
    outbox.put(Kind.REPLY, 1, 0, b"", [b"a" * BIG])
    for n in range(100):
        for _ in range(10):
            outbox.put(Kind.REPLY, 1001 + 2 * n, 0, b"s" * 100)
        outbox.take(500)
        if not outbox.has_large:
            break
    assert not outbox.has_large


def test_no_more_messages_are_under_way_than_the_receiver_takes() -> None:
    outbox = Outbox()
    outbox.open(10 * BIG)
    for n in range(MAX_PARTIALS + 5):
        outbox.put(Kind.REPLY, n, 0, b"", [b"a" * (MAX_CHUNK + 1)])
    parser = Parser(10 * BIG)
    assert [m.id for m in parser.feed(PREFACE + drain(outbox))] == list(range(MAX_PARTIALS + 5))
    assert parser.error is None


def test_order_is_kept_within_a_stream_and_behind_its_request() -> None:
    outbox = opened()
    outbox.put(Kind.REQUEST, 1, 0, b"r", [b"a" * BIG])
    outbox.put(Kind.ITEM, 1, 1, b"i1", [b"a" * BIG])
    outbox.put(Kind.ITEM, 1, 1, b"i2")
    outbox.put(Kind.ITEM, 1, 2, b"j1")
    outbox.put(Kind.CREDIT, 1, 0, b"c" * 12)
    outbox.put(Kind.END, 1, 1)
    outbox.put(Kind.ITEM, 3, 1, b"other")
    messages = parse(drain(outbox))
    assert bytes(messages[0].head) == b"other"
    assert messages[1].kind == Kind.REQUEST
    assert [bytes(m.head) for m in messages if (m.id, m.channel) == (1, 1)] == [b"i1", b"i2", b""]


def test_discard_of_a_message_not_begun_leaves_no_trace() -> None:
    outbox = opened()
    outbox.put(Kind.REQUEST, 1, 0, b"", [b"a" * BIG])
    outbox.put(Kind.ITEM, 1, 1, b"i")
    assert outbox.discard(1) == {Kind.REQUEST, Kind.ITEM}
    assert outbox.pending_bytes == 0
    assert outbox.take(1 << 30) == []


def test_discard_of_a_message_begun_aborts_it() -> None:
    outbox = opened()
    outbox.put(Kind.REPLY, 2, 0, b"", [b"a" * BIG])
    sent = b"".join(outbox.take(1))
    assert outbox.discard(2) == {Kind.REPLY}
    outbox.put(Kind.REPLY, 4, 0, b"next")
    rest = drain(outbox)
    assert headers(rest) == [(Kind.CHUNK, ABORT, 2), (Kind.REPLY, 0, 4)]
    assert [m.id for m in parse(sent + rest)] == [4]
    assert outbox.pending_bytes == 0


def test_discard_lets_the_next_in_turn_go() -> None:
    outbox = Outbox()
    outbox.open(BIG)
    outbox.put(Kind.REPLY, 2, 0, b"", [b"a" * BIG])
    outbox.put(Kind.REPLY, 4, 0, b"", [b"a" * BIG])
    sent = b"".join(outbox.take(1))
    outbox.discard(2)
    assert [m.id for m in parse(sent + drain(outbox))] == [4]


def test_discard_keeps_what_fits_a_frame_and_other_conversations() -> None:
    outbox = opened()
    outbox.put(Kind.REQUEST, 1, 0, b"small")
    outbox.put(Kind.REQUEST, 3, 0, b"", [b"abc"])
    assert outbox.discard(1) == outbox.discard(3) == set()
    assert [m.id for m in parse(drain(outbox))] == [1, 3]


def test_close_drops_large_messages_only() -> None:
    outbox = opened()
    outbox.put(Kind.REPLY, 2, 0, b"", [b"a" * BIG])
    outbox.take(1)
    outbox.put(Kind.REPLY, 4, 0, b"", [b"a" * BIG])
    outbox.put(Kind.REPLY, 6, 0, b"small")
    outbox.close()
    outbox.put(Kind.GOODBYE, 0, 0, b"bye")
    assert headers(drain(outbox)) == [(Kind.REPLY, 0, 6), (Kind.GOODBYE, 0, 0)]
    assert outbox.pending_bytes == 0


def test_too_many_segments_are_refused() -> None:
    with pytest.raises(ValueError, match="4097 segments"):
        Outbox().put(Kind.REPLY, 1, 0, b"", [b""] * 4096)


entries = st.lists(
    st.tuples(
        st.sampled_from([Kind.ITEM, Kind.REPLY, Kind.CREDIT, Kind.PING]),
        st.integers(1, 3),
        st.integers(0, 2),
        st.sampled_from([0, 1, 50, 40_000, MAX_CHUNK, MAX_CHUNK + 1]),
        st.lists(st.sampled_from([0, 1, 5000, MAX_CHUNK - 40, BIG]), max_size=2),
        st.integers(0, 400_000),
    ),
    max_size=12,
)


@settings(deadline=None)
@given(entries, st.integers(0, 10**6))
def test_whatever_is_put_arrives_whole_and_in_order(
    plan: list[tuple[int, int, int, int, list[int], int]], seed: int
) -> None:
    noise = random.Random(seed)
    outbox = opened()
    parser = Parser(LIMIT)
    parser.feed(PREFACE)
    sent: dict[tuple[int, int, bool], list[tuple[int, bytes, list[bytes]]]] = {}
    got: dict[tuple[int, int, bool], list[tuple[int, bytes, list[bytes]]]] = {}

    def move(size: int) -> None:
        for message in parser.feed(b"".join(outbox.take(size))):
            key = (message.id, message.channel, message.kind == Kind.PING)
            got.setdefault(key, []).append((message.kind, bytes(message.head), [bytes(b) for b in message.buffers]))

    for kind, id, channel, head_size, sizes, take in plan:
        single = kind in (Kind.CREDIT, Kind.PING)
        head = noise.randbytes(min(head_size, 100) if single else head_size)
        buffers = [] if single else [noise.randbytes(size) for size in sizes]
        sent.setdefault((id, channel, kind == Kind.PING), []).append((kind, head, buffers))
        outbox.put(kind, id, channel, head, buffers)
        if take:
            move(take)
    while outbox.pending_bytes:
        before = outbox.pending_bytes
        move(noise.randrange(1, 300_000))
        assert outbox.pending_bytes < before
    assert parser.error is None
    assert got == sent
    assert outbox.take(10**9) == []
    assert not outbox.has_large
