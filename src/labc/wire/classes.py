"""Dataclasses, Structs and Enums: their fields on the way out, their classes on the way in.

Nothing is imported because the network names it: a class is looked up among the modules that are loaded, and must
be what it is taken for. Of its own code only the ``__post_init__`` of a Struct and the ``_missing_`` of an Enum run.
"""

from __future__ import annotations

import dataclasses
import sys
from enum import Enum
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

import msgspec

from labc.wire.records import Record

_field_names: WeakKeyDictionary[type, tuple[str, ...]] = WeakKeyDictionary()


def type_name(cls: type) -> str:
    """The name of a class on the wire."""
    return f"{cls.__module__}:{cls.__qualname__}"


def field_names(cls: type) -> tuple[str, ...]:
    """The declared fields of a dataclass or Struct."""
    names = _field_names.get(cls)
    if names is None:
        if issubclass(cls, msgspec.Struct):
            names = cls.__struct_fields__
        else:
            names = tuple(field.name for field in dataclasses.fields(cls))  # type: ignore[arg-type]
        _field_names[cls] = names
    return names


def rebuild(name: str, fields: dict[str, Any]) -> Any:
    """The object of that class with these fields, or a `Record` if the class is not here or has others.

    A dataclass is rebuilt as pickle would, without ``__init__`` and ``__post_init__``. A Struct can only be made by
    its constructor, so its ``__post_init__`` runs; it is a Record if that raises.
    A class with ``__del__`` stays a Record: whatever that cleans up is not here.
    """
    cls = _find(name)
    if cls is None or hasattr(cls, "__del__"):
        return Record(name, fields)
    is_struct = issubclass(cls, msgspec.Struct)
    if not (is_struct or dataclasses.is_dataclass(cls)) or fields.keys() != set(field_names(cls)):
        return Record(name, fields)
    try:
        return cls(**fields) if is_struct else _rebuild_dataclass(cls, fields)
    except Exception:
        return Record(name, fields)


def rebuild_enum(name: str, value: Any) -> Any:
    """The member with that value, or the value itself if the class or the member is not here."""
    cls = _find(name)
    if cls is None or not issubclass(cls, Enum):
        return value
    try:
        return cls(value)
    except Exception:
        return value


def _rebuild_dataclass(cls: type, fields: dict[str, Any]) -> object:
    instance: object = object.__new__(cls)
    for name, value in fields.items():
        object.__setattr__(instance, name, value)
    return instance


def _find(name: str) -> type | None:
    """The class of that name in the loaded modules.

    Looks into ``__dict__`` only: ``getattr`` would run the ``__getattr__`` of modules that import on demand.
    """
    module_name, _, qualname = name.partition(":")
    found: Any = sys.modules.get(module_name)
    if not isinstance(found, ModuleType):
        return None
    for part in qualname.split("."):
        if isinstance(found, ModuleType):
            found = object.__getattribute__(found, "__dict__").get(part)
        elif isinstance(found, type):
            found = type.__getattribute__(found, "__dict__").get(part)
        else:
            return None
    return found if isinstance(found, type) and type_name(found) == name else None
