"""PURE. The kinds of values that settings have: what fits, and how it is read from a text."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

_UNITS = {"": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}

_LONGEST = 1e9
"""Some thirty years, in seconds. Clocks and timers of the system fail at much longer ones."""
_MOST = 1 << 62


def _without_paths(value: Any, folder: Path) -> Any:
    return value


@dataclass(frozen=True, slots=True)
class Kind:
    """``check`` returns the value as it is to be used, ``parse`` reads one from a text; a ValueError says no."""

    expected: str
    check: Callable[[Any], Any]
    parse: Callable[[str], Any]
    locate: Callable[[Any, Path], Any] = _without_paths
    """What was checked, with full paths; relative ones count from that folder. A ValueError says no."""


class EntryError(ValueError):
    """An entry of a table, or a key of that entry, is the mistake; its text says which, and what was expected."""

    def __init__(self, entry: str, value: Any, expected: str, *, key: str = "") -> None:
        self.names = (entry, key) if key else (entry,)
        name = f'"{entry}".{key}' if key else f'"{entry}"'
        shown = f'"{value}"' if isinstance(value, str) else repr(value)
        super().__init__(f"{name}: {expected}" if isinstance(value, Mapping) else f"{name} = {shown}: {expected}")


def seconds(lowest: float = 0) -> Kind:
    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not lowest <= value <= _LONGEST:
            raise ValueError
        return float(value)

    return Kind(f"seconds, from {lowest:g} to 1e9", check, float)


def number(lowest: float, highest: float) -> Kind:
    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not lowest <= value <= highest:
            raise ValueError
        return float(value)

    return Kind(f"a number from {lowest:g} to {highest:g}", check, float)


def whole_number(lowest: int) -> Kind:
    return Kind(f"a whole number, {lowest} or more", lambda value: _integer(value, lowest, _MOST), int)


def port() -> Kind:
    return Kind("a port from 1 to 65532, or 0 for the default", lambda value: _integer(value, 0, 65532), int)


def size() -> Kind:
    """In bytes; a text may have a unit."""

    def parse(text: str) -> int:
        match = re.fullmatch(r"\s*([0-9]{1,30}(?:\.[0-9]{1,30})?)\s*([a-z]*)\s*", text.lower())
        if match is None or match[2] not in _UNITS:
            raise ValueError
        return int(Decimal(match[1]) * _UNITS[match[2]])

    def check(value: Any) -> int:
        return _integer(parse(value) if isinstance(value, str) else value, 1, _MOST)

    return Kind('a number of bytes, or a text like "64 MiB"', check, parse)


def name(max_bytes: int, *, empty: bool) -> Kind:
    def check(value: Any) -> str:
        if not isinstance(value, str) or not value.isprintable() or not (value or empty):
            raise ValueError
        if len(value.encode(errors="surrogatepass")) > max_bytes:
            raise ValueError
        return value

    least = "" if empty else " at least one letter and"
    return Kind(f"printable text of{least} at most {max_bytes} bytes", check, str)


def choice(*options: str) -> Kind:
    def check(value: Any) -> str:
        if value not in options:
            raise ValueError
        return str(value)

    return Kind(" or ".join(map(repr, options)), check, str)


def table() -> Kind:
    """Of names with a text each; a text has them with ``=``, and commas between."""

    def check(value: Any) -> dict[str, str]:
        if not isinstance(value, Mapping) or not all(_is_name(text) for pair in value.items() for text in pair):
            raise ValueError
        return dict(value)

    def parse(text: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for part in filter(None, (part.strip() for part in text.split(","))):
            name, equals, value = part.partition("=")
            if not equals or name.strip() in found:
                raise ValueError
            found[name.strip()] = value.strip()
        return found

    return Kind(
        'names and what they stand for, like {bench = "computer1"}, or bench=computer1,nas=10.0.0.5', check, parse
    )


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value.isprintable() and bool(value.strip())


def boolean() -> Kind:
    words = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}

    def check(value: Any) -> bool:
        if not isinstance(value, bool):
            raise ValueError
        return value

    def parse(text: str) -> bool:
        if text.strip().lower() not in words:
            raise ValueError
        return words[text.strip().lower()]

    return Kind("true or false", check, parse)


def list_of(kind: Kind, max_items: int) -> Kind:
    """A TOML array, any sequence, or a text with commas; used as a tuple, each value in it once."""

    def check(values: Any) -> tuple[Any, ...]:
        if not isinstance(values, list | tuple) or len(values) > max_items:
            raise ValueError
        return tuple(dict.fromkeys(kind.check(value) for value in values))

    def parse(text: str) -> list[Any]:
        text = text.strip().removeprefix("[").removesuffix("]")
        return [kind.parse(part.strip().strip("\"'")) for part in text.split(",") if part.strip()]

    return Kind(f"a list of at most {max_items}, each {kind.expected}", check, parse)


def text_of(read: Callable[[str], object], expected: str) -> Kind:
    """A text that ``read`` understands; a ValueError of it says no."""

    def check(value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError
        read(value)
        return value.strip()

    return Kind(expected, check, str)


def _integer(value: Any, lowest: int, highest: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
        raise ValueError
    return value
