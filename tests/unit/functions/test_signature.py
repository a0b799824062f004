"""Type hints as the schema: what is taken, what is converted, and what is said of the rest."""

from __future__ import annotations

import collections.abc
import dataclasses
import datetime
import decimal
import enum
import functools
import math
import pathlib
import typing
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, Optional, Protocol, TypedDict, TypeVar, Union

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from labels import label

from labc.errors import ArgumentsError
from labc.functions.signature import Signature
from labc.wire import Record

T = TypeVar("T")


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1


@dataclasses.dataclass
class Point:
    x: float
    y: float = 0.0


@dataclasses.dataclass
class Picky:
    x: int

    def __post_init__(self) -> None:
        if self.x < 0:
            raise ZeroDivisionError("below")


class Pair(NamedTuple):
    a: int
    b: str


class Options(TypedDict, total=False):
    speed: float


class HasRead(Protocol):
    def read(self) -> bytes: ...


class Plain:
    """A class of the user's that says nothing of its fields."""


NOW = datetime.datetime(2026, 1, 2, 3, 4, 5)
IMAGE = np.zeros((2, 3), np.uint8)

# hint, value, what the function gets; the same object where it says SAME.
SAME = object()
FITS: list[tuple[Any, Any, Any]] = [
    (int, 5, SAME),
    (int, 2**100, SAME),
    (int, np.int16(5), 5),
    (int, Level.LOW, SAME),
    (float, 1.5, SAME),
    (float, 1, 1.0),
    (float, np.float32(0.5), 0.5),
    (float, np.float64(0.5), SAME),
    (float, np.int64(2), 2.0),
    (bool, True, SAME),
    (bool, np.bool_(True), True),
    (str, "a", SAME),
    (str, np.str_("a"), SAME),
    (bytes, b"a", SAME),
    (bytes, bytearray(b"a"), b"a"),
    (complex, 1j, SAME),
    (complex, 1, 1 + 0j),
    (complex, 1.5, 1.5 + 0j),
    (complex, np.complex64(1j), 1j),
    (None, None, SAME),
    (Any, object(), SAME),
    (object, object(), SAME),
    (T, object(), SAME),
    (Optional[int], None, SAME),  # noqa: UP045
    (int | None, 5, SAME),
    (Union[int, str], "a", SAME),  # noqa: UP007
    (int | str, 5, SAME),
    (pathlib.Path | str, "a", SAME),
    (datetime.datetime | str, "2026-01-02T03:04:05", SAME),
    (int | Color, Color.RED, SAME),
    (Color | None, Color.RED, SAME),
    (np.ndarray | None, IMAGE, SAME),
    (np.ndarray | float, 1.5, SAME),
    (np.ndarray | list[float], IMAGE, SAME),
    (np.ndarray | list[float], [1], [1.0]),
    (float | complex, 1j, SAME),
    (Literal["a", 1], "a", SAME),
    (Literal[True], True, SAME),
    (Color, Color.RED, SAME),
    (Color, "red", Color.RED),
    (Level, 1, Level.LOW),
    (Point, Point(1.0), SAME),
    (Point, {"x": 1}, Point(1.0)),
    (Point, Record("other:Point", {"x": 1.0, "y": 2.0}), Point(1.0, 2.0)),
    (Point | None, Point(1.0), SAME),
    (list[Point], [Point(1.0), {"x": 2}], [Point(1.0), Point(2.0)]),
    (dict[str, Point], {"a": {"x": 1}}, {"a": Point(1.0)}),
    (Pair, (1, "a"), Pair(1, "a")),
    (Options, {"speed": 1}, {"speed": 1.0}),
    (list, [1, "a"], [1, "a"]),
    (list, (1, 2), [1, 2]),
    (list[int], [], []),
    (list[float], [1, np.float64(2.0), np.int8(3)], [1.0, 2.0, 3.0]),
    (list[list[int]], [[np.int8(1)]], [[1]]),
    (list[Color], [Color.RED, "blue"], [Color.RED, Color.BLUE]),
    (list[Any], [object], [object]),
    (tuple, [1], (1,)),
    (tuple[int, str], (1, "a"), (1, "a")),
    (tuple[int, ...], [1, np.int8(2)], (1, 2)),
    (set[int], {1}, {1}),
    (set[int], [1, 2], {1, 2}),
    (frozenset[str], {"a"}, frozenset({"a"})),
    (dict, {1: 2}, {1: 2}),
    (dict[str, float], {"a": 1}, {"a": 1.0}),
    (dict[str, float], {"a": np.float32(1)}, {"a": 1.0}),
    (dict[int, Color], {1: Color.RED}, {1: Color.RED}),
    (Mapping[str, int], {"a": 1}, {"a": 1}),
    (Sequence[int], [1], [1]),
    (Sequence[int], (1, 2), (1, 2)),
    (Sequence, (1, 2), (1, 2)),
    (Sequence[float], (1, np.int8(2)), (1.0, 2.0)),
    (Iterable[int], {1}, {1}),
    (collections.abc.Collection[int], (1,), (1,)),
    (collections.abc.Set[int], frozenset({1}), frozenset({1})),
    (np.ndarray, IMAGE, SAME),
    (npt.NDArray[np.float64], IMAGE, SAME),
    (npt.ArrayLike, [1, 2], SAME),
    (np.float64, 1.5, np.float64(1.5)),
    (np.uint8, 200, np.uint8(200)),
    (np.float32, np.float32(1), SAME),
    (pathlib.Path, pathlib.Path("a"), SAME),
    (pathlib.Path, "a", pathlib.Path("a")),
    (datetime.datetime, NOW, SAME),
    (datetime.datetime, "2026-01-02T03:04:05", NOW),
    (datetime.date, "2026-01-02", datetime.date(2026, 1, 2)),
    (datetime.timedelta, datetime.timedelta(1), SAME),
    (uuid.UUID, str(uuid.UUID(int=1)), uuid.UUID(int=1)),
    (decimal.Decimal, decimal.Decimal("1.0"), SAME),
    (decimal.Decimal, "1.0", decimal.Decimal("1.0")),
    (Callable[[int], int], len, SAME),
    (HasRead, object(), SAME),
    (Plain, Plain(), SAME),
    (Annotated[int, "metres"], 5, SAME),
    (Annotated[np.ndarray, "image"], IMAGE, SAME),
    (typing.NewType("Id", int), 5, SAME),
]

MISFITS: list[tuple[Any, Any]] = [
    (int, "5"),
    (int, 1.5),
    (int, 1.0),
    (int, True),
    (int, None),
    (int, np.float64(1.5)),
    (int, Color.RED),
    (int, [1]),
    (float, "1.5"),
    (float, True),
    (float, 1j),
    (bool, 1),
    (bool, "yes"),
    (str, 5),
    (str, b"a"),
    (str, Color.RED),
    (bytes, "aGk="),
    (bytearray, "aGk="),
    (complex, "1j"),
    (complex, True),
    (None, 5),
    (int | None, "a"),
    (int | str, 1.5),
    (np.ndarray | None, [1]),
    (np.ndarray | float, "a"),
    (Literal["a", 1], "b"),
    (Color, "green"),
    (Color, Level.LOW),
    (Level, 2),
    (Point, 5),
    (Point, {"z": 1}),
    (Point, {"x": "a"}),
    (Point, Plain()),
    (Picky, {"x": -1}),
    (list[int], 5),
    (list[int], "ab"),
    (list[int], [1, "a"]),
    (list[int], [[1]]),
    (list, {"a": 1}),
    (list[float], IMAGE),
    (tuple[int, str], (1,)),
    (tuple[int, str], ("a", 1)),
    (tuple[int, ...], (1, "a")),
    (set[int], {"a"}),
    (dict[str, int], {"a": "b"}),
    (dict[str, int], {1: 1}),
    (dict, [1]),
    (Sequence[int], "ab"),
    (Sequence[int], {1}),
    (np.ndarray, [1]),
    (npt.NDArray[np.float64], 1.5),
    (np.uint8, 1.5),
    (np.float64, "a"),
    (pathlib.Path, 5),
    (datetime.datetime, "yesterday"),
    (datetime.timedelta, 5.0),
    (uuid.UUID, "a"),
    (Callable[[int], int], 5),
    (Plain, 5),
    (Options, 5),
]


def taking(hint: Any) -> Signature:
    def function(value: Any) -> None: ...

    function.__annotations__ = {"value": hint}
    return Signature("f", function)


@pytest.mark.parametrize(("hint", "value", "expected"), FITS, ids=label)
def test_what_fits(hint: Any, value: Any, expected: Any) -> None:
    (got,), kwargs = taking(hint).bind([value], {})
    assert not kwargs
    if expected is SAME:
        assert got is value
    else:
        assert type(got) is type(expected)
        assert got == expected
    _, by_keyword = taking(hint).bind([], {"value": value})
    assert by_keyword == {} or type(by_keyword["value"]) is type(got)


@pytest.mark.parametrize(("hint", "value"), MISFITS, ids=label)
def test_what_does_not(hint: Any, value: Any) -> None:
    for args, kwargs in (([value], {}), ([], {"value": value})):
        with pytest.raises(ArgumentsError) as caught:
            taking(hint).bind(args, kwargs)
        error = caught.value
        assert error.function == "f"
        assert error.argument == "value"
        assert error.expected
        assert f"expected `{error.expected}`, got `{type(value).__name__}`" in str(error)


def test_the_place_of_a_mistake_within_a_value() -> None:
    with pytest.raises(
        ArgumentsError, match=r"expected `list\[int\]`, got `list` \(expected `int`, got `str` - at `value\[1\]`\)"
    ):
        taking(list[int]).bind([[1, "a"]], {})
    with pytest.raises(ArgumentsError, match=r"at `value\.x`"):
        taking(Point).bind([{"x": "a"}], {})
    with pytest.raises(ArgumentsError, match=r"missing required field `x`"):
        taking(Point).bind([{}], {})
    with pytest.raises(ArgumentsError, match=r"below"):
        taking(Picky).bind([{"x": -1}], {})


def test_values_are_not_changed() -> None:
    mine = [1, np.float64(2.0)]
    taking(list[float]).bind([mine], {})
    assert mine[0] == 1
    assert type(mine[0]) is int


def variadic(first: int, /, *args: int, key: str = "", **kw: float) -> None: ...


@pytest.mark.parametrize(
    ("args", "kwargs", "argument", "expected"),
    [
        ((1, "a"), {}, "*args[0]", "int"),
        ((1, 2, None), {}, "*args[1]", "int"),
        ((1,), {"key": 1}, "key", "str"),
        ((1,), {"other": "x"}, "other", "float"),
        ((), {}, "first", "int"),
        ((), {"first": 1}, "first", "int"),
    ],
)
def test_variadic_parameters(args: Any, kwargs: Any, argument: str, expected: str) -> None:
    signature = Signature("f", variadic)
    with pytest.raises(ArgumentsError) as caught:
        signature.bind(args, kwargs)
    assert (caught.value.argument, caught.value.expected) == (argument, expected)


def test_variadic_parameters_that_fit() -> None:
    args, kwargs = Signature("f", variadic).bind([1, np.int8(2), 3], {"key": "a", "first": 1, "x": np.float32(1)})
    assert list(args) == [1, 2, 3]
    assert kwargs == {"key": "a", "first": 1.0, "x": 1.0}
    assert type(args[1]) is int


def test_keyword_only_parameters_are_required() -> None:
    def function(a: int, *, b: int) -> None: ...

    with pytest.raises(ArgumentsError, match=r"missing a required.*'b'"):
        Signature("f", function).bind([1], {})
    with pytest.raises(ArgumentsError, match="too many positional"):
        Signature("f", function).bind([1, 2], {})
    args, kwargs = Signature("f", function).bind([1], {"b": 2})
    assert (list(args), kwargs) == ([1], {"b": 2})


def test_none_as_the_default_is_allowed() -> None:
    def function(speed: float = None, image: np.ndarray = None, any_: Any = None) -> None: ...  # noqa: RUF013

    args, _ = Signature("f", function).bind([None, None, 5], {})
    assert list(args) == [None, None, 5]
    with pytest.raises(ArgumentsError):
        Signature("f", function).bind(["a"], {})


def test_defaults_are_not_checked() -> None:
    def function(a: int = "any") -> None: ...  # type: ignore[assignment]

    args, kwargs = Signature("f", function).bind([], {})
    assert function(*args, **kwargs) is None


def test_hints_as_text() -> None:
    def function(a: int, b: list[Point]) -> None: ...  # as all hints are in this file

    assert function.__annotations__["a"] == "int"

    args, _ = Signature("f", function).bind([np.int8(1), [{"x": 1}]], {})
    assert list(args) == [1, [Point(1.0)]]
    assert str(Signature("f", function)) == "f(a: int, b: list[Point]) -> None"
    with pytest.raises(ArgumentsError, match=r"expected `int`, got `str`; it is f\(a: int, b: list\[Point\]\) -> None"):
        Signature("f", function).bind(["a", []], {})


def test_one_hint_that_can_not_be_resolved_does_not_silence_the_others() -> None:
    def function(a: NotThere, b: int, c: 1 / 0 = None) -> Nowhere: ...  # noqa: F821

    signature = Signature("f", function)
    args, _ = signature.bind([object, np.int8(2)], {})
    assert list(args) == [object, 2]
    with pytest.raises(ArgumentsError, match="argument 'b'"):
        signature.bind([1, "a"], {})
    assert "a: NotThere" in str(signature)


def test_functions_that_tell_nothing_of_themselves() -> None:
    for function in (print, len, max, math.hypot, int, dict):
        args, kwargs = Signature("f", function).bind([5], {})
        assert list(args) == [5]
        assert not kwargs
    assert str(Signature("biggest", max)) == "biggest(...)"


def test_partials() -> None:
    def function(a: int, b: int, c: str = "") -> None: ...

    signature = Signature("f", functools.partial(function, 1, c="x"))
    args, _ = signature.bind([np.int8(2)], {})
    assert list(args) == [2]
    with pytest.raises(ArgumentsError, match="argument 'b'"):
        signature.bind(["a"], {})
    nested = Signature("f", functools.partial(functools.partial(function, 1), 2))
    with pytest.raises(ArgumentsError, match=r"argument '?c"):
        nested.bind([5], {})


class Device:
    def method(self, a: int) -> None: ...

    def __call__(self, b: int) -> None: ...

    def __init__(self, c: int = 0) -> None: ...

    @classmethod
    def of_class(cls, d: int) -> None: ...

    @staticmethod
    def static(e: int) -> None: ...


@pytest.mark.parametrize(
    ("function", "argument"),
    [
        (Device().method, "a"),
        (Device(), "b"),
        (Device, "c"),
        (Device.of_class, "d"),
        (Device.static, "e"),
        (functools.partial(Device().method), "a"),
        (functools.wraps(variadic)(lambda *a, **k: None), "first"),
        (functools.lru_cache(Device.static), "e"),
    ],
)
def test_anything_that_can_be_called(function: Any, argument: str) -> None:
    signature = Signature("f", function)
    with pytest.raises(ArgumentsError) as caught:
        signature.bind(["text"], {})
    assert caught.value.argument == argument
    args, kwargs = signature.bind([np.int8(5)], {})
    assert list(args) == [5]
    assert not kwargs


def test_struct_arguments() -> None:
    class Move(msgspec.Struct):
        x: int

    signature = taking(Move)
    (move,), _ = signature.bind([{"x": 1}], {})
    assert move == Move(1)
    (same,), _ = signature.bind([move], {})
    assert same == move


def test_a_long_list_is_checked_quickly() -> None:
    import time

    values = [float(n) for n in range(200_000)]
    signature = taking(list[float])
    started = time.process_time()
    signature.bind([values], {})
    assert time.process_time() - started < 0.2


def test_defaults_are_shown_in_one_short_line_whatever_their_repr_does() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise ValueError("no")

    def f(a=np.zeros((50, 50)), b=Broken(), c="x" * 500, d=1.5) -> None: ...  # noqa: B008

    text = str(Signature("f", f))
    assert "\n" not in text
    assert len(text) < 200
    assert "d=1.5" in text
