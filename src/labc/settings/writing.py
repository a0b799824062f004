"""PURE. The text of a settings file: a new one, and one with a value changed. Comments and layout stay."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from typing import Any

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
    """A setting's value as it stands in a file. JSON's texts and numbers are TOML's, too."""
    return json.dumps(value, ensure_ascii=False)


def with_value(text: str, key: str, value: Any) -> str:
    """The file's text with this key set, in the place of the template's comment if it is there."""
    import tomlkit

    document = tomlkit.parse(text)
    if key in document:
        document[key] = value
        return tomlkit.dumps(document)
    lines = text.splitlines(keepends=True)
    for number, line in enumerate(lines):
        if line.startswith(f"#{key} ="):
            lines[number] = f"{key} = {toml(value)}\n"
            return "".join(lines)
    # Before the first table: behind its head, the key would be the table's.
    begin = next((number for number, line in enumerate(lines) if line.lstrip().startswith("[")), len(lines))
    if begin and not lines[begin - 1].endswith("\n"):
        lines[begin - 1] += "\n"
    lines.insert(begin, f"{key} = {toml(value)}\n")
    return "".join(lines)


def without_value(text: str, key: str) -> str:
    """The same with this key not set."""
    import tomlkit

    document = tomlkit.parse(text)
    if key in document:
        del document[key]
    return tomlkit.dumps(document)
