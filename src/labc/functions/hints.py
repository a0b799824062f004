"""From a type hint to what checks a value against it, and converts the value where that loses nothing.

msgspec does it at C speed for what JSON can say. It knows nothing of numpy's scalars, refuses members of an Enum
(it expects their values), and no union with a type that it does not know: what it refuses is looked at once more.
"""

from __future__ import annotations

import inspect
import sys
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, MutableMapping, MutableSequence, Sequence, Set
from enum import Enum
from pathlib import PurePath
from typing import Any

import msgspec

Convert = Callable[[Any], Any]

_SEQUENCES: dict[Any, tuple[type, ...]] = {
    list: (list, tuple, set, frozenset),
    tuple: (list, tuple),
    set: (list, tuple, set, frozenset),
    frozenset: (list, tuple, set, frozenset),
    Sequence: (list, tuple),
    MutableSequence: (list,),
    Collection: (list, tuple, set, frozenset),
    Iterable: (list, tuple, set, frozenset),
    Set: (set, frozenset),
}
"""What is taken for a hint of this kind. An abstract kind leaves the value's own type."""

_MAPPINGS = (dict, Mapping, MutableMapping)
_NATIVE = (bytes, bytearray, memoryview)
"""Never made from text: msgspec would take it for base64."""


class Unsuitable(Exception):
    """A value does not fit a hint. ``detail`` says more where the types alone do not tell."""

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail)
        self.detail = detail


def converter(hint: Any) -> Convert | None:
    """What returns the value as the function shall get it, or raises `Unsuitable`; None where any value will do."""
    if _takes_anything(hint):
        return None
    if not _is_understood(hint):
        return _adapted(hint)

    def convert(value: Any) -> Any:
        if _is_one(value, hint):
            return value
        try:
            converted = _by_msgspec(value, hint)
        except msgspec.ValidationError as error:
            try:
                return _adapt(value, hint)
            except Unsuitable:
                raise Unsuitable(_detail(str(error))) from None
        except Exception as error:  # of the class that was to be made
            raise Unsuitable(f"{type(error).__name__}: {error}") from error
        return _adapt(value, hint) if _lost_its_type(value, converted, hint) else converted

    return convert


def shown(hint: Any) -> str:
    """The hint as one writes it."""
    if hint is type(None):
        return "None"
    return hint if isinstance(hint, str) else inspect.formatannotation(hint)


def _adapted(hint: Any) -> Convert | None:
    """For a hint that msgspec has no notion of."""
    origin = typing.get_origin(hint) or hint
    if not (isinstance(origin, type) or origin is typing.Union):
        return None

    def convert(value: Any) -> Any:
        try:
            return _adapt(value, hint)
        except (Unsuitable, RecursionError):
            raise
        except Exception as error:
            raise Unsuitable(f"{type(error).__name__}: {error}") from error

    return convert


def _by_msgspec(value: Any, hint: Any) -> Any:
    return msgspec.convert(value, hint, strict=True, from_attributes=True, builtin_types=_NATIVE)


def _is_understood(hint: Any) -> bool:
    """Whether msgspec knows the hint."""
    try:
        _by_msgspec(None, hint)
    except msgspec.ValidationError:
        return True
    except Exception:
        return False
    return True


def _takes_anything(hint: Any) -> bool:
    if hint in (Any, object, inspect.Parameter.empty) or isinstance(hint, (typing.TypeVar, typing.ParamSpec)):
        return True
    return bool(getattr(typing.get_origin(hint) or hint, "_is_protocol", False))


def _lost_its_type(value: Any, converted: Any, hint: Any) -> bool:
    """msgspec makes a list of what is a tuple for ``Sequence``."""
    return type(value) is not type(converted) and (typing.get_origin(hint) or hint) in _SEQUENCES.keys() - {
        list,
        tuple,
        set,
        frozenset,
    }


def _is_one(value: Any, hint: Any) -> bool:
    """Whether it is an instance of the class that the hint is. (A bool is meant for no number, though it is one.)"""
    if not isinstance(hint, type) or typing.get_origin(hint) is not None or typing.is_typeddict(hint):
        return False
    return isinstance(value, hint) and not (isinstance(value, bool) and hint is not bool)


def _adapt(value: Any, hint: Any) -> Any:
    """The value as one of this hint. Raises Unsuitable."""
    if _takes_anything(hint):
        return value
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _adapt(value, args[0])
    if origin in (typing.Union, types.UnionType):
        return _adapt_union(value, args)
    kind = origin or hint
    if kind in _SEQUENCES:
        return _adapt_items(value, kind, args)
    if kind in _MAPPINGS:
        return _adapt_mapping(value, args)
    return _adapt_leaf(value, hint, kind)


def _adapt_union(value: Any, hints: tuple[Any, ...]) -> Any:
    """As the first that it is one of already, else the first that it can be made into."""
    exact = [hint for hint in hints if type(value) is (typing.get_origin(hint) or hint)]
    for hint in [*exact, *hints]:
        try:
            return _adapt(value, hint)
        except Unsuitable:
            continue
    raise Unsuitable


def _adapt_items(value: Any, kind: Any, args: tuple[Any, ...]) -> Any:
    if not isinstance(value, _SEQUENCES[kind]):
        if kind in (list, tuple, set, frozenset) or not isinstance(value, kind) or isinstance(value, (str, bytes)):
            raise Unsuitable
        return value  # a range, a view of a dict
    items: Any = value
    made: Any = kind if kind in (list, tuple, set, frozenset) else type(value)
    if not args:
        return made(items)
    hints = [args[0]] * len(items)
    if kind is tuple and not (len(args) == 2 and args[1] is Ellipsis):
        if len(args) != len(items):
            raise Unsuitable
        hints = list(args)
    return made([_adapt(item, hint) for item, hint in zip(items, hints, strict=True)])


def _adapt_mapping(value: Any, args: tuple[Any, ...]) -> Any:
    if not isinstance(value, dict):
        raise Unsuitable
    if not args:
        return value
    return {_adapt(key, args[0]): _adapt(item, args[1]) for key, item in value.items()}


def _adapt_leaf(value: Any, hint: Any, kind: Any) -> Any:
    if _is_one(value, kind):
        return value
    value = _without_numpy(value, kind)
    if isinstance(kind, type) and not typing.is_typeddict(kind):
        if _is_one(value, kind):
            return value
        number = isinstance(value, (int, float, complex)) and not isinstance(value, bool)
        if number and (kind is complex or (_is_numpy(kind) and kind(value) == value)):
            return kind(value)
        if issubclass(kind, PurePath) and isinstance(value, str):
            return kind(value)
        if not issubclass(kind, Enum) and isinstance(value, Enum):
            raise Unsuitable
    if not _is_understood(hint):
        raise Unsuitable
    try:
        return _by_msgspec(value, hint)
    except msgspec.ValidationError as error:
        raise Unsuitable(_detail(str(error))) from None


def _is_numpy(kind: type) -> bool:
    """Whether it is the type of numpy's numbers."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and issubclass(kind, numpy.number)


def _without_numpy(value: Any, kind: Any) -> Any:
    """A numpy scalar as the Python number or text that a hint like ``int`` means."""
    numpy = sys.modules.get("numpy")
    if numpy is None or not isinstance(value, numpy.generic) or value.dtype.kind not in "biufcSU":
        return value
    return value if isinstance(kind, type) and issubclass(kind, numpy.generic) else value.item()


def _detail(text: str) -> str:
    """What msgspec says beyond the types at the top."""
    return "" if text.startswith("Expected `") and " - at " not in text and "length" not in text else text
