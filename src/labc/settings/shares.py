"""PURE. The setting ``shares``: folders that others may reach by a name, and what they may do there."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from labc.settings.kinds import EntryError, Kind, boolean

_NAME = re.compile(r"[^\W_][\w.-]{0,63}")
_NO_PATH = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""What is in no path that somebody wrote on purpose, and can't be shown as text."""

_EXPECTED_NAME = 'expected a name of at most 64 letters, digits, "-", "_" and ".", the first a letter or a digit'
_EXPECTED_SHARE = 'expected a table, like {path = "/var/log/rig", write = true}'
_EXPECTED_WORD = (
    'expected after a path "read", "write" or "open", or one of them with "no-" before it; a path with a comma in it '
    "can stand in a file only"
)


@dataclass(frozen=True, slots=True)
class Share:
    """A folder of this computer that others may reach."""

    path: str
    """Of loaded settings a full one. Whether there is such a folder is not looked at here."""
    read: bool = True
    """Whether others may list and read what is in it."""
    write: bool = False
    """Whether others may change it."""
    open: bool = False
    """Whether nodes of other hosts may use it on a network without a key, where anybody may be one."""


def is_share_name(text: str) -> bool:
    """Letters, digits, ``-``, ``_`` and ``.``, at most 64; the first is a letter or a digit."""
    return _NAME.fullmatch(text) is not None


def named_folders(full_path: Callable[[str, Path], str]) -> Kind:
    """Of names with a table each. A text has them with ``=`` and the path, commas between, and words after a path.

    ``full_path`` makes a path full, of which a relative one counts from a folder; a ValueError of it says why not.
    """

    def check(value: Any) -> dict[str, Share]:
        if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
            raise ValueError
        return {name: _share(name, entry) for name, entry in value.items()}

    def locate(value: Mapping[str, Share], folder: Path) -> dict[str, Share]:
        found = {}
        for name, share in value.items():
            try:
                found[name] = replace(share, path=full_path(share.path, folder))
            except ValueError as error:
                raise EntryError(name, share.path, str(error), key="path") from None
        return found

    return Kind(
        'names with a table each, like {logs = {path = "/var/log/rig", write = true}}, or logs=/var/log/rig,write',
        check,
        _parse,
        locate,
    )


def _parse(text: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    name = ""
    for part in filter(None, (part.strip() for part in text.split(","))):
        first, equals, path = part.partition("=")
        if equals:
            name = first.strip()
            if name in found:
                raise ValueError
            found[name] = {"path": path.strip()}
        elif found:  # a word on the same share
            word = part.removeprefix("no-")
            if word not in _KEYS or word in found[name]:
                raise EntryError(name, part, _EXPECTED_WORD)
            found[name][word] = word == part
        else:
            raise ValueError
    return found


def _share(name: str, entry: Any) -> Share:
    if isinstance(entry, Share):
        entry = asdict(entry)
    if not is_share_name(name):
        raise EntryError(name, entry, _EXPECTED_NAME)
    if not isinstance(entry, Mapping):
        raise EntryError(name, entry, _EXPECTED_SHARE)
    found = {}
    for key, value in entry.items():
        if key not in _KEYS:
            raise EntryError(name, value, f"no such key of a share{_hint(str(key))}", key=str(key))
        try:
            found[key] = _KEYS[key].check(value)
        except ValueError:
            raise EntryError(name, value, f"expected {_KEYS[key].expected}", key=key) from None
    if "path" not in found:
        raise EntryError(name, entry, 'expected a path in it, like path = "/var/log/rig"')
    return Share(**found)


def _path() -> Kind:
    def check(value: Any) -> str:
        text = os.fspath(value) if isinstance(value, os.PathLike) else value
        if not isinstance(text, str) or not text.strip() or _NO_PATH.search(text):
            raise ValueError
        return text

    return Kind('the path of a folder, like "/var/log/rig", "~/logs" or "logs"', check, str)


_KEYS = {"path": _path(), "read": boolean(), "write": boolean(), "open": boolean()}


def _hint(key: str) -> str:
    import difflib  # for what has gone wrong only

    near = difflib.get_close_matches(key.lower(), _KEYS, n=1, cutoff=0.7)
    return f"; did you mean {near[0]}?" if near else f", which has {', '.join(_KEYS)}"
