"""PURE. The text of a settings file: a new one, and one with a value changed. Comments and layout stay."""

from __future__ import annotations

import textwrap
import tomllib
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import tomlkit
from tomlkit.items import Item

from labc.settings.shares import Share

_INTRODUCTION = """\
# Settings of labc. What stands behind a # is the default: take the # away to set it.
# Times are seconds, sizes are bytes (or texts like "64 MiB").
"""
_WIDTH = 100


def template(explained: Mapping[str, str], defaults: Mapping[str, Any]) -> str:
    """A file that sets nothing, and explains everything."""
    parts = [_INTRODUCTION]
    for key, doc in explained.items():
        lines = textwrap.wrap(doc.replace("`", ""), _WIDTH, initial_indent="# ", subsequent_indent="# ")
        parts.append("\n".join([*lines, f"#{key} = {toml(defaults[key])}\n"]))
    return "\n".join(parts)


def toml(value: Any) -> str:
    """A setting's value as it stands in a file."""
    text: str = _inline(_plain(value)).as_string()
    return text


def _plain(value: Any) -> Any:
    """A setting's value in the types of TOML."""
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return asdict(value) if isinstance(value, Share) else value


def with_value(text: str, key: str, value: Any) -> str:
    """The file's text with this key set, in the place of the template's comment if it is there.

    Raises:
        ValueError: the text is not TOML, or it is not clear where the key belongs.
    """
    value = _plain(value)
    expected = {**tomllib.loads(text.replace("\r\n", "\n")), key: value}
    document = tomlkit.parse(text)
    if key not in document:
        commented, line = f"#{key} = ", f"{key} = {toml(value)}"
        lines = text.split("\n")
        for number, old in enumerate(lines):
            if old.startswith(commented):
                lines[number] = line + ("\r" if old.endswith("\r") else "")
                if _says("\n".join(lines), expected):  # it was no part of a longer text
                    return "\n".join(lines)
                lines[number] = old
    document[key] = value
    for changed in (tomlkit.dumps(document), f"{key} = {toml(value)}\n{text}"):
        if _says(changed, expected):
            return changed
    raise ValueError("it is not clear where in the file it belongs")


def without_value(text: str, key: str) -> str:
    """The same with this key not set. Raises ValueError: the text is not TOML."""
    document = tomlkit.parse(text)
    if key in document:
        del document[key]
    return tomlkit.dumps(document)


def _inline(value: Any) -> Item:
    if not isinstance(value, dict):
        item: Item = tomlkit.item(value)
        return item
    table = tomlkit.inline_table()
    for key, each in value.items():
        table.append(key, _inline(each))
    return table


def _says(text: str, expected: Mapping[str, Any]) -> bool:
    try:
        return tomllib.loads(text.replace("\r\n", "\n")) == expected
    except ValueError:
        return False
