"""PURE. Which names can be used, which patterns match them, and which names are near one another."""

from __future__ import annotations

import functools
from collections.abc import Iterable

from labc.errors import NameInvalidError
from labc.settings import MAX_NAME_BYTES


def check_name(name: object, what: str = "function name") -> str:
    """``name`` itself, if it is printable text of 1 to 255 bytes.

    Raises:
        NameInvalidError: with the place of the mistake.
    """
    if not isinstance(name, str):
        raise NameInvalidError(f"{what} {name!r}: expected text, not {type(name).__name__}")
    return _check_text(name, what)


@functools.lru_cache(1024)  # they are used again and again
def _check_text(name: str, what: str) -> str:
    if not name:
        raise NameInvalidError(f"{what}: expected at least one letter, not an empty text")
    for position, letter in enumerate(name):
        if not letter.isprintable():
            raise NameInvalidError(f"{what} {name!r}: the character {letter!r} at position {position} is not printable")
    size = len(name.encode())
    if size > MAX_NAME_BYTES:
        raise NameInvalidError(f"{what} {name[:40]!r}...: {size} bytes, at most {MAX_NAME_BYTES} are allowed")
    return name


CORE = "core."
"""With what the names of the functions begin that every node offers by itself."""


def check_function_name(name: object) -> str:
    """``name`` itself, if a program can offer a function under it.

    Raises:
        NameInvalidError: with the place of the mistake.
    """
    text = check_name(name)
    if text.startswith(CORE):
        raise NameInvalidError(f"function name {text!r}: what begins with {CORE!r} is offered by every node itself")
    return text


def check_topic(topic: object) -> str:
    """``topic`` itself, if something can be published to it: levels between slashes, no wildcards.

    Raises:
        NameInvalidError: with the place of the mistake.
    """
    if not isinstance(topic, str):
        return check_name(topic, "topic")
    return _check_topic(topic)


@functools.lru_cache(1024)
def _check_topic(topic: str) -> str:
    text = _check_levels(topic, "topic")
    if "*" in text.split("/") or "**" in text.split("/"):
        raise NameInvalidError(f"topic {text!r}: wildcards are for subscribing; publish to a topic of its own name")
    return text


def check_pattern(pattern: object) -> str:
    """``pattern`` itself, if something can be subscribed with it: ``*`` is one level, ``**`` any number.

    Raises:
        NameInvalidError: with the place of the mistake.
    """
    return _check_levels(pattern, "topic pattern")


def _check_levels(topic: object, what: str) -> str:
    text = check_name(topic, what)
    for number, level in enumerate(text.split("/"), start=1):
        if not level:
            raise NameInvalidError(f"{what} {text!r}: level {number} is empty (a slash too many)")
        if "*" in level and level not in ("*", "**"):
            raise NameInvalidError(f"{what} {text!r}: in level {number} ({level!r}) a wildcard must stand alone")
    return text


def matches(pattern: str, topic: str) -> bool:
    """Whether a checked ``pattern`` takes ``topic``. ``**`` also takes no level at all."""
    ends = {0}  # how many levels of the pattern the topic's levels so far can have used up
    levels = pattern.split("/")
    for part in topic.split("/"):
        ends = {after for end in _skip_any(ends, levels) for after in _step(end, levels, part)}
    return len(levels) in _skip_any(ends, levels)


def _skip_any(ends: set[int], levels: list[str]) -> set[int]:
    """``**`` may stand for nothing."""
    reached = set(ends)
    for end in ends:
        while end < len(levels) and levels[end] == "**":
            end += 1
            reached.add(end)
    return reached


def _step(end: int, levels: list[str], part: str) -> Iterable[int]:
    if end == len(levels):
        return ()
    if levels[end] == "**":
        return (end,)
    return (end + 1,) if levels[end] in ("*", part) else ()


def near_names(name: str, names: Iterable[str], count: int = 3) -> list[str]:
    """The known names that ``name`` may have been meant to be, the nearest first."""
    import difflib  # for what has gone wrong only

    known = {known.casefold(): known for known in names}
    return [known[near] for near in difflib.get_close_matches(name.casefold(), known, n=count)]
