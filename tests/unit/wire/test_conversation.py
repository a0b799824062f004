import random
import struct
from typing import Any

import numpy as np
import pytest

from labc.errors import CarryError, ClosedError, LabcError, OverloadedError, ProtocolError
from labc.wire.codec import Body, decode, encode
from labc.wire.conversation import MAX_UNSENT_PONGS, Conversation
from labc.wire.events import (
    Broken,
    Cancelled,
    Credited,
    Ended,
    Event,
    Failed,
    GoodbyeReceived,
    Greeted,
    Item,
    Ponged,
    Refused,
    Replied,
    Requested,
)
from labc.wire.failures import Failure
from labc.wire.frames import MAX_CHUNK, PREFACE, Kind
from labc.wire.greeting import Greeting
from labc.wire.messages import decode_arguments, encode_arguments

LIMIT = 1 << 24
BIG = Body(b"\xa4head", (memoryview(bytes(range(256)) * 4096),))


def greeting(node: str, **changes: Any) -> Greeting:
    fields = {
        "network": "labc",
        "node_id": f"id-{node}",
        "node_name": node,
        "host_id": "h",
        "host_name": f"pc-{node}",
        "labc_version": "0.1",
        "max_message_bytes": LIMIT,
    }
    return Greeting(**(fields | changes))


class Pair:
    """Two conversations and the wire between them."""

    def __init__(self, caller: Greeting | None = None, callee: Greeting | None = None) -> None:
        caller, callee = caller or greeting("a"), callee or greeting("b")
        self.caller = Conversation(caller, initiator=True, max_message_bytes=caller.max_message_bytes)
        self.callee = Conversation(callee, initiator=False, max_message_bytes=callee.max_message_bytes)

    def to_callee(self, max_bytes: int = 1 << 30) -> list[Event]:
        return move(self.caller, self.callee, max_bytes)

    def to_caller(self, max_bytes: int = 1 << 30) -> list[Event]:
        return move(self.callee, self.caller, max_bytes)


def move(source: Conversation, target: Conversation, max_bytes: int) -> list[Event]:
    events: list[Event] = []
    while pieces := source.take(max_bytes):
        for piece in pieces:
            events += target.receive(piece)
    return events


@pytest.fixture
def pair() -> Pair:
    """Two that have greeted each other."""
    pair = Pair()
    assert [type(e) for e in pair.to_callee()] == [Greeted]
    assert [type(e) for e in pair.to_caller()] == [Greeted]
    return pair


def opened(pair: Pair, **options: Any) -> int:
    """A call that the callee has got."""
    id = pair.caller.request("f", encode_arguments((), {}), **options)
    [event] = pair.to_callee()
    assert isinstance(event, Requested)
    assert event.id == id
    return id


def frame(kind: int, id: int, payload: bytes = b"", channel: int = 0) -> bytes:
    return struct.pack(">IBBHQ", len(payload), kind, 0, channel, id) + payload


def broken(events: list[Event]) -> str:
    [event] = events
    assert isinstance(event, Broken)
    assert isinstance(event.error, ProtocolError)
    return str(event.error)


FAILURE = Failure.from_exception(OverloadedError("too many calls"), host="pc-b", node="b", ran="no")


# Greetings


def test_both_sides_learn_of_each_other() -> None:
    pair = Pair()
    assert pair.to_callee() == [Greeted(greeting("a"))]
    assert pair.to_caller() == [Greeted(greeting("b"))]
    assert pair.caller.peer == greeting("b")
    assert pair.callee.peer == greeting("a")


def test_requests_may_follow_the_hello_without_waiting() -> None:
    pair = Pair()
    id = pair.caller.request("f", encode_arguments((1,), {}), timeout=3.0)
    greeted, requested = pair.to_callee()
    assert isinstance(greeted, Greeted)
    assert isinstance(requested, Requested)
    assert (requested.id, requested.request.name, requested.request.timeout) == (id, "f", 3.0)


@pytest.mark.parametrize(
    ("caller", "callee"),
    [(greeting("a", network="x"), greeting("b")), (greeting("a", target="id-c"), greeting("b"))],
)
def test_both_sides_are_refused_with_the_same_sentence(caller: Greeting, callee: Greeting) -> None:
    pair = Pair(caller, callee)
    pair.caller.request("f", encode_arguments((), {}))
    [first] = pair.to_callee()
    [second] = pair.to_caller()
    assert isinstance(first, Refused)
    assert first == second
    assert pair.caller.is_over
    assert pair.callee.is_over
    assert pair.to_callee() == pair.to_caller() == []


def test_a_refusal_that_only_the_other_side_sees_arrives() -> None:
    pair = Pair()
    pair.to_caller()
    assert pair.caller.receive(frame(Kind.REFUSAL, 0, b"not you")) == [Refused("not you")]


def test_another_protocol_version_is_refused_with_a_sentence() -> None:
    [event] = Pair().caller.receive(b"LABC\x02\0\0\0")
    assert isinstance(event, Refused)
    assert "version 2" in event.sentence


def test_garbage_is_recognised_and_answered_with_a_goodbye() -> None:
    pair = Pair()
    assert "GET /" in broken(pair.callee.receive(b"GET / HTTP/1.1\r\n\r\n"))
    assert b"no Lab-Commander node" in b"".join(pair.callee.take(1 << 20))


@pytest.mark.parametrize("kind", [Kind.REQUEST, Kind.PING, Kind.REPLY, Kind.CREDIT])
def test_nothing_is_accepted_before_the_hello(kind: Kind) -> None:
    assert f"a {kind.name} before the HELLO" in broken(Pair().callee.receive(PREFACE + frame(kind, 1)))


def test_a_second_hello_is_an_error(pair: Pair) -> None:
    assert "second HELLO" in broken(pair.callee.receive(frame(Kind.HELLO, 0, greeting("a").encode())))


# Calls


def test_a_call_and_its_result(pair: Pair) -> None:
    array = np.arange(100_000)
    id = pair.caller.request("mean", encode_arguments((array,), {"axis": (0,)}), timeout=2.5)
    [event] = pair.to_callee(1000)
    assert isinstance(event, Requested)
    args, kwargs = decode_arguments(event.request.arguments, event.buffers)
    assert np.array_equal(args[0], array)
    assert kwargs == {"axis": (0,)}
    assert pair.callee.reply(event.id, encode({"mean": array}))
    [replied] = pair.to_caller(1000)
    assert isinstance(replied, Replied)
    assert replied.id == id
    assert np.array_equal(decode(replied.head, replied.buffers)["mean"], array)


def test_ids_are_odd_from_the_initiator_and_even_from_the_acceptor(pair: Pair) -> None:
    body = encode_arguments((), {})
    assert [pair.caller.request("f", body) for _ in range(3)] == [1, 3, 5]
    assert [pair.callee.request("f", body) for _ in range(3)] == [2, 4, 6]
    assert len(pair.to_callee()) == len(pair.to_caller()) == 3


def test_a_failed_call(pair: Pair) -> None:
    id = opened(pair)
    assert pair.callee.fail(id, FAILURE)
    assert pair.to_caller() == [Failed(id, FAILURE)]


def test_only_the_first_answer_counts(pair: Pair) -> None:
    id = opened(pair)
    assert pair.callee.reply(id, encode(1))
    assert not pair.callee.reply(id, encode(2))
    assert not pair.callee.fail(id, FAILURE)
    assert len(pair.to_caller()) == 1


def test_a_cancelled_call_is_told_and_its_answer_dropped(pair: Pair) -> None:
    id = opened(pair)
    assert pair.caller.cancel(id)
    assert not pair.caller.cancel(id)
    assert pair.to_callee() == [Cancelled(id)]
    assert not pair.callee.reply(id, encode(1))
    assert pair.to_caller() == []


def test_answer_and_cancel_may_cross(pair: Pair) -> None:
    id = opened(pair)
    pair.callee.reply(id, encode(1))
    pair.caller.cancel(id)
    assert pair.to_caller() == []
    assert pair.to_callee() == []
    assert not pair.caller.is_over
    assert not pair.callee.is_over


def test_a_large_request_cancelled_before_it_was_sent_is_never_seen(pair: Pair) -> None:
    id = pair.caller.request("f", BIG)
    pair.caller.cancel(id)
    assert pair.caller.pending_bytes == 0
    id = pair.caller.request("f", BIG)
    sent = pair.caller.take(1)
    pair.caller.cancel(id)
    for piece in sent:
        assert pair.callee.receive(piece) == []
    assert pair.to_callee() == []
    assert opened(pair) == 5


def test_a_cancelled_large_reply_stops(pair: Pair) -> None:
    id = opened(pair)
    pair.callee.reply(id, BIG)
    sent = pair.callee.take(1)
    pair.caller.cancel(id)
    pair.to_callee()
    assert pair.callee.pending_bytes == 16
    for piece in sent:
        assert pair.caller.receive(piece) == []
    assert pair.to_caller() == []
    assert not pair.caller.is_over


def test_a_small_call_overtakes_a_large_one(pair: Pair) -> None:
    large = pair.caller.request("f", encode_arguments((b"x" * (1 << 22),), {}))
    small = pair.caller.request("f", encode_arguments((), {}))
    assert [e.id for e in pair.to_callee() if isinstance(e, Requested)] == [small, large]


def test_messages_larger_than_the_other_node_takes_are_errors_here() -> None:
    pair = Pair(callee=greeting("b", max_message_bytes=1000))
    pair.to_callee(), pair.to_caller()
    with pytest.raises(CarryError, match="1011 bytes are more than max_message_bytes=1000"):
        pair.caller.request("f", Body(b"\x90" * 1004))
    id = opened(pair)
    assert pair.callee.reply(id, encode(1))


def test_a_result_too_large_leaves_the_call_open_to_fail() -> None:
    pair = Pair(caller=greeting("a", max_message_bytes=1000))
    pair.to_callee(), pair.to_caller()
    id = opened(pair)
    with pytest.raises(CarryError, match="result: "):
        pair.callee.reply(id, BIG)
    assert pair.callee.fail(id, FAILURE)
    assert len(pair.to_caller()) == 1


def test_a_request_sent_before_the_other_limit_was_known_fails_alone() -> None:
    pair = Pair(callee=greeting("b", max_message_bytes=MAX_CHUNK))
    large = pair.caller.request("f", BIG)
    small = pair.caller.request("f", encode_arguments((), {}))
    pair.to_callee()
    _, failed = pair.to_caller()
    assert isinstance(failed, Failed)
    assert failed.id == large
    assert failed.failure.ran == "no"
    assert isinstance(failed.failure.to_exception(), CarryError)
    assert pair.callee.reply(small, encode(1))
    assert [type(e) for e in pair.to_caller()] == [Replied]


# Streams


def test_a_result_stream_with_credit(pair: Pair) -> None:
    id = opened(pair, want_stream=True)
    assert pair.caller.credit(id, 0, 2, 1000)
    assert pair.to_callee() == [Credited(id, 0, 2, 1000)]
    assert pair.callee.item(id, 0, encode("x"))
    assert pair.callee.item(id, 0, BIG)
    assert pair.callee.item(id, 0, encode("y"))
    assert pair.callee.end(id, 0)
    assert not pair.callee.item(id, 0, encode("z"))
    *items, ended = pair.to_caller(5000)
    assert [bytes(i.head) for i in items if isinstance(i, Item)] == [encode("x").head, BIG.head, encode("y").head]
    assert ended == Ended(id, 0, None)
    assert not pair.caller.credit(id, 0, 1, 1)


def test_a_stream_from_the_caller(pair: Pair) -> None:
    id = opened(pair, streams=2)
    assert pair.callee.credit(id, 2, 1 << 40, 1 << 70)
    assert pair.to_caller() == [Credited(id, 2, (1 << 32) - 1, (1 << 64) - 1)]
    assert pair.caller.item(id, 2, encode("x"))
    assert pair.caller.end(id, 2, FAILURE)
    assert pair.caller.end(id, 1)
    item, failed, ended = pair.to_callee()
    assert isinstance(item, Item)
    assert item.channel == 2
    assert (failed, ended) == (Ended(id, 2, FAILURE), Ended(id, 1, None))
    assert pair.callee.reply(id, encode(1))


def test_streams_travel_behind_their_large_request(pair: Pair) -> None:
    id = pair.caller.request("f", BIG, streams=1, want_stream=True)
    pair.caller.credit(id, 0, 1, 1)
    pair.caller.item(id, 1, encode(1))
    pair.caller.end(id, 1)
    assert [type(e) for e in pair.to_callee(5000)] == [Requested, Credited, Item, Ended]


def test_late_items_of_a_finished_call_are_ignored(pair: Pair) -> None:
    id = opened(pair, streams=1)
    pair.callee.reply(id, encode(1))
    pair.caller.item(id, 1, encode("late"))
    pair.caller.end(id, 1)
    pair.caller.credit(id, 0, 1, 1)
    assert pair.to_callee() == []
    assert not pair.callee.is_over


def test_only_the_provider_sends_on_channel_0(pair: Pair) -> None:
    id = opened(pair, streams=1)
    assert not pair.caller.item(id, 0, encode(1))
    assert not pair.callee.item(id, 1, encode(1))
    assert not pair.caller.credit(id, 1, 1, 1)
    with pytest.raises(ValueError, match="channel 65536"):
        pair.caller.item(id, 65536, encode(1))


# What makes no sense


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (frame(Kind.REQUEST, 2, b"\x93\xa1f\xc0\x92\x90\x80"), "REQUEST with id 2"),
        (frame(Kind.REQUEST, 0, b"\x93\xa1f\xc0\x92\x90\x80"), "REQUEST with id 0"),
        (frame(Kind.REQUEST, 1, b"\x93\xa1f\xc0\x92\x90\x80", channel=1), "on channel 1"),
        (frame(Kind.REQUEST, 1, b"junk"), "a request can't be read"),
        (frame(Kind.REPLY, 2), "REPLY for id 2, which was never called"),
        (frame(Kind.REPLY, 1), "REPLY for id 1, which was never called"),
        (frame(Kind.REPLY, 0), "REPLY for id 0, which was never called"),
        (frame(Kind.FAILURE, 2, FAILURE.encode()), "FAILURE for id 2"),
        (frame(Kind.FAILURE, 2), "a failure can't be read"),
        (frame(Kind.CANCEL, 1), "CANCEL for id 1, which was never called"),
        (frame(Kind.CANCEL, 2), "CANCEL for id 2"),
        (frame(Kind.ITEM, 2), "ITEM for id 2, channel 0"),
        (frame(Kind.ITEM, 1, channel=1), "ITEM for id 1, channel 1"),
        (frame(Kind.END, 2), "END for id 2"),
        (frame(Kind.CREDIT, 1, bytes(12)), "CREDIT for id 1"),
        (frame(Kind.CREDIT, 1, bytes(11)), "CREDIT for id 1 with 11 bytes"),
        (frame(99, 1), "unknown kind"),
    ],
)
def test_frames_that_make_no_sense_break_the_lane(pair: Pair, data: bytes, words: str) -> None:
    assert words in broken(pair.callee.receive(data))
    assert pair.callee.is_over
    assert pair.callee.receive(frame(Kind.PING, 1)) == []
    [goodbye] = pair.to_caller()
    assert isinstance(goodbye, GoodbyeReceived)
    assert words in goodbye.reason


def test_an_id_used_twice_breaks_the_lane(pair: Pair) -> None:
    id = opened(pair)
    pair.callee.reply(id, encode(1))
    assert "used before" in broken(pair.callee.receive(frame(Kind.REQUEST, id, b"\x93\xa1f\xc0\x92\x90\x80")))


def test_events_before_the_error_are_given(pair: Pair) -> None:
    events = pair.callee.receive(frame(Kind.REQUEST, 1, b"\x93\xa1f\xc0\x92\x90\x80") + frame(99, 1))
    assert [type(e) for e in events] == [Requested, Broken]


# Life and leaving


def test_a_ping_is_answered(pair: Pair) -> None:
    id = pair.caller.ping()
    assert pair.to_callee() == []
    assert pair.to_caller() == [Ponged(id)]
    assert pair.caller.ping() != id


def test_pings_without_reading_the_answers_are_bounded(pair: Pair) -> None:
    assert pair.callee.receive(frame(Kind.PING, 1) * MAX_UNSENT_PONGS) == []
    assert "no answer was read" in broken(pair.callee.receive(frame(Kind.PING, 1)))
    assert pair.callee.pending_bytes < 100_000


def test_goodbye_is_the_last_word(pair: Pair) -> None:
    small, large = opened(pair), opened(pair)
    pair.callee.reply(large, BIG)
    pair.callee.take(1)
    pair.callee.reply(small, encode(1))
    pair.callee.goodbye("leaving")
    pair.callee.goodbye("again")
    with pytest.raises(ClosedError):
        pair.callee.request("f", encode_arguments((), {}))
    assert not pair.callee.item(small, 0, encode(1))
    assert b"leaving" in b"".join(pair.callee.take(1 << 20))


def test_goodbye_arrives_with_its_reason_and_ends_the_conversation(pair: Pair) -> None:
    id = opened(pair)
    pair.callee.reply(id, encode(1))
    pair.callee.goodbye("leaving")
    assert [type(e) for e in pair.to_caller()] == [Replied, GoodbyeReceived]
    assert pair.caller.is_over
    assert pair.caller.eof() == []
    with pytest.raises(ClosedError):
        pair.caller.request("f", encode_arguments((), {}))


def test_nothing_is_begun_after_our_goodbye(pair: Pair) -> None:
    pair.callee.goodbye("leaving")
    pair.caller.request("f", encode_arguments((), {}))
    pair.caller.ping()
    assert pair.to_callee() == []
    assert [type(e) for e in pair.to_caller()] == [GoodbyeReceived]


def test_the_end_of_the_connection_says_where_it_came(pair: Pair) -> None:
    assert "before the other node had said hello" in broken(Pair().caller.eof())
    assert "without a goodbye" in broken(pair.caller.eof())
    assert pair.caller.eof() == []
    pair.callee.receive(b"\0\0")
    assert "in the middle of a message" in broken(pair.callee.eof())


def test_the_buffer_interface_gives_the_same_events() -> None:
    pair = Pair()
    pair.caller.request("f", BIG)
    pair.callee.take(0)
    events: list[Event] = []
    for source, target in ((pair.caller, pair.callee), (pair.callee, pair.caller), (pair.caller, pair.callee)):
        while pieces := source.take(10_000):
            data = memoryview(b"".join(pieces))
            while data:
                buffer = target.get_buffer()
                size = min(len(buffer), len(data))
                buffer[:size] = data[:size]
                data = data[size:]
                events += target.buffer_updated(size)
    assert Requested in map(type, events)


def test_a_finished_conversation_lets_its_memory_go(pair: Pair) -> None:
    pair.callee.goodbye("x")
    pair.to_caller()
    assert len(pair.caller.get_buffer()) > 0
    assert pair.caller.buffer_updated(5) == []


# Fuzz


def recorded() -> bytes:
    """What a busy caller writes."""
    pair = Pair()
    data = b"".join(pair.caller.take(1 << 30))
    pair.callee.receive(data)
    pair.to_caller()
    first = pair.caller.request("f", encode_arguments((1, (2,)), {"x": 3}), want_stream=True, streams=1)
    pair.caller.credit(first, 0, 1, 1)
    pair.caller.item(first, 1, encode([1]))
    pair.caller.request("g", encode_arguments((b"x" * 300_000,), {}))
    pair.caller.end(first, 1, FAILURE)
    pair.caller.ping()
    data += b"".join(pair.caller.take(1 << 30))
    pair.caller.cancel(first)
    return data + b"".join(pair.caller.take(1 << 30))


def test_mutated_bytes_end_in_events_or_broken() -> None:
    noise = random.Random(4)
    original = recorded()
    outcomes = set()
    for _ in range(3000):
        data = bytearray(original)
        for _ in range(noise.randrange(1, 6)):
            data[min(noise.randrange(len(data)), noise.randrange(1000))] = noise.randrange(256)
        conversation = Conversation(greeting("b"), initiator=False, max_message_bytes=LIMIT)
        events: list[Event] = []
        position = 0
        while position < len(data):
            step = noise.choice((1, 7, 100, 5000, 400_000))
            events += conversation.receive(bytes(data[position : position + step]))
            position += step
        events += conversation.eof()
        ends = [e for e in events if isinstance(e, (Broken, Refused, GoodbyeReceived))]
        assert len(ends) == 1
        assert events[-1] is ends[0]
        outcomes.add(type(ends[0]))
        for event in events:
            if isinstance(event, Requested):
                try:
                    decode_arguments(event.request.arguments, event.buffers)
                except LabcError:
                    pass
        assert conversation.pending_bytes < 100_000
    assert Broken in outcomes


def test_a_busy_pair_delivers_everything() -> None:
    noise = random.Random(5)
    pair = Pair()
    pair.to_callee(), pair.to_caller()
    names = {pair.caller: "a", pair.callee: "b"}
    asked: dict[tuple[str, int], Any] = {}
    answered: dict[tuple[str, int], Any] = {}

    def carry(source: Conversation, target: Conversation, max_bytes: int) -> None:
        for piece in source.take(max_bytes):
            for event in target.receive(piece):
                if isinstance(event, Requested):
                    (value,), _ = decode_arguments(event.request.arguments, event.buffers)
                    assert target.reply(event.id, encode(value))
                else:
                    assert isinstance(event, Replied)
                    answered[names[target], event.id] = decode(event.head, event.buffers)

    for step in range(400):
        source, target = noise.sample([pair.caller, pair.callee], 2)
        if noise.random() < 0.5:
            value = noise.choice(
                [step, "x" * noise.randrange(1000), noise.randbytes(noise.choice([10, 50_000, 700_000]))]
            )
            asked[names[source], source.request("echo", encode_arguments((value,), {}))] = value
        carry(source, target, noise.choice([1, 1000, 100_000, 1 << 30]))
    while pair.caller.pending_bytes or pair.callee.pending_bytes:
        carry(pair.caller, pair.callee, 1 << 20)
        carry(pair.callee, pair.caller, 1 << 20)
    assert len(asked) > 100
    assert answered == asked


def test_released_it_holds_nothing_that_was_to_be_written() -> None:
    mine = Greeting(
        network="n", node_id="a", node_name="a", host_id="h", host_name="h", labc_version="0", max_message_bytes=1 << 30
    )
    conversation = Conversation(mine, initiator=True, max_message_bytes=1 << 30)
    conversation.request("f", encode_arguments((b"x" * 1000,), {}))
    assert conversation.pending_bytes > 1000
    conversation.release()
    assert conversation.pending_bytes == 0
    assert conversation.take(1 << 20) == []
    assert conversation.is_over
