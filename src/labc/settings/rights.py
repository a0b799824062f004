"""PURE. The setting ``access``: lines that say who may call, publish or subscribe which names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, get_args

from labc.settings.kinds import EntryError, Kind

Verb = Literal["call", "publish", "subscribe"]
VERBS: tuple[Verb, ...] = get_args(Verb)

EVERYBODY = "everybody"
NOBODY = "nobody"
LOCALHOST = "localhost"
_SEAT = re.compile(r"seat (\d{1,4})")
_HOST = re.compile(r"(?=.{1,253}$)(?!-)[^\s/:,;=*\"'\[\]]+$")
_MAX_NAME_BYTES = 255

_EXPECTED_NAME = (
    'expected a name or a pattern, like "lights.on", "lights.*" or "lights/**", with "call ", "publish " or '
    '"subscribe " before it if it shall be for that alone; "**" stands for all names'
)
_EXPECTED_PEOPLE = (
    'expected computers with commas between, like "localhost, bench1, 10.0.0.5, 10.0.1.0/24", or "everybody", or '
    '"nobody"; of a network with a key also "seat 3"'
)


class Right(NamedTuple):
    """One line."""

    key: str
    """As it stands in the file."""
    verb: Verb | None
    """None: all of them."""
    pattern: str
    people: tuple[str, ...]


def right(key: str, people: str) -> Right:
    """Read one line. Raises EntryError: it can't be understood; says what was expected."""
    first, _, rest = key.strip().partition(" ")
    verb: Verb | None = next((verb for verb in VERBS if verb == first and rest.strip()), None)
    pattern = rest.strip() if verb else key.strip()
    if not _is_pattern(pattern):
        raise EntryError(key, people, _EXPECTED_NAME)
    found = tuple(dict.fromkeys(map(plain_person, people.split(","))))
    if not all(map(_is_person, found)) or (len(found) > 1 and not {EVERYBODY, NOBODY}.isdisjoint(found)):
        raise EntryError(key, people, _EXPECTED_PEOPLE)
    return Right(key, verb, pattern, found)


def plain_person(text: str) -> str:
    """Names of computers have no case, so nor have the words that stand among them."""
    text = text.strip()
    return text.lower() if text.lower() in (EVERYBODY, NOBODY, LOCALHOST) else text


def seat_number(person: str) -> int | None:
    """Of ``seat 3``; None: it is something else."""
    match = _SEAT.fullmatch(person)
    return int(match[1]) if match else None


def access() -> Kind:
    """Of lines with a text, or a list of texts, each. A text has them with ``=``, and commas between."""

    def check(value: Any) -> dict[str, str]:
        if not isinstance(value, Mapping):
            raise ValueError
        found: dict[str, str] = {}
        for key, people in value.items():
            if not isinstance(key, str):
                raise ValueError
            if isinstance(people, list | tuple) and all(isinstance(person, str) for person in people):
                people = ", ".join(people)
            if not isinstance(people, str):
                raise EntryError(key, people, _EXPECTED_PEOPLE)
            found[key] = ", ".join(right(key, people).people)
        return found

    def parse(text: str) -> dict[str, str]:
        found: dict[str, str] = {}
        key = ""
        for part in filter(None, (part.strip() for part in text.split(","))):
            name, equals, person = part.partition("=")
            if equals:
                key = name.strip()
                if key in found:
                    raise ValueError
                found[key] = person.strip()
            elif key:  # one more computer of the same line
                found[key] += f", {part}"
            else:
                raise ValueError
        return found

    return Kind(
        'names, and who may use them, like {"lights.*" = "localhost, bench1"}, or lights.*=localhost,bench1',
        check,
        parse,
    )


def _is_pattern(pattern: str) -> bool:
    """A ``*`` alone would leave out most names: it is no slip that one wants to make here."""
    if not pattern or pattern == "*" or not pattern.isprintable() or len(pattern.encode()) > _MAX_NAME_BYTES:
        return False
    levels = pattern.split("/")
    return all(levels) and all("**" not in level or level == "**" for level in levels)


def _is_person(text: str) -> bool:
    if text in (EVERYBODY, NOBODY, LOCALHOST) or seat_number(text) is not None:
        return True
    import ipaddress  # most programs have no such lines

    if "/" in text or ":" in text or text.replace(".", "").isdecimal():
        try:
            ipaddress.ip_network(text, strict=False)
        except ValueError:
            return False
        return True
    return _HOST.match(text) is not None
