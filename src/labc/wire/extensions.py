"""The types that the codec carries beyond those of msgpack: a registry that plug-ins can add to.

A plug-in offers an `Extension`, or several in a list or tuple, under the entry point group ``labc.codec``::

    [project.entry-points."labc.codec"]
    mylab = "mylab.carrying:EXTENSIONS"

Plug-ins are loaded when a type, or a name on the wire, is met that labc itself doesn't know; never at import.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

ENTRY_POINT_GROUP: Final = "labc.codec"


@dataclass(frozen=True, slots=True)
class Extension:
    """How the values of one type are carried."""

    name: str
    """The type's name on the wire, the same everywhere: ``"mylab.Spectrum"``."""

    type: type
    """Values of this class and its subclasses are packed with it."""

    pack: Callable[[Any], Any]
    """From a value to anything that the codec carries: numbers, text, lists, arrays, a `Buffer`."""

    unpack: Callable[[Any], Any]
    """From what ``pack`` gave back to a value. It is given data from the network: it must not trust it.
    Whatever it raises becomes a CarryError."""

    code: int | None = None
    """For labc's own: a number that takes the place of the name on the wire."""


@dataclass(frozen=True, slots=True)
class Buffer:
    """Contiguous bytes to be sent without a copy. ``unpack`` gets them as bytes or a read-only memoryview."""

    view: memoryview


class Registry:
    """Finds extensions by type when packing, by name or code when unpacking."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        """Why plug-ins could not be loaded."""
        self._by_type: dict[type, Extension] = {}
        self._by_name: dict[str, Extension] = {}
        self._by_code: dict[int, Extension] = {}
        self._loaded = False

    def add(self, extension: Extension) -> None:
        """Make a type known. Adding the same one again changes nothing.

        Raises:
            ValueError: another extension has the name.
        """
        known = self._by_name.setdefault(extension.name, extension)
        if known is not extension and known != extension:
            raise ValueError(f"the codec name {extension.name!r} is taken by {known.type}")
        self._by_type[extension.type] = extension
        if extension.code is not None:
            self._by_code[extension.code] = extension

    def for_type(self, cls: type) -> Extension | None:
        """The extension for the nearest of the type's base classes, among those known so far."""
        return next((self._by_type[base] for base in cls.__mro__ if base in self._by_type), None)

    def for_code(self, code: int) -> Extension | None:
        """The extension of ours with this number."""
        return self._by_code.get(code)

    def for_name(self, name: str) -> Extension | None:
        """The extension with this name, from a plug-in if need be."""
        if name not in self._by_name:
            self.load_plugins()
        return self._by_name.get(name)

    def load_plugins(self) -> None:
        """Load what is installed, once."""
        if self._loaded:
            return
        self._loaded = True
        from importlib.metadata import entry_points  # takes long to import

        for entry_point in entry_points(group=ENTRY_POINT_GROUP):
            try:
                offered = entry_point.load()
                for extension in (offered,) if isinstance(offered, Extension) else tuple(offered):
                    self.add(extension)
            except Exception as error:  # a broken plug-in must not break calls that don't need it
                self.problems.append(f"codec plug-in {entry_point.name!r}: {type(error).__name__}: {error}")

    def add_all(self, extensions: Iterable[Extension]) -> None:
        """Make several types known."""
        for extension in extensions:
            self.add(extension)


REGISTRY: Final = Registry()
"""The one that the codec uses."""


def register(extension: Extension) -> None:
    """Teach the codec of this process a type. Both sides need it: see the entry points above.

    Raises:
        ValueError: another extension has the name.
    """
    REGISTRY.add(extension)
