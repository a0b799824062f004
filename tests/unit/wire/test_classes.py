import enum
import sys
import types
from dataclasses import dataclass, field, make_dataclass
from typing import Any

import msgspec
import pytest
from labels import label

from labc.errors import CarryError
from labc.wire.classes import type_name
from labc.wire.codec import decode, encode
from labc.wire.records import Record


def carried(value: Any) -> Any:
    body = encode(value)
    return decode(body.head, body.buffers)


@dataclass
class Frame:
    number: int
    data: Any = None

    def __post_init__(self) -> None:
        if self.number < 0:
            raise ValueError("negative")


@dataclass(frozen=True, slots=True)
class Point:
    x: float
    y: tuple[int, ...] = field(default=(), repr=False)

    @dataclass
    class Inner:
        z: set[int]


@dataclass
class Grabber:
    path: str

    def __del__(self) -> None:
        pass


@dataclass
class OddError(Exception):
    code: int


class Shape(msgspec.Struct, frozen=True, rename="camel", tag=True):
    side_length: float
    tags: tuple[str, ...] = ()


class Positive(msgspec.Struct):
    n: int

    def __post_init__(self) -> None:
        if self.n < 0:
            raise ValueError("negative")


class Color(enum.Enum):
    RED = (1, 0, 0)
    BLUE = "b"


class Level(enum.IntEnum):
    LOW = 1


class Mode(enum.StrEnum):
    FAST = "fast"


class Access(enum.Flag):
    READ = 1
    WRITE = 2


class Bad(enum.Enum):
    FUNCTION = object()


@pytest.mark.parametrize(
    "value",
    [
        Frame(1, [Frame(2, (3,))]),
        Point(1.5, (2, 3)),
        Point.Inner({1}),
        Shape(2.0, ("a",)),
        Positive(3),
        Color.RED,
        Color.BLUE,
        Level.LOW,
        Mode.FAST,
        Access.READ | Access.WRITE,
        Access(0),
        {Point(1.0): Level.LOW, Shape(1.0): {Mode.FAST}},
        Frame(1, Shape(1.0)),
    ],
    ids=label,
)
def test_objects_of_known_classes_are_themselves_again(value: Any) -> None:
    got = carried([value])[0]
    assert type(got) is type(value)
    assert got == value
    if isinstance(value, enum.Enum):
        assert got is value


def test_a_dataclass_is_rebuilt_without_running_its_code() -> None:
    frame = Frame(1)
    frame.number = -5
    assert carried(frame).number == -5


def test_a_struct_whose_own_check_fails_stays_a_record() -> None:
    bad = Positive(1)
    bad.n = -1
    got = carried(bad)
    assert isinstance(got, Record)
    assert got.n == -1


@pytest.mark.parametrize("value", [Grabber("/"), OddError(3)])
def test_classes_that_can_not_be_rebuilt_safely_stay_records(value: Any) -> None:
    got = carried(value)
    assert isinstance(got, Record)
    assert got.type_name == type_name(type(value))


def unknown_class() -> Any:
    return make_dataclass("Gone", ["a", "b"])


def test_an_unknown_class_is_a_record_that_passes_on_unharmed() -> None:
    gone = unknown_class()
    body = encode([gone(1, (2, {Level.LOW}))])
    [record] = decode(body.head)
    assert isinstance(record, Record)
    assert (record.a, record.b) == (1, (2, {Level.LOW}))
    assert encode([record]).head == body.head


def test_other_fields_than_here_make_a_record() -> None:
    for fields in ({"number": 1}, {"number": 1, "data": 2, "more": 3}, {"number": 1, "date": 2}):
        name = type_name(Frame)
        assert carried(Record(name, fields)) == Record(name, fields)
    assert carried(Record(type_name(Frame), {"number": 1, "data": 2})) == Frame(1, 2)


@pytest.mark.parametrize(
    "name",
    [
        "", ":", "builtins:int", "os:system", "subprocess:Popen", "no_such_module:X", "sys:modules", "builtins",
        f"{__name__}:unknown_class", f"{__name__}:Point.Inner.z", f"{__name__}:Foreign", "labc.wire.records:Record",
        f"{__name__}:Frame.__init__", "\0:\0",
    ],
)  # fmt: skip
def test_names_from_the_network_find_nothing_but_data_classes(name: str) -> None:
    assert carried(Record(name, {})) == Record(name, {})


Foreign = types.SimpleNamespace


def test_no_module_is_made_to_import_by_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    lazy = types.ModuleType("lazy_module_of_test")
    asked: list[str] = []
    lazy.__getattr__ = asked.append  # type: ignore[method-assign, assignment]
    monkeypatch.setitem(sys.modules, "lazy_module_of_test", lazy)
    monkeypatch.setitem(sys.modules, "none_module_of_test", None)
    assert isinstance(carried(Record("lazy_module_of_test:Thing", {})), Record)
    assert isinstance(carried(Record("none_module_of_test:Thing", {})), Record)
    assert asked == []


def test_unknown_enums_and_members_are_their_values() -> None:
    gone = enum.Enum("Gone", {"A": (1, 2)})
    assert carried(gone.A) == (1, 2)
    head = encode(Level.LOW).head.replace(b"Level", b"Color")
    assert decode(head) == 1


def test_fields_that_can_not_be_carried_are_named() -> None:
    with pytest.raises(CarryError) as caught:
        encode({"f": Frame(1, [0, Point(1.0, (len,))])})  # type: ignore[arg-type]
    assert caught.value.where == "value['f'].data[1].y[0]"
    with pytest.raises(CarryError, match=r"value\.value: "):
        encode(Bad.FUNCTION)


def test_a_field_without_value_is_an_error() -> None:
    frame = Frame(1)
    del frame.number
    with pytest.raises(CarryError, match="the field 'number' has no value"):
        encode(frame)


def test_a_class_of_main_is_found_in_main(monkeypatch: pytest.MonkeyPatch) -> None:
    local = make_dataclass("MainThing", ["a"])
    local.__module__ = "__main__"
    body = encode(local(1))
    assert isinstance(decode(body.head), Record)
    monkeypatch.setattr(sys.modules["__main__"], "MainThing", local, raising=False)
    assert decode(body.head) == local(1)
