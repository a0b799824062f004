"""PURE. Which files of a share are meant: a glob, or a regular expression.

Globs are those of the shell, on the path within the share: ``*`` and ``?`` stand for letters of one name, ``[a-z]`` for
one of these, ``**`` for any number of folders. A name that begins with a dot is a name like any other. Files are meant,
not folders; a path that is no glob, and names a folder, stands for all that is below it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from labc.errors import FilesError
from labc.files.paths import MAX_BYTES, shown

_MAGIC = re.compile(r"[*?[]")


class Selection:
    """The files of a share that are asked for."""

    def __init__(self, names: tuple[str, ...], whole: re.Pattern[str] | None = None) -> None:
        self._names = names
        self._whole = whole

    def takes(self, path: str) -> bool:
        """Whether a file is one of them."""
        if self._whole is not None:
            return self._whole.fullmatch(path) is not None
        return _matches(tuple(path.split("/")), self._names)

    def may_be_below(self, folder: str) -> bool:
        """Whether there can be any in this folder, or below it. Empty: the share itself."""
        if self._whole is not None or not folder:
            return True
        return _may_lead_on(tuple(folder.split("/")), self._names)


def by_glob(pattern: str) -> Selection:
    """Empty: all.

    Raises:
        FilesError: it can't match anything; says why.
    """
    if not pattern:
        return Selection(("**",))
    if len(pattern) > MAX_BYTES:
        raise FilesError(f"the pattern {shown(pattern)} is longer than {MAX_BYTES} letters")
    names = tuple(name for name, before in _with_the_one_before(pattern.split("/")) if (name, before) != ("**", "**"))
    for name in names:
        if name in ("", ".", ".."):
            raise FilesError(f"the pattern {shown(pattern)} can match nothing: {name!r} is no name")
        if "**" in name and name != "**":
            raise FilesError(f"the pattern {shown(pattern)}: '**' stands alone between slashes")
        try:
            _compiled(name)
        except ValueError:
            raise FilesError(f"the pattern {shown(pattern)}: the bracket in {name!r} is not closed") from None
    return Selection(names if is_pattern(pattern) else (*names, "**"))


def _with_the_one_before(names: list[str]) -> Iterator[tuple[str, str]]:
    return zip(names, ["", *names], strict=False)


def by_regex(expression: str) -> Selection:
    """On the whole path within the share. For one's own expressions: there are some that take for ever.

    Raises:
        FilesError: it is no regular expression; says where the mistake is.
    """
    try:
        return Selection((), re.compile(expression))
    except re.error as error:
        raise FilesError(f"the regular expression {shown(expression)}: {error}") from None


def is_pattern(text: str) -> bool:
    """Whether it stands for more than the one path that it is."""
    return _MAGIC.search(text) is not None


def fixed_part(pattern: str) -> str:
    """The folders before the first name that is a pattern: where to begin to look. All of it, if none is."""
    if not is_pattern(pattern):
        return pattern
    names = pattern.split("/")
    fixed = []
    for name in names[:-1]:
        if is_pattern(name):
            break
        fixed.append(name)
    return "/".join(fixed)


def _matches(names: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """By dynamic programming: many ``**`` cost no more than few."""
    return len(pattern) in _used_up(names, pattern)


def _may_lead_on(names: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """Whether a path that begins with these names can match."""
    return any(at < len(pattern) for at in _used_up(names, pattern))


def _used_up(names: tuple[str, ...], pattern: tuple[str, ...]) -> set[int]:
    """How many names of the pattern these may use up."""
    current = _skipped({0}, pattern)
    for name in names:
        following = set()
        for at in current:
            if at == len(pattern):
                continue
            if pattern[at] == "**":
                following.add(at)
            elif _compiled(pattern[at]).matches(name):
                following.add(at + 1)
        current = _skipped(following, pattern)
    return current


def _skipped(places: set[int], pattern: tuple[str, ...]) -> set[int]:
    """``**`` may stand for nothing."""
    found = set()
    for at in places:
        found.add(at)
        while at < len(pattern) and pattern[at] == "**":
            at += 1
            found.add(at)
    return found


class _Name:
    """One name of a glob. It is matched in a time that grows with the lengths alone, whatever stands in it: a pattern
    may be anybody's, and nothing else is done meanwhile."""

    def __init__(self, parts: list[re.Pattern[str] | None]) -> None:
        self._parts = parts
        """Of each letter what it may be; None: any number of letters."""

    def matches(self, name: str) -> bool:
        parts, at, place = self._parts, 0, 0
        star, tried = -1, 0
        while at < len(name):
            if place < len(parts) and (part := parts[place]) is None:
                star, tried = place, at
                place += 1
            elif place < len(parts) and part is not None and part.match(name, at):
                at += 1
                place += 1
            elif star >= 0:  # the last star takes one letter more: those before it need not be looked at again
                tried += 1
                at, place = tried, star + 1
            else:
                return False
        return all(part is None for part in parts[place:])


@lru_cache(maxsize=1024)
def _compiled(name: str) -> _Name:
    """Of one name of a glob. Raises ValueError: a bracket is not closed."""
    parts: list[re.Pattern[str] | None] = []
    at = 0
    while at < len(name):
        letter = name[at]
        at += 1
        if letter == "*":
            parts.append(None)
        elif letter == "?":
            parts.append(re.compile("(?s:.)"))
        elif letter == "[":
            end = name.find("]", at + 1 + (name[at : at + 1] == "!"))
            if end < 0:
                raise ValueError
            parts.append(re.compile(_letters(name[at:end])))
            at = end + 1
        else:
            parts.append(re.compile(re.escape(letter)))
    return _Name(parts)


def _letters(inside: str) -> str:
    """``a-z`` or ``!a-z`` of a glob as of a regular expression."""
    negated = inside.startswith("!")
    inside = inside.removeprefix("!")
    ranges, at = [], 0
    while at < len(inside):
        first = last = inside[at]
        if inside[at + 1 : at + 2] == "-" and at + 2 < len(inside):
            last = inside[at + 2]
            at += 2
        at += 1
        if first <= last:
            ranges.append(f"{re.escape(first)}-{re.escape(last)}")
    if not ranges:
        return "(?s:.)" if negated else "(?!)"
    return f"[{'^' if negated else ''}{''.join(ranges)}]"
