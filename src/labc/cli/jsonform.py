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
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

from labc import Record


def to_json(value: Any) -> Any:
    """The value, made of None, bool, int, float, str, list and dict only."""
    if isinstance(value, Enum):
        return to_json(value.value)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {_key(key): to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, range)):
        return [to_json(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return [to_json(item) for item in _sorted(value)]
    return _scalar(value)


def _scalar(value: Any) -> Any:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode()
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, (Decimal, UUID, PurePath)):
        return str(value)
    if isinstance(value, complex):
        return [to_json(value.real), to_json(value.imag)]
    return _compound(value)


def _compound(value: Any) -> Any:
    if isinstance(value, Record):
        return to_json(value.fields)
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
