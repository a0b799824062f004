import collections
import math
import random
import sys
import threading
import types
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labels import label
from msgspec.msgpack import Ext

from labc.errors import CarryError
from labc.wire.codec import Body, decode, encode, encode_parts
from labc.wire.lowering import INLINE_BYTES_OBJECT, MAX_DEPTH


def carried(value: Any) -> Any:
    body = encode(value)
    return decode(body.head, [bytes(buffer) for buffer in body.buffers])


def same(a: Any, b: Any) -> bool:
    """Equal, with the same types all the way down; NaN is itself, and the signs of zeros count."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return (math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1, a) == math.copysign(1, b))
    if isinstance(a, complex):
        return same(a.real, b.real) and same(a.imag, b.imag)
    if isinstance(a, Decimal):
        return a.as_tuple() == b.as_tuple()
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return len(a) == len(b) and all(same(list(x), list(y)) for x, y in zip(a.items(), b.items(), strict=True))
    if isinstance(a, (set, frozenset)):
        return a == b and collections.Counter(map(type, a)) == collections.Counter(map(type, b))
    return bool(a == b)


VALUES = [
    None, True, False, 0, -1, 2**63 - 1, 2**64 - 1, -(2**63), 2**64, -(2**63) - 1, 2**1000, -(2**1000), 255 << 56,
    0.0, -0.0, 1.5, math.inf, math.nan, "", "grüße", "\0", b"", b"abc", bytearray(b""), bytearray(b"abc"),
    [], [1, [2, [3]]], (), (1,), (1, (2, [3, (4,)])), [(1, 2), (3, 4)], {}, {"a": 1},
    {1: "a", None: 2, 1.5: 3, False: 4},
    {(1, 2): 3, b"k": (4,), frozenset({1}): [5]}, {"a": {"b": {(): ()}}},
    set(), {1, "a", (2, 3)}, frozenset({frozenset({1}), 2}), {2**70, 1},
    1 + 2j, complex(-0.0, math.inf), Decimal("1.10"), Decimal("-0E+5"), Decimal("sNaN"), Decimal("Infinity"),
    UUID(int=5), date(2024, 2, 29), time(1, 2, 3, 4), time(1, 2, fold=1), time(1, tzinfo=UTC),
    timedelta(-1, 5, 7), timedelta.max, timedelta.min, datetime(2024, 1, 1), datetime.max, datetime.min,
    datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=timezone(-timedelta(hours=3, seconds=7))),
    datetime(2024, 10, 27, 2, 30, fold=1), range(3), range(10, -5, -3), slice(1, None, (2, "x")),
    Path("/tmp/a b/ü"), Path("relative"), Path("raw\udcff"),
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=label)
def test_types_are_kept(value: Any) -> None:
    got = carried(value)
    assert same(got, value), repr(got)
    assert same(carried([(value,)]), [(value,)])


def test_a_time_zone_keeps_its_key_and_fold() -> None:
    berlin = zoneinfo.ZoneInfo("Europe/Berlin")
    moment = datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=berlin)
    got = carried(moment)
    assert got.tzinfo is berlin
    assert got.fold == 1
    assert got.utcoffset() == timedelta(hours=1)
    assert carried(time(2, tzinfo=berlin)).tzinfo is berlin


@pytest.mark.parametrize("key", ["No/Such", "../../etc/passwd", "/etc/passwd", "a" * 1000, "Europe", ""])
def test_an_unknown_time_zone_becomes_its_offset(key: str) -> None:
    packed = msgspec.msgpack.encode(["2024-07-01T12:00:00", 0, key, "+02:00"])
    got = decode(msgspec.msgpack.encode(Ext(20, packed)))
    assert got == datetime(2024, 7, 1, 12, tzinfo=timezone(timedelta(hours=2)))


def test_another_thread_may_be_importing_zoneinfo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zoneinfo", types.ModuleType("zoneinfo"))
    for moment in (datetime(2024, 1, 1), datetime(2024, 1, 1, tzinfo=UTC), time(1, 2)):
        assert carried(moment) == moment


def test_any_pure_path_arrives_as_a_path_of_this_system() -> None:
    assert carried(PurePosixPath("a/b")) == Path("a/b")
    assert carried(PureWindowsPath("a\\b")) == Path("a/b")


class Text(str):
    pass


class Pair(NamedTuple):
    a: int
    b: list[int]


class Celsius(float):
    pass


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Text("t"), "t"),
        (Celsius(1.5), 1.5),
        (Pair(1, [2]), (1, [2])),
        (collections.OrderedDict(a=1), {"a": 1}),
        (collections.defaultdict(list, {1: [2]}), {1: [2]}),
        (collections.Counter("aab"), {"a": 2, "b": 1}),
        (type("L", (list,), {})([1]), [1]),
        (type("I", (int,), {})(2**70), 2**70),
        (type("B", (bytes,), {})(b"x"), b"x"),
        (type("S", (set,), {})([1]), {1}),
        (memoryview(b"abc"), b"abc"),
        (memoryview(b"abcd")[::2], b"ac"),
        (memoryview(bytearray(8)).cast("I"), bytes(8)),
    ],
    ids=label,
)
def test_subclasses_arrive_as_their_base(value: Any, expected: Any) -> None:
    assert same(carried(value), expected)
    assert same(carried({"k": [value]}), {"k": [expected]})


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_large_bytes_travel_beside_the_head_without_a_copy(kind: Any) -> None:
    data = b"\x07" * INLINE_BYTES_OBJECT
    value = kind(data)
    body = encode({"data": [value]})
    assert len(body.head) < 100
    assert body.buffers[0].obj is (data if kind is memoryview else value)
    assert body.size == len(body.head) + len(data)
    assert same(decode(body.head, body.buffers), {"data": [bytearray(data) if kind is bytearray else data]})


def test_more_buffers_than_a_message_has_segments_go_into_the_head() -> None:
    value = [b"\x07" * INLINE_BYTES_OBJECT] * 4100
    body = encode(value)
    assert len(body.buffers) == 4095
    assert decode(body.head, body.buffers) == value


class Foo:
    pass


def cycle() -> list[Any]:
    value: list[Any] = []
    value.append({"self": (value,)})
    return value


def generator() -> Iterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (Foo(), f"value: {Foo} can't be carried"),
        ([1, {"k": (0, Foo())}], "value[1]['k'][1]: "),
        ({(1, 2): Foo()}, "value[(1, 2)]: "),
        ({1: {Foo()}}, "value[1]: an item of the set: "),
        ({Foo: 1}, "value: the key <class"),
        (len, "can't be carried"),
        (generator(), "<class 'generator'> can't be carried"),
        (threading.Lock(), "can't be carried"),
        ([1, "\ud800"], r"value[1]: '\ud800' can't be carried"),
        ({"\ud800": 1}, r"value: the key '\ud800': "),
        ({"a": [{"\ud800"}]}, "value['a'][0]: an item of the set: "),
        ((0, "\ud800", 2**80), "value[1]: "),
        (cycle(), "value[0]['self'][0]"),
        (Path("\ud800"), "value: "),
        (object, "can't be carried"),
    ],
    ids=label,
)
def test_what_can_not_be_carried_is_named_with_its_place(value: Any, message: str) -> None:
    with pytest.raises(CarryError) as caught:
        encode(value)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 400


def test_places_begin_with_the_name_of_the_part() -> None:
    with pytest.raises(CarryError) as caught:
        encode_parts(("args", [1]), ("kwargs", {"x": Foo()}))
    assert caught.value.where == "kwargs['x']"


def test_a_key_whose_repr_fails_breaks_no_error() -> None:
    class Odd:
        def __repr__(self) -> str:
            raise ValueError

    with pytest.raises(CarryError, match="the key <Odd>"):
        encode({Odd(): 1})


@pytest.mark.parametrize("wrap", [lambda v: [v], lambda v: (v,), lambda v: {"k": v}, lambda v: {(1,): v}])
def test_depth_is_carried_up_to_the_limit_and_refused_beyond(wrap: Any) -> None:
    value: Any = 1
    for _ in range(MAX_DEPTH // 2):
        value = wrap(value)
    assert same(carried(value), value)
    for _ in range(MAX_DEPTH):
        value = wrap(value)
    with pytest.raises(CarryError, match="deep"):
        encode(value)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\xc1",
        b"\x91",
        b"\x01\x01",
        b"\xa1\xff",
        b"\xdd\xff\xff\xff\xff",
        b"\x91" * 100_000,
        b"\xc7\x01\x63\xc0",
        b"\xd7\xff" + b"\xff" * 8,
        msgspec.msgpack.encode(Ext(1, b"\xa3abc")),
        msgspec.msgpack.encode(Ext(2, b"\x91\x90")),
        msgspec.msgpack.encode(Ext(4, b"\x93\x01\x02\x03")),
        msgspec.msgpack.encode(Ext(5, b"\x01")),
        msgspec.msgpack.encode(Ext(7, b"\x00")),
        msgspec.msgpack.encode(Ext(8, b"\x92\x01\x02")),
        msgspec.msgpack.encode(Ext(8, b"\x92\xa1a\x81\x01\x02")),
        msgspec.msgpack.encode(Ext(10, b"\x92\xa7missing\x01")),
        msgspec.msgpack.encode(Ext(16, b"\x01")),
        msgspec.msgpack.encode(Ext(18, b"\xa3abc")),
        msgspec.msgpack.encode(Ext(19, b"\xa3abc")),
        msgspec.msgpack.encode(Ext(23, b"\x93\xcb\x7f\xf8\0\0\0\0\0\0\0\0")),
        msgspec.msgpack.encode(Ext(100, b"\x01")),
    ],
)
def test_malformed_heads_are_carry_errors(head: bytes) -> None:
    with pytest.raises(CarryError, match=r"^result: "):
        decode(head, (), "result")


def test_nested_extensions_are_bounded() -> None:
    head = b"\x90"
    for _ in range(500):
        head = msgspec.msgpack.encode(Ext(1, msgspec.msgpack.encode([msgspec.Raw(head)])))
    with pytest.raises(CarryError, match="deep"):
        decode(head)


def test_a_buffer_can_not_be_used_twice() -> None:
    one = msgspec.msgpack.encode(Ext(5, msgspec.msgpack.encode(Ext(7, b"\x00"))))
    assert decode(one, [b"abc"]) == b"abc"
    with pytest.raises(CarryError, match="used twice"):
        decode(b"\x92" + one + one, [b"abc"])
    with pytest.raises(CarryError, match="no buffer 0"):
        decode(one)


hashables = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary(),
        st.decimals(allow_nan=False),
        st.uuids(), st.dates(), st.timedeltas(), st.datetimes(),
        st.datetimes(timezones=st.timezones(no_cache=False)).filter(lambda moment: moment.utcoffset() is not None),
        st.complex_numbers(allow_nan=False),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3).map(tuple), st.frozensets(inner, max_size=3)),
    max_leaves=6,
)  # fmt: skip
values = st.recursive(
    st.one_of(hashables, st.floats(), st.binary().map(bytearray), st.just(b"b" * INLINE_BYTES_OBJECT)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(hashables, inner, max_size=4),
        st.sets(hashables, max_size=4),
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(values)
def test_any_nesting_round_trips(value: Any) -> None:
    assert same(carried(value), value)


def test_random_bytes_give_values_or_carry_errors() -> None:
    noise = random.Random(1)
    for _ in range(20_000):
        head = noise.randbytes(noise.randrange(40))
        try:
            decode(head, [b"abcd"] * noise.randrange(3))
        except CarryError:
            pass


def test_mutated_bytes_give_values_or_carry_errors() -> None:
    noise = random.Random(2)
    bodies = [encode(value) for value in (*VALUES, VALUES[:40], {"k": (b"b" * INLINE_BYTES_OBJECT, {1, (2,)})})]
    for _ in range(20_000):
        body = noise.choice(bodies)
        head = bytearray(body.head)
        for _ in range(noise.randrange(1, 4)):
            if head:
                head[noise.randrange(len(head))] = noise.randrange(256)
        try:
            decode(head, body.buffers)
        except CarryError:
            pass


def test_body_is_immutable() -> None:
    with pytest.raises(AttributeError):
        Body(b"").head = b"x"  # type: ignore[misc]
