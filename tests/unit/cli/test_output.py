"""What is printed when stdout is no terminal."""

from __future__ import annotations

from typing import Any

import pytest

from labc.cli.output import one_line, print_table, print_value


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        (None, ""),
        ("two\nlines", "two\nlines\n"),
        ("", "\n"),
        (0, "0\n"),
        (False, "false\n"),
        ([], "[]\n"),
        ({"é": (1, None)}, '{"é": [1, null]}\n'),
        (float("inf"), "inf\n"),
    ],
)
def test_values(value: Any, printed: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_value(value)
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("plain text", "plain text"),
        ("a\nb", '"a\\nb"'),
        ("\x1b[31m", '"\\u001b[31m"'),
        (["\n"], '["\\n"]'),
        (b"\n", "b'\\n'"),
    ],
)
def test_one_line_never_breaks_the_line(value: Any, line: str) -> None:
    assert one_line(value) == line


def test_tables_are_plain_columns_with_numbers_to_the_right(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("NAME", "COUNT", "NOTE"), [("a", 5, ""), ("long name", 12345678, "x" * 200)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["NAME          COUNT  NOTE", "a                 5"]
    assert lines[2] == "long name  12345678  " + "x" * 200
