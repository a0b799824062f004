"""What is called or published arrives as what it was: its type, its shape, and as a new object."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import math
import pathlib
import uuid
from typing import Any

import numpy as np
import pytest

import labc

pytestmark = pytest.mark.usefixtures("here")

SERVER = """
import sys
sys.path.insert(0, sys.argv[1])
import lab_values
import labc
import numpy as np

labc.register(lambda value: value, name="echo")

@labc.register
def describe(value):
    return type(value).__name__, repr(value)

@labc.register
def writeable(array):
    try:
        array[...] = 0
    except ValueError:
        return False
    return True

@labc.register
def publish(topic, value): labc.publish(topic, value)
labc.serve()
"""

VALUES: dict[str, Any] = {
    "none": None,
    "bool": True,
    "int": 7,
    "negative": -(2**63),
    "big": 2**200,
    "float": 0.1,
    "inf": math.inf,
    "complex": 1 + 2j,
    "text": "größe ☃ \x00",
    "bytes": b"\x00\xff",
    "bytearray": bytearray(b"ab"),
    "list": [1, [2, []]],
    "tuple": (1, (2,), ()),
    "set": {1, "a"},
    "frozenset": frozenset({(1, 2)}),
    "dict": {"a": 1, 2: "b", (3, 4): None},
    "empty": {},
    "datetime": datetime.datetime(2026, 1, 2, 3, 4, 5, 6),
    "aware": datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
    "date": datetime.date(2026, 1, 2),
    "time": datetime.time(1, 2, 3),
    "timedelta": datetime.timedelta(days=-1, microseconds=1),
    "decimal": decimal.Decimal("1.10"),
    "uuid": uuid.UUID(int=5),
    "path": pathlib.Path("/a/b"),
    "range": range(1, 10, 2),
    "mixed": {"x": [(1, {2}), {"y": b""}]},
}

ARRAYS = {
    "image": np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "strided": np.arange(20)[::3],
    "scalar array": np.array(5.0),
    "empty": np.empty((0, 3), np.int16),
    "complex": np.array([1 + 2j], np.complex64),
    "bool": np.array([True, False]),
    "big endian": np.arange(3, dtype=">i4"),
    "structured": np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
    "times": np.array(["2026-01-02"], dtype="datetime64[s]"),
    "text": np.array(["ab", "c"]),
    "large": np.arange(1_000_000, dtype=np.float64),
}

LAB_VALUES = """
import dataclasses, enum, typing

@dataclasses.dataclass
class Point:
    x: float
    y: float = 0.0
    tags: list = dataclasses.field(default_factory=list)

@dataclasses.dataclass(frozen=True)
class Line:
    ends: tuple

class Color(enum.Enum):
    RED = "r"
    BLUE = "b"

class Level(enum.IntEnum):
    LOW = 1
"""


@pytest.fixture
def lab_values(tmp_path, monkeypatch):
    """A module of the user's, which both sides have."""
    import importlib
    import sys

    (tmp_path / "lab_values.py").write_text(LAB_VALUES)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("lab_values")
    sys.modules.pop("lab_values")


@pytest.fixture(params=["elsewhere", "here"])
def echo(request, serve, tmp_path, lab_values):
    """A function that returns its argument: of another process, and of this very node."""
    if request.param == "elsewhere":
        serve(SERVER, str(tmp_path))
    else:
        labc.register(lambda value: value, name="echo")
    return lambda value: labc.call("echo", value)


def test_types_are_kept(echo) -> None:
    for name, value in VALUES.items():
        came = echo(value)
        assert type(came) is type(value), name
        assert came == value, name
        if isinstance(value, (list, dict, set, bytearray)):
            assert came is not value, name
    assert math.isnan(echo(math.nan))
    assert list(map(type, echo([1, 1.0, True]))) == [int, float, bool]
    assert list(echo({"b": 1, "a": 2})) == ["b", "a"]


def test_arrays_keep_shape_and_dtype_and_are_read_only(echo) -> None:
    for name, array in ARRAYS.items():
        came = echo(array)
        assert type(came) is np.ndarray, name
        assert (came.dtype, came.shape) == (array.dtype, array.shape), name
        np.testing.assert_array_equal(came, array)
        assert not came.flags.writeable, name
        assert not np.shares_memory(came, array), name
    came = echo({"frames": [ARRAYS["image"], (ARRAYS["large"],)]})
    np.testing.assert_array_equal(came["frames"][1][0], ARRAYS["large"])
    for scalar in (np.float32(1.5), np.int8(-1), np.bool_(True), np.complex128(1j)):
        came = echo(scalar)
        assert type(came) is type(scalar)
        assert came == scalar


def test_arrays_are_read_only_for_the_function_too(serve, tmp_path, lab_values) -> None:
    mine = np.ones(100_000)

    def writeable(array: Any) -> bool:
        try:
            array[...] = 0
        except ValueError:
            return False
        return True

    labc.register(writeable)
    assert labc.call("writeable", mine) is False
    assert labc.call("writeable", np.ones(3)) is False
    serve(SERVER, str(tmp_path))
    [other] = [info.name for info in labc.nodes() if not info.here]
    assert labc.at(node=other).call("writeable", mine) is False
    assert mine.all()


def test_classes_of_the_user(echo, lab_values) -> None:
    point = lab_values.Point(1.0, tags=[(1,)])
    came = echo(point)
    assert type(came) is lab_values.Point
    assert came == point
    assert came is not point
    assert echo([lab_values.Line((point, point))]) == [lab_values.Line((point, point))]
    assert echo(lab_values.Color.RED) is lab_values.Color.RED
    assert echo({lab_values.Level.LOW: 1}) == {lab_values.Level.LOW: 1}


def test_classes_that_are_not_there(serve, tmp_path, lab_values) -> None:
    """The other program does not have the class: it gets a Record, and what it passes on is the original again."""

    @dataclasses.dataclass
    class Mine:
        x: int

    Mine.__qualname__ = "Mine"
    Mine.__module__ = __name__
    serve(SERVER, str(tmp_path))
    kind, text = labc.call("describe", Mine(1))
    assert kind == "Record"
    assert "x=1" in text
    came = labc.call("echo", Mine(1))
    assert came.x == 1


def test_subclasses_come_as_what_they_are_based_on(echo) -> None:
    Pair = collections.namedtuple("Pair", "a b")
    assert echo(Pair(1, 2)) == (1, 2)
    assert echo(collections.OrderedDict(a=1)) == {"a": 1}
    assert type(echo(collections.Counter("aab"))) is dict


def test_published_values_keep_their_types(serve, tmp_path, lab_values, until) -> None:
    got: list[Any] = []
    labc.subscribe(got.append, topic="v")
    serve(SERVER, str(tmp_path))
    for publish in (lambda v: labc.publish("v", v), lambda v: labc.call("publish", "v", v)):
        for name, value in VALUES.items():
            publish(value)
            until(lambda: got)
            came = got.pop()
            assert type(came) is type(value), name
            assert came == value, name
        for name, array in ARRAYS.items():
            publish(array)
            until(lambda: got)
            came = got.pop()
            assert (came.dtype, came.shape) == (array.dtype, array.shape), name
            np.testing.assert_array_equal(came, array)
            assert not came.flags.writeable, name
        publish(lab_values.Point(1.0))
        until(lambda: got)
        assert got.pop() == lab_values.Point(1.0)


class Handle:
    """Nothing that could be carried."""


UNCARRIABLE: list[tuple[Any, Any, str]] = [
    ((Handle(),), {}, "args[0]"),
    ((1, [2, {"a": (Handle(),)}]), {}, "args[1][1]['a'][0]"),
    ((), {"x": {"y": Handle()}}, "kwargs['x']['y']"),
    ((lambda: 1,), {}, "args[0]"),
    ((open,), {}, "args[0]"),
    ((np.array([object()]),), {}, "args[0]"),
    (({1: {2: Handle()}},), {}, "args[0][1][2]"),
]


def test_a_value_that_can_not_be_carried_is_named_by_its_place(echo) -> None:
    labc.call("echo", 1)
    for args, kwargs, place in UNCARRIABLE:
        with pytest.raises(labc.CarryError) as caught:
            labc.call("echo", *args, **kwargs)
        assert caught.value.where == place
        assert place in str(caught.value)


def test_a_value_that_contains_itself(echo) -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(labc.CarryError, match="contains itself"):
        echo(endless)


def test_a_value_that_can_not_be_carried_is_found_before_anybody_is_looked_for() -> None:
    with pytest.raises(labc.CarryError):
        labc.call("nobody", Handle())


@pytest.mark.parametrize("where", ["elsewhere", "here"])
def test_a_result_that_can_not_be_carried(serve, where: str, caplog) -> None:
    source = """
import labc, threading
class Handle: pass
labc.register(lambda: {"a": [Handle()]}, name="bad")
"""
    if where == "elsewhere":
        server = serve(source + "labc.serve()")
    else:
        exec(source, {"__name__": "somewhere"})
    with pytest.raises(labc.CarryError) as caught:
        labc.call("bad")
    assert caught.value.where == "the result of bad()['a'][0]"
    if where == "elsewhere":
        server.expect(__import__("re").compile("can't be answered"), stream="stderr")
    else:
        assert "can't be answered" in caplog.text


def test_a_result_that_changes_while_it_is_read() -> None:
    """The value's own code raises while it is encoded: an error, and no silence."""

    class Odd(enum.Enum):
        A = 1

    @dataclasses.dataclass
    class Broken:
        x: int

        def __getattribute__(self, name: str) -> Any:
            if name == "x":
                raise RuntimeError("not now")
            return super().__getattribute__(name)

    labc.register(lambda: object.__new__(Broken), name="broken")
    with pytest.raises(labc.RemoteError, match="not now"):
        labc.at(timeout=2.0).call("broken")


def test_a_local_call_is_like_any_other(caplog) -> None:
    """New objects, checked arguments, errors as RemoteError: nothing tells a caller that the provider is here."""
    kept: list[Any] = []

    @labc.register
    def keep(items: list[int], times: int = 1) -> list[int]:
        kept.append(items)
        if times == 0:
            raise ValueError("never")
        return items

    mine = [1, 2]
    came = labc.call("keep", mine)
    assert came == kept[0] == mine
    assert came is not kept[0]
    assert kept[0] is not mine
    with pytest.raises(labc.ArgumentsError):
        labc.call("keep", mine, "often")
    with pytest.raises(labc.RemoteError) as caught:
        labc.call("keep", mine, 0)
    assert "in keep" in caught.value.traceback
    assert caught.value.node == labc.nodes()[0].name
    assert len(kept) == 2
