"""PURE. Words of the command line as the arguments of a function."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import typer


def arguments_from(words: Sequence[str] | None) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of a function or message, as :func:`parse_arguments` finds them. Raises typer.BadParameter."""
    try:
        return parse_arguments(words or ())
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def parse_value(word: str) -> Any:
    """The word as JSON where it parses, else as text: ``3``, ``[1,2]``, ``true``, ``hello``, ``'"3"'``."""
    try:
        return json.loads(word, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return word


def parse_arguments(words: Sequence[str]) -> tuple[list[Any], dict[str, Any]]:
    """Positional and keyword arguments: ``3 hello --unit=C --max-speed 2 --verbose``.

    A keyword's value is what follows ``=`` or the next word; before another keyword, or at the end, it is ``True``.
    A dash within a keyword stands for an underscore. A text that begins with two dashes is given as JSON: ``'"--x"'``.

    Raises:
        ValueError: a keyword that can't be one, or that is given twice.
    """
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not _is_keyword(word):
            args.append(parse_value(word))
            continue
        key, equals, text = word.removeprefix("--").partition("=")
        if not equals and rest and not _is_keyword(rest[0]):
            value = parse_value(rest.pop(0))
        else:
            value = parse_value(text) if equals else True
        _add(kwargs, key.replace("-", "_"), value, word)
    return args, kwargs


def _is_keyword(word: str) -> bool:
    return word.startswith("--") and word != "--"


def _add(kwargs: dict[str, Any], key: str, value: Any, word: str) -> None:
    if not key.isidentifier():
        raise ValueError(f"{word!r} can't be a keyword of a function; a text that begins with -- is given as '\"--x\"'")
    if key in kwargs:
        raise ValueError(f"the keyword {key!r} is given twice")
    kwargs[key] = value


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")
