"""PURE. Any value that labc carries, in the types of JSON.

======================================  =====================================================
value                                   its JSON
======================================  =====================================================
None, bool, int, float, str, list       themselves; nan and infinities: the text of them
tuple, set, frozenset, range            an array; sets sorted, where that is possible
dict                                    an object; keys that are no text become their text
bytes, bytearray, memoryview            base64 text
datetime, date, time                    ISO 8601 text
timedelta                               seconds
Decimal, UUID, Path                     text
complex                                 [real, imaginary]
Enum                                    its value
dataclass, msgspec.Struct, Record       an object of its fields
numpy array, numpy scalar               nested arrays, a number; complex numbers as above
anything else                           what repr() says
======================================  =====================================================
"""

from __future__ import annotations

import base64
import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from types import NoneType
from typing import Any
from uuid import UUID

from labc import Record


def to_json(value: Any) -> Any:
    """The value, made of None, bool, int, float, str, list and dict only."""
    for types, form in _FORMS:
        if isinstance(value, types):
            return form(value)
    if dataclasses.is_dataclass(value):
        return {field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if names := getattr(type(value), "__struct_fields__", None):
        return {name: to_json(getattr(value, name)) for name in names}
    if is_array(value):
        return to_json(value.tolist())
    return repr(value)


def is_array(value: Any) -> bool:
    """Whether it is an array or a scalar of numpy, which need not be installed."""
    return type(value).__module__ == "numpy" and hasattr(value, "tolist")


def _key(key: Any) -> str:
    form = to_json(key)
    return form if isinstance(form, str) else str(form)


def _sorted(items: set[Any] | frozenset[Any]) -> list[Any]:
    try:
        return sorted(items)
    except TypeError:
        return list(items)


def _number(value: float) -> float | str:
    return float(value) if math.isfinite(value) else str(value)


def _array(items: Iterable[Any]) -> list[Any]:
    return [to_json(item) for item in items]


_FORMS: tuple[tuple[type | tuple[type, ...], Callable[[Any], Any]], ...] = (
    (Enum, lambda value: to_json(value.value)),
    ((NoneType, bool, int, str), lambda value: value),
    (float, _number),
    (Mapping, lambda value: {_key(key): to_json(item) for key, item in value.items()}),
    ((list, tuple, range), _array),
    ((set, frozenset), lambda value: _array(_sorted(value))),
    ((bytes, bytearray, memoryview), lambda value: base64.b64encode(value).decode()),
    ((datetime, date, time), lambda value: value.isoformat()),
    (timedelta, lambda value: value.total_seconds()),
    ((Decimal, UUID, PurePath), str),
    (complex, lambda value: _array((value.real, value.imag))),
    (Record, lambda value: to_json(value.fields)),
)
"""Types and how they become JSON; the first that fits."""
