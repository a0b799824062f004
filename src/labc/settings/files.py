"""The files that settings come from: one of the user's, and one of the folder in which a program is."""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labc.errors import SettingsError

FILE = "labc.toml"
_BOM = "\ufeff"
"""With which editors of Windows begin a file."""


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


def state_folder(environment: Mapping[str, str] | None = None) -> Path | None:
    """Where labc keeps what it has learnt for this user, whether the folder is there or not: in ``$XDG_STATE_HOME`` or
    ``~/.local/state``, on macOS in ``~/Library/Application Support``, on Windows in ``%LOCALAPPDATA%``. None: this user
    has no home."""
    environment = os.environ if environment is None else environment
    if folder := environment.get("XDG_STATE_HOME"):
        return Path(folder, "labc")
    if sys.platform == "win32":
        folder = environment.get("LOCALAPPDATA")
        return Path(folder, "labc", "state") if folder else None
    try:
        home = Path(environment["HOME"]) if environment.get("HOME") else Path.home()
    except RuntimeError:
        return None
    folders = (
        ("Library", "Application Support", "labc", "state") if sys.platform == "darwin" else (".local", "state", "labc")
    )
    return home.joinpath(*folders)


def project_file() -> Path:
    """``labc.toml`` of the folder in which this process is now, whether it is there or not."""
    return Path(FILE)


def read_text(path: Path) -> str:
    """With the line ends that it has; empty, if there is none.

    Raises:
        SettingsError: it can't be read.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except (OSError, UnicodeDecodeError) as error:
        if isinstance(error, PermissionError) and not os.access(path.parent, os.X_OK):
            return ""  # the home of another user, as for a service: nobody can tell what is there
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SettingsError(f"{path} can't be read: {reason}") from error


def entries(path: Path, text: str) -> list[Entry]:
    """What the file with this text says, in its order.

    Raises:
        SettingsError: it is not TOML; with the line.
    """
    if not text:
        return []
    import tomllib  # most programs have no such file

    text = text.removeprefix(_BOM).replace("\r\n", "\n")
    try:
        values = tomllib.loads(text)
    except RecursionError:
        raise SettingsError(f"{path}: nested too deeply") from None
    except ValueError as error:
        if second := _second(text):
            raise SettingsError(f"{path}, line {second.line}: {second.key} is set a second time") from error
        where = re.search(r" \(at (line \d+, column \d+|end of document)\)$", str(error))
        place = f"{path}, {where[1]}" if where else str(path)
        problem = str(error)[: where.start()] if where else str(error)
        raise SettingsError(f"{place}: {problem[:1].lower()}{problem[1:]}") from error
    return [Entry(key, value, _line_of(key, text)) for key, value in values.items()]


def line_of_entry(text: str, key: str, *names: str) -> int:
    """Where the last of the names stands, from 1 on; each is in the table of the one before it, the first in ``key``.
    As near as it can be told: else where that table stands, or 0."""
    wanted = (key, *names)
    found = list(_key_lines(text))
    for depth in range(len(wanted), 0, -1):
        for number, path in found:
            if path[:depth] == wanted[:depth]:
                return number
    return _line_of(key, text)


def full_path(text: str, folder: Path) -> str:
    """The path with the user's home for ``~``; a relative one counts from ``folder``. What is there does not matter.

    Raises:
        ValueError: the home or the current folder is not known; says so.
    """
    path = os.path.expanduser(text)
    if text.startswith("~") and path == text:
        raise ValueError('nobody knows this home; for a folder of that name write "./" before it')
    try:
        return str(Path(folder, path).absolute())
    except OSError:
        raise ValueError("the folder in which this program is was deleted: expected a path from the root on") from None


def replace_text(path: Path, text: str) -> None:
    """All of it or nothing. A link stays one, and who may read the file stays as well. Raises OSError."""
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = None
    with suppress(FileNotFoundError):
        mode = stat.S_IMODE(path.stat().st_mode)
        with path.open("ab"):  # it may be written
            pass
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        with draft.open("w", encoding="utf-8", newline="") as file:
            if mode is not None:
                draft.chmod(mode)
            file.write(text)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


_KEY = r"""(?:[\w-]+|"[^"]*"|'[^']*')"""
_KEYS = rf"{_KEY}(?:\s*\.\s*{_KEY})*"
_TABLE = re.compile(rf"\s*\[\s*({_KEYS})\s*\]")
_VALUE = re.compile(rf"\s*({_KEYS})\s*=")


def _key_lines(text: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    """The lines that begin a table or a value, with its name and those of the tables around it."""
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.removeprefix(_BOM).split("\n"), 1):
        if match := _TABLE.match(line):
            table = _names(match[1])
            yield number, table
        elif match := _VALUE.match(line):
            yield number, (*table, *_names(match[1]))


def _names(dotted: str) -> tuple[str, ...]:
    return tuple(key[1:-1] if key[0] in "\"'" else key for key in re.findall(_KEY, dotted))


_BEGINS = re.compile(r"""\s*(?:([\w-]+)|"([^"]*)"|'([^']*)')\s*=""")


def _second(text: str) -> Entry | None:
    """A key that is set again, if this is why the file is not TOML. The parser calls it a value overwritten, at the
    end."""
    import tomllib

    lines = text.splitlines(keepends=True)
    seen = set()
    for number, line in enumerate(lines, 1):
        if match := _BEGINS.match(line):
            key = match[1] or match[2] or match[3]
            if key in seen:
                with suppress(ValueError, RecursionError):
                    tomllib.loads("".join([*lines[: number - 1], *lines[number:]]))
                    return Entry(key, None, number)
            seen.add(key)
    return None


def _line_of(key: str, text: str) -> int:
    """The TOML parser does not tell."""
    begins = re.compile(rf"\s*\[*\s*([\"']?){re.escape(key)}\1\s*[=.\]]")
    for number, line in enumerate(text.splitlines(), 1):
        if begins.match(line):
            return number
    return 0
