"""PURE. Where a file is, as users write it and as it travels: ``logs:2026/run.log``, always below its share.

A path within a share is the names of folders and the file, with ``/`` between, whatever the systems on both sides are.
It has no root and no way up, so that it can't lead out of the share; what else could (links, for one) only who opens it
can see: see :mod:`labc.files.folder`.
"""

from __future__ import annotations

import hashlib
import os
import re
from typing import NamedTuple

from labc.errors import FilesError
from labc.settings import is_share_name

MAX_BYTES = 4096
"""Of a path, in UTF-8: what Linux takes."""
UNFINISHED = ".labc-part-"
"""With which the names begin of what is on its way in. They are nobody's to list, to read or to write."""

_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])\s*(\.|$)", re.IGNORECASE)
_NOT_ON_WINDOWS = re.compile(r'[<>:"|?*\\\x00-\x1f]')


class Place(NamedTuple):
    """A path, or a pattern, within a share."""

    share: str
    path: str
    """Empty: the share itself."""
    inside: bool = False
    """Whether what is in the folder of this path is meant, and not the folder: it ends with a slash, or is empty."""

    def __str__(self) -> str:
        return f"{self.share}:{self.path}"


def place(text: str) -> Place:
    """What ``logs:2026/run.log`` means; one slash after the colon changes nothing.

    Raises:
        FilesError: it is no such text; says what is wrong. The path is not checked, as it may be a pattern.
    """
    share, colon, path = text.partition(":")
    if not colon:
        raise FilesError(f"{text!r}: expected a share and a path in it, like 'logs:2026/run.log', or 'logs:'")
    if not is_share_name(share):
        raise FilesError(f"{text!r}: {share!r} is not the name of a share")
    path = path.removeprefix("/")
    return Place(share, path.removesuffix("/"), not path or path.endswith("/"))


def checked(path: str, *, windows: bool) -> tuple[str, ...]:
    """The names in a path, none for the share itself; ``windows``: for a system where more is not possible.

    Raises:
        FilesError: it leads out of the share, or could; says how.
    """
    if not path:
        return ()
    names = tuple(path.split("/"))
    problem = next(filter(None, (_problem(name, windows) for name in names)), None)
    if problem is None and _size(path) > MAX_BYTES:
        problem = f"it is longer than {MAX_BYTES} bytes"
    if problem is not None:
        raise FilesError(f"the path {shown(path)} is refused: {problem}")
    return names


def unfinished(path: str, ending: str) -> str:
    """The name beside a file's place under which it is written until it is complete; the same whenever it is tried."""
    return f"{UNFINISHED}{hashlib.blake2b(os.fsencode(path), digest_size=8).hexdigest()}.{ending}"


def shown(path: str) -> str:
    """For a message: quoted, and not endless."""
    return repr(path if len(path) <= 200 else f"{path[:200]}…")


def _problem(name: str, windows: bool) -> str | None:
    if not name:
        return "it begins or ends with a slash, or has two of them together"
    if name in (".", ".."):
        return f"it has {name!r} in it"
    if "\0" in name:
        return "it has a null character in it"
    if name.startswith(UNFINISHED):
        return f"names that begin with {UNFINISHED!r} are those of files on their way"
    if windows:
        if found := _NOT_ON_WINDOWS.search(name):
            return f"Windows has no names with {found[0]!r}"
        if name.endswith((" ", ".")):
            return f"Windows has no names that end with {name[-1]!r}"
        if _DEVICE.match(name):
            return f"{name!r} is the name of a device of Windows"
    return None


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogateescape"))
