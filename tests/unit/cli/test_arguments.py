"""Words of the command line as arguments."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labc.cli.arguments import parse_arguments, parse_value


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("hello", "hello"),
        ("", ""),
        ("3", 3),
        ("-1", -1),
        ("1e3", 1000.0),
        ("[1,2]", [1, 2]),
        ('{"a": null}', {"a": None}),
        ("true", True),
        ("True", "True"),
        ("null", None),
        ('"3"', "3"),
        ("NaN", "NaN"),
        ("-Infinity", "-Infinity"),
        ("[1", "[1"),
        ("9" * 5000, "9" * 5000),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_json_where_it_parses_else_text(word: str, value: Any) -> None:
    parsed = parse_value(word)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("words", "args", "kwargs"),
    [
        ([], [], {}),
        (["1", "a"], [1, "a"], {}),
        (["--a", "1", "2"], [2], {"a": 1}),
        (["--a=1", "2"], [2], {"a": 1}),
        (["--a="], [], {"a": ""}),
        (["--a=b=c"], [], {"a": "b=c"}),
        (["--a"], [], {"a": True}),
        (["--a", "--b", "x"], [], {"a": True, "b": "x"}),
        (["--a", "-1"], [], {"a": -1}),
        (["--max-speed", "2"], [], {"max_speed": 2}),
        (["--a=--b"], [], {"a": "--b"}),
        (['"--a"', "--", "-b"], ["--a", "--", "-b"], {}),
    ],
)
def test_keywords(words: list[str], args: list[Any], kwargs: dict[str, Any]) -> None:
    assert parse_arguments(words) == (args, kwargs)


@pytest.mark.parametrize("words", [["--1"], ["--a b", "1"], ["--=1"], ["--a", "1", "--a=2"], ["--a-b=1", "--a_b=1"]])
def test_what_is_no_keyword(words: list[str]) -> None:
    with pytest.raises(ValueError, match="keyword"):
        parse_arguments(words)


@given(st.lists(st.text()))
def test_any_words_are_understood_or_refused(words: list[str]) -> None:
    try:
        args, kwargs = parse_arguments(words)
    except ValueError:
        return
    assert len(args) + len(kwargs) <= len(words)
