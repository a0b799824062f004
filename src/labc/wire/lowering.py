"""The walk over a value before it is encoded: what msgpack has no type for becomes an extension."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from enum import Enum
from types import NoneType
from typing import Any, Final
from weakref import WeakKeyDictionary

import msgspec
from msgspec.msgpack import Ext

from labc.wire import standard
from labc.wire.classes import field_names, type_name
from labc.wire.extensions import REGISTRY, Buffer, Extension
from labc.wire.frames import MAX_SEGMENTS
from labc.wire.records import Record

TUPLE: Final = 1
SET: Final = 2
FROZENSET: Final = 3
MAP: Final = 4
BYTES: Final = 5
BYTEARRAY: Final = 6
VIEW: Final = 7
RECORD: Final = 8
ENUM: Final = 9
PLUGIN: Final = 10
STREAM: Final = 11

PLAIN: Final = frozenset({NoneType, bool, int, float, str})
"""Types that are left as they are. Integers and text turn out not to be plain in rare cases; see `codec`."""

MAX_DEPTH: Final = 100
"""Containers within containers. What is deeper most likely contains itself."""

INLINE_BYTES: Final = 4 << 10
"""A buffer shorter than this is copied into the head, a longer one travels beside it."""

INLINE_BYTES_OBJECT: Final = 32 << 10
"""The same for bytes objects, which are copied once at the receiver in any case."""

_SHOWN_STEPS: Final = 12
_SHOWN_CHARS: Final = 60

_encode = msgspec.msgpack.Encoder().encode


class Unfit(Exception):
    """A value can't be carried. Its place is put together while the walk unwinds."""

    def __init__(self, problem: str) -> None:
        self.problem = problem
        self.root = ""
        self.steps: list[str] = []

    @property
    def where(self) -> str:
        """The place, outermost step first."""
        steps = self.steps[::-1]
        if len(steps) > _SHOWN_STEPS:
            steps[_SHOWN_STEPS:] = ["…"]
        return self.root + "".join(steps)


class StreamSource:
    """The base of what stands in the arguments of a call for values that follow one by one."""


class Lowering:
    """One walk, and the buffers and streams that it sets apart. ``streams``: None, where there can be none."""

    __slots__ = ("buffers", "plain", "streams")

    def __init__(self, plain: frozenset[type], streams: list[Any] | None = None) -> None:
        self.plain = plain
        self.streams = streams
        self.buffers: list[memoryview] = []

    def lower_part(self, where: str, value: Any) -> Any:
        """The value for the encoder: itself if it is plain. ``where`` is what it is called in an error."""
        try:
            return self.lower(value, 0)
        except Unfit as unfit:
            unfit.root = where
            raise

    def lower(self, value: Any, depth: int) -> Any:
        """The same for a part of a value, in containers ``depth`` deep."""
        kind = type(value)
        if kind in self.plain:
            return value
        lowerer = _LOWERERS.get(kind) or _resolved.get(kind) or _resolve(kind)
        if depth > MAX_DEPTH:
            raise Unfit(f"nested more than {MAX_DEPTH} deep, or contains itself")
        return lowerer(self, value, depth + 1)

    def set_apart(self, view: memoryview) -> Ext:
        """Let these bytes travel beside the head."""
        self.buffers.append(view)
        return Ext(VIEW, _encode(len(self.buffers) - 1))

    def has_room(self) -> bool:
        """Whether one more buffer may travel beside the head."""
        return len(self.buffers) < MAX_SEGMENTS - 1

    def lower_items(self, items: Any, depth: int) -> Any:
        """The items of a list or tuple as a list."""
        if self.plain.issuperset(map(type, items)):
            return items
        lowered: list[Any] = []
        try:
            for item in items:
                lowered.append(self.lower(item, depth))
        except Unfit as unfit:
            unfit.steps.append(f"[{len(lowered)}]")
            raise
        return lowered

    def lower_fields(self, value: object, names: tuple[str, ...], depth: int) -> dict[str, Any]:
        """The declared fields of an object."""
        lowered = {}
        for name in names:
            try:
                lowered[name] = self.lower(getattr(value, name), depth)
            except AttributeError:
                raise Unfit(f"the field {name!r} has no value") from None
            except Unfit as unfit:
                unfit.steps.append(f".{name}")
                raise
        return lowered


Lowerer = Callable[[Lowering, Any, int], Any]


def _lower_list(lowering: Lowering, value: list[Any], depth: int) -> Any:
    return lowering.lower_items(value, depth)


def _lower_tuple(lowering: Lowering, value: tuple[Any, ...], depth: int) -> Any:
    return Ext(TUPLE, _encode(lowering.lower_items(value, depth)))


def _lower_dict(lowering: Lowering, value: dict[Any, Any], depth: int) -> Any:
    plain = lowering.plain
    if plain.issuperset(map(type, value)):
        if plain.issuperset(map(type, value.values())):
            return value
        return {key: _lower_value(lowering, key, item, depth) for key, item in value.items()}
    pairs: list[Any] = []
    same_keys = True
    for key, item in value.items():
        lowered_key = _lower_key(lowering, key, depth)
        same_keys = same_keys and lowered_key is key and type(key) in PLAIN
        pairs += (lowered_key, _lower_value(lowering, key, item, depth))
    return dict(zip(pairs[::2], pairs[1::2], strict=True)) if same_keys else Ext(MAP, _encode(pairs))


def _lower_value(lowering: Lowering, key: Any, item: Any, depth: int) -> Any:
    try:
        return lowering.lower(item, depth)
    except Unfit as unfit:
        unfit.steps.append(f"[{_shown(key)}]")
        raise


def _lower_key(lowering: Lowering, key: Any, depth: int) -> Any:
    try:
        return lowering.lower(key, depth)
    except Unfit as unfit:
        unfit.problem = f"the key {_shown(key)}: {unfit.problem}"
        unfit.steps.clear()
        raise


def _lower_set(code: int) -> Lowerer:
    def lower(lowering: Lowering, value: set[Any] | frozenset[Any], depth: int) -> Any:
        items = list(value)
        try:
            return Ext(code, _encode(lowering.lower_items(items, depth)))
        except Unfit as unfit:
            unfit.problem = f"an item of the set: {unfit.problem}"
            unfit.steps.clear()
            raise

    return lower


def _lower_bytes(lowering: Lowering, value: bytes, depth: int) -> Any:
    if len(value) < INLINE_BYTES_OBJECT or not lowering.has_room():
        return value
    return Ext(BYTES, _encode(lowering.set_apart(memoryview(value))))


def _lower_bytearray(lowering: Lowering, value: bytearray, depth: int) -> Any:
    return Ext(BYTEARRAY, _encode(_lower_buffer(lowering, Buffer(memoryview(value)), depth)))


def _lower_memoryview(lowering: Lowering, value: memoryview, depth: int) -> Any:
    if not value.c_contiguous or value.nbytes < INLINE_BYTES_OBJECT or not lowering.has_room():
        return value.tobytes()
    return Ext(BYTES, _encode(lowering.set_apart(value.cast("B"))))


def _lower_buffer(lowering: Lowering, value: Buffer, depth: int) -> Any:
    if value.view.nbytes < INLINE_BYTES or not lowering.has_room():
        return value.view.tobytes()
    return lowering.set_apart(value.view.cast("B"))


def _lower_stream(lowering: Lowering, value: StreamSource, depth: int) -> Any:
    if lowering.streams is None:
        raise Unfit("a stream can only be an argument of a call of one function: of call() or stream()")
    if value in lowering.streams:
        raise Unfit("this stream is among the arguments twice")
    lowering.streams.append(value)
    return Ext(STREAM, _encode(len(lowering.streams)))


def _lower_int(lowering: Lowering, value: int, depth: int) -> Any:
    if -(1 << 63) <= value < 1 << 64:
        return value
    return _lower_extension(standard.INTEGER)(lowering, value, depth)


def _lower_str(lowering: Lowering, value: str, depth: int) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Unfit(f"{_shown(value)} can't be carried: it has half of a surrogate pair, which is no text") from None
    return value


def _lower_record(lowering: Lowering, value: Record, depth: int) -> Any:
    fields = {}
    for name, item in value.fields.items():
        try:
            fields[name] = lowering.lower(item, depth)
        except Unfit as unfit:
            unfit.steps.append(f".{name}")
            raise
    return Ext(RECORD, _encode([value.type_name, fields]))


def _lower_object(cls: type) -> Lowerer:
    """For a dataclass or Struct."""
    names = field_names(cls)
    name = type_name(cls)

    def lower(lowering: Lowering, value: object, depth: int) -> Any:
        return Ext(RECORD, _encode([name, lowering.lower_fields(value, names, depth)]))

    return lower


def _lower_enum(cls: type) -> Lowerer:
    name = type_name(cls)

    def lower(lowering: Lowering, value: Enum, depth: int) -> Any:
        try:
            return Ext(ENUM, _encode([name, lowering.lower(value.value, depth)]))
        except Unfit as unfit:
            unfit.steps.append(".value")
            raise

    return lower


def _lower_extension(extension: Extension) -> Lowerer:
    pack, code, name = extension.pack, extension.code, extension.name

    def lower(lowering: Lowering, value: Any, depth: int) -> Any:
        try:
            packed = pack(value)
        except (Unfit, RecursionError):
            raise
        except Exception as error:
            raise Unfit(str(error) or f"{type(value)} can't be carried: {type(error).__name__}") from error
        lowered = lowering.lower(packed, depth)
        return Ext(PLUGIN, _encode([name, lowered])) if code is None else Ext(code, _encode(lowered))

    return lower


def _lower_as(base: type, convert: Callable[[Any], Any]) -> Lowerer:
    """For a subclass of a built-in type: as the base."""

    def lower(lowering: Lowering, value: Any, depth: int) -> Any:
        return lowering.lower(convert(value), depth)

    return lower


_BASES: Final[dict[type, Callable[[Any], Any]]] = {
    str: str.__str__,
    float: float.__float__,
    int: int.__int__,
    bytes: lambda value: bytes(memoryview(value)),
    bytearray: bytearray,
    dict: dict,
    list: list,
    tuple: tuple,
    set: set,
    frozenset: frozenset,
}
"""The types whose subclasses are carried as the type itself."""

_LOWERERS: Final[dict[type, Lowerer]] = {
    list: _lower_list,
    tuple: _lower_tuple,
    dict: _lower_dict,
    set: _lower_set(SET),
    frozenset: _lower_set(FROZENSET),
    bytes: _lower_bytes,
    bytearray: _lower_bytearray,
    memoryview: _lower_memoryview,
    Buffer: _lower_buffer,
    Record: _lower_record,
    int: _lower_int,
    str: _lower_str,
}

_resolved: WeakKeyDictionary[type, Lowerer] = WeakKeyDictionary()
"""What was found for other types. Weak, or it would keep classes that were made for a moment."""


def _resolve(cls: type) -> Lowerer:
    """Find out how a type is carried.

    The order matters: an IntEnum is an int and a numpy.float64 is a float, and both are more than that.
    """
    lowerer = _known(cls) or _as_plugin(cls) or _as_base(cls)
    if lowerer is None:
        problems = "".join(f"; {problem}" for problem in REGISTRY.problems)
        raise Unfit(f"{cls} can't be carried{problems}")
    _resolved[cls] = lowerer
    return lowerer


def _known(cls: type) -> Lowerer | None:
    """A type that labc itself carries whole, or that was registered."""
    if issubclass(cls, StreamSource):
        return _lower_stream
    if issubclass(cls, Enum):
        return _lower_enum(cls)
    if issubclass(cls, msgspec.Struct) or dataclasses.is_dataclass(cls):
        return _lower_object(cls)
    if "numpy" in sys.modules and any(base.__module__ == "numpy" for base in cls.__mro__):
        from labc.wire import arrays

        REGISTRY.add_all(arrays.EXTENSIONS)
    extension = REGISTRY.for_type(cls)
    if extension is None or cls.__module__ != extension.type.__module__:
        return None
    return _lower_extension(extension)


def _as_plugin(cls: type) -> Lowerer | None:
    """A type that a plug-in carries, or somebody's subclass of one of ours (pandas.Timestamp)."""
    REGISTRY.load_plugins()
    extension = REGISTRY.for_type(cls)
    return _lower_extension(extension) if extension else None


def _as_base(cls: type) -> Lowerer | None:
    base = next((base for base in cls.__mro__ if base in _BASES), None)
    return _lower_as(base, _BASES[base]) if base else None


def _shown(value: object) -> str:
    """A key or text as it appears in an error: not too long, and never with an error of its own."""
    try:
        text = ascii(value)
    except Exception:
        return f"<{type(value).__name__}>"
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"


REGISTRY.add_all((standard.INTEGER, *standard.EXTENSIONS))
