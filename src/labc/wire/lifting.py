"""The way back: msgpack extensions become values of their types."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from labc.wire import classes
from labc.wire.extensions import REGISTRY, Extension
from labc.wire.frames import Data
from labc.wire.lowering import (
    BYTEARRAY,
    BYTES,
    ENUM,
    FROZENSET,
    MAP,
    MAX_DEPTH,
    PLUGIN,
    RECORD,
    SET,
    STREAM,
    TUPLE,
    VIEW,
    Unfit,
)

_decode = msgspec.msgpack.decode

NUMPY_CODES: Final = range(32, 40)

MAX_LIFTS: Final = MAX_DEPTH + 8
"""Extensions within extensions: some values at the greatest depth are packed into more than one."""


class Lifting:
    """The decoding of one value. Each buffer can be used once, so a message can't grow on the way in; and each stream,
    so that it has one reader."""

    __slots__ = ("_buffers", "_depth", "_streams")

    def __init__(self, buffers: Sequence[Data], streams: Sequence[Any] = ()) -> None:
        self._buffers: list[Data | None] = list(buffers)
        self._streams: list[Any] = list(streams)
        self._depth = 0

    def lift(self, code: int, data: memoryview) -> Any:
        """The value of an extension: msgspec's ``ext_hook``."""
        lifter = _LIFTERS.get(code)
        if self._depth >= MAX_LIFTS:
            raise Unfit(f"nested more than {MAX_LIFTS} deep")
        self._depth += 1
        value = lifter(self, data) if lifter else self._lift_extension(code, data)
        self._depth -= 1
        return value

    def unpack(self, data: memoryview) -> Any:
        """What an extension was packed into."""
        return _decode(data, ext_hook=self.lift)

    def unpack_list(self, data: memoryview) -> list[Any]:
        """The same, when it must be a list."""
        items = self.unpack(data)
        if type(items) is not list:
            raise Unfit(f"malformed: expected a list, got {type(items)}")
        return items

    def take_buffer(self, index: object) -> memoryview:
        """The buffer with this number, which nothing else may have."""
        if type(index) is not int or not 0 <= index < len(self._buffers):
            raise Unfit(f"malformed: there is no buffer {index!r}")
        buffer = self._buffers[index]
        if buffer is None:
            raise Unfit(f"malformed: buffer {index} is used twice")
        self._buffers[index] = None
        return memoryview(buffer).toreadonly()

    def take_stream(self, number: object) -> Any:
        """What stands for the stream of this channel."""
        if type(number) is not int or not 0 < number <= len(self._streams):
            raise Unfit(f"malformed: there is no stream {number!r}")
        stream, self._streams[number - 1] = self._streams[number - 1], None
        if stream is None:
            raise Unfit(f"malformed: stream {number} is used twice")
        return stream

    def _lift_extension(self, code: int, data: memoryview) -> Any:
        if code in NUMPY_CODES:
            _need_numpy()
        extension = REGISTRY.for_code(code)
        if extension is None:
            raise Unfit(f"it has a type (number {code}) that this version of labc doesn't know")
        return _unpacked(extension, self.unpack(data))


def lift_without_buffers(code: int, data: memoryview) -> Any:
    """`Lifting.lift` for a value that has no buffers beside it."""
    return Lifting(()).lift(code, data)


def _need_numpy() -> None:
    try:
        from labc.wire import arrays
    except ImportError:
        raise Unfit("it has a numpy array, and numpy is not installed here: install numpy") from None
    REGISTRY.add_all(arrays.EXTENSIONS)


def _unpacked(extension: Extension, packed: Any) -> Any:
    try:
        return extension.unpack(packed)
    except RecursionError:
        raise
    except Exception as error:
        raise Unfit(f"malformed {extension.name}: {error}") from error


def _lift_tuple(lifting: Lifting, data: memoryview) -> Any:
    return tuple(lifting.unpack_list(data))


def _lift_set(lifting: Lifting, data: memoryview) -> Any:
    return set(lifting.unpack_list(data))


def _lift_frozenset(lifting: Lifting, data: memoryview) -> Any:
    return frozenset(lifting.unpack_list(data))


def _lift_map(lifting: Lifting, data: memoryview) -> Any:
    pairs = lifting.unpack_list(data)
    return dict(zip(pairs[::2], pairs[1::2], strict=True))


def _lift_bytes(lifting: Lifting, data: memoryview) -> Any:
    return bytes(memoryview(lifting.unpack(data)))


def _lift_bytearray(lifting: Lifting, data: memoryview) -> Any:
    return bytearray(memoryview(lifting.unpack(data)))


def _lift_view(lifting: Lifting, data: memoryview) -> Any:
    return lifting.take_buffer(lifting.unpack(data))


def _lift_stream(lifting: Lifting, data: memoryview) -> Any:
    return lifting.take_stream(lifting.unpack(data))


def _lift_record(lifting: Lifting, data: memoryview) -> Any:
    match lifting.unpack_list(data):
        case [str(name), dict(fields)] if all(type(field) is str for field in fields):
            return classes.rebuild(name, fields)
    raise Unfit("malformed: an object without a class name and fields")


def _lift_enum(lifting: Lifting, data: memoryview) -> Any:
    match lifting.unpack_list(data):
        case [str(name), value]:
            return classes.rebuild_enum(name, value)
    raise Unfit("malformed: an enum member without a class name and a value")


def _lift_plugin(lifting: Lifting, data: memoryview) -> Any:
    match lifting.unpack_list(data):
        case [str(name), packed]:
            extension = REGISTRY.for_name(name)
            if extension is None:
                problems = "".join(f"; {problem}" for problem in REGISTRY.problems)
                raise Unfit(f"it has a {name!r}, and no codec plug-in for that is installed here{problems}")
            return _unpacked(extension, packed)
    raise Unfit("malformed: an extension without a name and a value")


_LIFTERS: Final[dict[int, Callable[[Lifting, memoryview], Any]]] = {
    TUPLE: _lift_tuple,
    SET: _lift_set,
    FROZENSET: _lift_frozenset,
    MAP: _lift_map,
    BYTES: _lift_bytes,
    BYTEARRAY: _lift_bytearray,
    VIEW: _lift_view,
    RECORD: _lift_record,
    ENUM: _lift_enum,
    PLUGIN: _lift_plugin,
    STREAM: _lift_stream,
}
