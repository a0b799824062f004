"""The files that settings come from: one of the user's, and one of the folder in which a program is started."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labc.errors import SettingsError

FILE = "labc.toml"


@dataclass(frozen=True, slots=True)
class Entry:
    key: str
    value: Any
    line: int
    """Where the key stands, from 1 on; 0 if that is not clear."""


def user_file(environment: Mapping[str, str] | None = None) -> Path | None:
    """The user's own, whether it is there or not: in ``$XDG_CONFIG_HOME`` or ``~/.config``, on macOS in
    ``~/Library/Application Support``, on Windows in ``%APPDATA%``. None: this user has no home."""
    # The library platformdirs knows the same, and takes 0.9 MB and 5 ms of every node.
    environment = os.environ if environment is None else environment
    if folder := environment.get("XDG_CONFIG_HOME"):
        return Path(folder, "labc", FILE)
    if sys.platform == "win32":
        folder = environment.get("APPDATA")
        return Path(folder, "labc", FILE) if folder else None
    try:
        home = Path(environment["HOME"]) if environment.get("HOME") else Path.home()
    except RuntimeError:
        return None
    config = home / "Library" / "Application Support" if sys.platform == "darwin" else home / ".config"
    return config / "labc" / FILE


def project_file() -> Path:
    """``labc.toml`` of the folder in which this process is now, whether it is there or not."""
    return Path(FILE)


def read(path: Path) -> list[Entry]:
    """What the file says, in its order; nothing, if there is none.

    Raises:
        SettingsError: it can't be read, or is not TOML; with the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SettingsError(f"{path} can't be read: {reason}") from error
    import tomllib  # most programs have no such file

    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        if twice := _twice(text):
            raise SettingsError(f"{path}, line {twice.line}: {twice.key} is set a second time") from error
        where = re.search(r" \(at (line \d+, column \d+|end of document)\)$", str(error))
        place = f"{path}, {where[1]}" if where else str(path)
        problem = str(error)[: where.start()] if where else str(error)
        raise SettingsError(f"{place}: {problem[:1].lower()}{problem[1:]}") from error
    return [Entry(key, value, _line_of(key, text)) for key, value in values.items()]


def _twice(text: str) -> Entry | None:
    """A key of a file that is not TOML, if this is why. The parser calls it a value overwritten, at the end."""
    seen = set()
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("["):
            return None
        if match := re.match(r"\s*([\w-]+)\s*=", line):
            if match[1] in seen:
                return Entry(match[1], None, number)
            seen.add(match[1])
    return None


def _line_of(key: str, text: str) -> int:
    """The TOML parser does not tell."""
    begins = re.compile(rf"\s*\[*\s*([\"']?){re.escape(key)}\1\s*[=.\]]")
    for number, line in enumerate(text.splitlines(), 1):
        if begins.match(line):
            return number
    return 0
