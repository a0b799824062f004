"""Values of classes that this process doesn't have."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any


class Record:
    """A dataclass or msgspec.Struct whose class is not here, or has other fields here.

    Its fields are its attributes. It can be passed on, and is the original again where the class is known.
    Read-only; hashable if its fields are.
    """

    __slots__ = ("fields", "type_name")

    type_name: str
    """``module:qualname`` of the class at the sender."""

    fields: Mapping[str, Any]
    """The fields by name, in the sender's order."""

    def __init__(self, type_name: str, fields: Mapping[str, Any]) -> None:
        object.__setattr__(self, "type_name", type_name)
        object.__setattr__(self, "fields", MappingProxyType(dict(fields)))

    def __getattr__(self, name: str) -> Any:
        # Reached for `fields` itself only when a copier asks an object that has none yet.
        if name != "fields" and name in self.fields:
            return self.fields[name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a {type(self).__name__} is read-only")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a {type(self).__name__} is read-only")

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.fields]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Record):
            return NotImplemented
        return self.type_name == other.type_name and self.fields == other.fields

    def __hash__(self) -> int:
        return hash((self.type_name, frozenset(self.fields.items())))

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.fields.items())
        return f"<Record {self.type_name}({shown})>"

    def __reduce__(self) -> tuple[Any, ...]:
        return Record, (self.type_name, dict(self.fields))
