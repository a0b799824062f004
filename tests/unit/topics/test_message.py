"""Messages on their way: packed, unpacked, and what is made of garbage."""

from __future__ import annotations

import contextvars
import datetime
import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from labc.errors import CarryError, OutsideError
from labc.topics import Message, Sender, current_message
from labc.topics.message import count, pack, pack_many, set_current_message, unpack
from labc.wire import encode_arguments

ME = Sender("host", "node", "id")


def through(*args: Any, **kwargs: Any) -> Message:
    payload, origin = pack(ME, 1e9, encode_arguments(args, kwargs))
    assert type(payload) is bytes
    [message] = unpacked("a/b", payload, origin, "application/msgpack")
    return message


def unpacked(*publication: Any) -> list[Message]:
    """All of it can be understood."""
    found = unpack(*publication)
    assert not found.errors
    return list(found.messages)


def test_there_and_back() -> None:
    message = through(1, "two", (3,), x={4})
    assert message == Message("a/b", (1, "two", (3,)), {"x": {4}}, ME, 1e9)
    assert message.time == datetime.datetime(2001, 9, 9, 1, 46, 40, tzinfo=datetime.UTC)


def test_the_value() -> None:
    assert through(5).value == 5
    assert through(5, x=1).value == 5
    assert through(5, 6).value == (5, 6)
    assert through().value == ()
    assert through(None).value is None


def test_large_arrays() -> None:
    arrays = [np.arange(100_000), np.ones((300, 400)), np.zeros(2)]
    message = through(arrays[0], [arrays[1]], x=arrays[2])
    np.testing.assert_array_equal(message.args[0], arrays[0])
    np.testing.assert_array_equal(message.args[1][0], arrays[1])
    np.testing.assert_array_equal(message.kwargs["x"], arrays[2])
    assert not message.args[0].flags.writeable


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3) | st.tuples(inner, inner),
    max_leaves=8,
)


@given(args=st.lists(values, max_size=3).map(tuple), kwargs=st.dictionaries(st.text(), values, max_size=3))
def test_whatever_is_packed_comes_back(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    message = through(*args, **kwargs)
    assert message.args == args
    assert message.kwargs == kwargs


encodings = st.sampled_from(
    ["application/json", "text/plain", "zenoh/string", "application/msgpack", "zenoh/bytes", ""]
)
origins = st.one_of(
    st.none(),
    st.binary(max_size=40),
    st.builds(
        lambda *fields: msgspec.msgpack.encode(list(fields)),
        st.text(max_size=3),
        st.text(max_size=3),
        st.text(max_size=3),
        st.one_of(st.floats(), st.integers(-(2**62), 2**62), st.just(0.0)),
        st.lists(st.integers(-5, 40), max_size=3),
    ),
)


@given(payload=st.binary(max_size=40), origin=origins, encoding=encodings)
@example(payload=b"[" * 100_000, origin=None, encoding="application/json")
@example(payload=b"\x91" * 100_000, origin=None, encoding="application/msgpack")
@example(payload=b"\x81\x80\x00", origin=None, encoding="application/msgpack")
@example(payload=b"\xc7\x0c\xff" + b"\xff" * 12, origin=None, encoding="application/msgpack")
@example(payload=b"", origin=b"\x95\xa2\x00\x80", encoding="")
@example(payload=b"\x92\x90\x80", origin=msgspec.msgpack.encode(["", "", "", math.inf, [3]]), encoding="")
@example(payload=b"\x92\x90\x80", origin=msgspec.msgpack.encode(["", "", "", 0, [-1, 4]]), encoding="")
@example(payload=b"\x92\x90\x80", origin=msgspec.msgpack.encode(["", "", "", 0, [3, 0]]), encoding="")
def test_garbage_is_a_message_or_a_carry_error(payload: bytes, origin: bytes | None, encoding: str) -> None:
    messages, errors, _ = unpack("t", payload, origin, encoding)
    assert len(messages) + len(errors) == 1
    if errors:
        assert isinstance(errors[0], CarryError)
        return
    [message] = messages
    assert message.topic == "t"
    assert message.time is None or message.time.year >= 1970
    if origin is None:
        assert message.sender == Sender()
        assert message.time is None


def gathered(*values: Any) -> tuple[bytes, bytes]:
    """Published together, a second after each other."""
    return pack_many(ME, [(encode_arguments((value,), {}).head, 1e9 + n) for n, value in enumerate(values)])


def test_several_together() -> None:
    payload, origin = gathered(1, "two", (3,), {4}, {"x": [5]})
    assert unpacked("t", payload, origin, "") == [
        Message("t", (value,), {}, ME, 1e9 + n) for n, value in enumerate((1, "two", (3,), {4}, {"x": [5]}))
    ]
    assert count(origin) == 5
    assert count(pack(ME, 0.0, encode_arguments((1,), {}))[1]) == count(None) == count(b"\xff") == 1
    assert msgspec.msgpack.decode(gathered(1, "a")[0]) == [[[1], {}], [["a"], {}]], "for plain Zenoh programs"


def test_one_that_can_not_be_decoded_spoils_no_other() -> None:
    broken = b"\x92\x91\xc7\x01\x0b\x00\x80"  # an extension with nonsense in it
    heads = [encode_arguments((1,), {}).head, broken, b"\xc0", encode_arguments((2,), {}).head]
    payload, origin = pack_many(ME, [(head, float(n)) for n, head in enumerate(heads)])
    messages, errors, _ = unpack("t", payload, origin, "")
    assert [(message.args, message.seconds) for message in messages] == [((1,), 0.0), ((2,), 3.0)]
    assert [type(error) for error in errors] == [CarryError, CarryError]


@given(cut=st.integers(0, 60), flip=st.integers(0, 60), bit=st.integers(0, 7), times=st.integers(0, 5))
def test_damaged_together(cut: int, flip: int, bit: int, times: int) -> None:
    payload, _ = gathered(1, (2, "three"), 4.0)
    damaged = bytearray(payload[:cut] if cut % 2 else payload)
    if flip < len(damaged):
        damaged[flip] ^= 1 << bit
    origin = msgspec.msgpack.encode(["", "", "", 0.0, [len(damaged)], [0.0] * times])
    messages, errors, _ = unpack("t", bytes(damaged), origin, "")
    assert len(messages) + len(errors) == max(times, 1) or (not messages and len(errors) == 1)


@given(cut=st.integers(0, 200), flip=st.integers(0, 200), bit=st.integers(0, 7))
def test_a_damaged_message(cut: int, flip: int, bit: int) -> None:
    arguments = encode_arguments((np.arange(10), {"a": (1, {2})}, datetime.date(2026, 1, 1)), {"x": 1j})
    payload, origin = pack(ME, 0.0, arguments)
    damaged = bytearray(payload[:cut] if cut % 2 else payload)
    if flip < len(damaged):
        damaged[flip] ^= 1 << bit
    messages, errors, _ = unpack("t", bytes(damaged), origin, "")
    assert len(messages) + len(errors) == 1


def test_foreign_values() -> None:
    def foreign(payload: bytes, encoding: str) -> Any:
        [message] = unpacked("t", payload, None, encoding)
        return message.value

    assert foreign(b'{"a": 1}', "application/json") == {"a": 1}
    assert foreign(b'{"a": 1}', "text/json") == {"a": 1}
    assert foreign(b"\xc3\xa4", "text/plain") == "ä"
    assert foreign(b"\xc3\xa4", "text/plain;utf-8") == "ä"
    assert foreign(b"a", "zenoh/string") == "a"
    assert foreign(b"\x92\x01\x02", "application/msgpack") == [1, 2]
    for encoding in ("application/json", "text/plain", "application/msgpack"):
        assert foreign(b"\xff\xc1", encoding) == b"\xff\xc1"
    assert foreign(b"abc", "zenoh/bytes") == b"abc"
    assert foreign(b"abc", "image/png") == b"abc"


def test_the_current_message() -> None:
    with pytest.raises(OutsideError):
        current_message()

    def within() -> None:
        set_current_message(Message("t", (1,)))
        assert current_message().topic == "t"

    contextvars.copy_context().run(within)
    with pytest.raises(OutsideError):
        current_message()


def test_senders() -> None:
    assert str(ME) == "node on host"
    assert str(Sender()) == "not a labc node"
