"""Tracebacks without labc's own frames."""

from __future__ import annotations

import pytest

from labc.cli.arguments import parse_arguments
from labc.cli.tracebacks import users_place, users_traceback


def broken() -> None:
    try:
        parse_arguments(["--1"])
    except ValueError as error:
        raise RuntimeError("worse") from error


def test_only_the_users_frames_are_shown_also_in_causes() -> None:
    with pytest.raises(RuntimeError) as caught:
        broken()
    text = users_traceback(caught.value)
    assert "arguments.py" not in text
    assert "ValueError: '--1' can't be a keyword" in text
    assert text.endswith("RuntimeError: worse")
    assert text.count("in broken") == 2


def test_the_place_is_the_last_line_of_the_user() -> None:
    with pytest.raises(ValueError) as caught:
        parse_arguments(["--1"])
    line = caught.value.__traceback__.tb_lineno if caught.value.__traceback__ else 0
    assert users_place(caught.value).endswith(f"test_tracebacks.py:{line}")
    assert users_place(ValueError()) == ""


def test_the_place_of_a_syntax_error() -> None:
    with pytest.raises(SyntaxError) as caught:
        compile("x = = 1", "/somewhere/x.py", "exec")
    assert users_place(caught.value).endswith("x.py:1")
