"""Which files a glob, a regular expression or a list means."""

from __future__ import annotations

import fnmatch
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labc.errors import FilesError
from labc.files.patterns import by_glob, by_regex, fixed_part, is_pattern


@pytest.mark.parametrize(
    ("pattern", "taken", "not_taken"),
    [
        ("", ["a", "a/b", ".x/.y"], []),
        ("*.log", ["a.log", ".log"], ["x/a.log", "a.log2", "a.logs/b"]),
        ("**/*.log", ["a.log", "x/a.log", "x/y/a.log"], ["x/a.txt"]),
        ("2026/**/*.log", ["2026/a.log", "2026/x/y/a.log"], ["a.log", "2025/a.log", "x/2026/a.log"]),
        ("2026/**", ["2026/a", "2026/x/y"], ["2025/a", "20266/a"]),
        ("2026", ["2026", "2026/a", "2026/x/y"], ["2026a", "x/2026"]),
        ("*", ["a", ".a"], ["x/a"]),
        ("a?c", ["abc", "a.c"], ["ac", "a/c", "abbc"]),
        ("[a-c]x", ["ax", "cx"], ["dx", "-x"]),
        ("[!a-c]x", ["dx", "-x"], ["ax"]),
        ("[]-]x", ["]x", "-x"], ["ax"]),
        ("[!]]x", ["ax"], ["]x"]),
        ("a.b", ["a.b"], ["axb"]),
        ("**/x/**/y", ["x/y", "a/x/b/c/y", "x/x/y"], ["x", "y", "a/y"]),
        ("a\nb*", ["a\nb\nc"], ["a"]),
    ],
)
def test_globs(pattern: str, taken: list[str], not_taken: list[str]) -> None:
    wanted = by_glob(pattern)
    assert [path for path in taken if not wanted.takes(path)] == []
    assert [path for path in not_taken if wanted.takes(path)] == []


NAMES = st.text("ab.", min_size=1, max_size=3).filter(lambda name: name not in (".", ".."))
GLOBS = st.lists(st.one_of(NAMES, st.sampled_from(["*", "**", "a*", "?b", "[ab]", "[!a]b"])), min_size=1, max_size=5)


@given(GLOBS, st.lists(NAMES, min_size=1, max_size=5))
def test_as_the_shell_has_it(pattern: list[str], path: list[str]) -> None:
    def expected(pattern: list[str], path: list[str]) -> bool:
        if not pattern:
            return not path
        if pattern[0] == "**":
            return any(expected(pattern[1:], path[at:]) for at in range(len(path) + 1))
        return bool(path) and fnmatch.fnmatchcase(path[0], pattern[0]) and expected(pattern[1:], path[1:])

    meant = pattern if is_pattern("/".join(pattern)) else [*pattern, "**"]
    assert by_glob("/".join(pattern)).takes("/".join(path)) is expected(meant, path)


@given(GLOBS, st.lists(NAMES, min_size=1, max_size=5))
def test_a_folder_that_has_some_below_is_looked_into(pattern: list[str], path: list[str]) -> None:
    wanted = by_glob("/".join(pattern))
    if wanted.takes("/".join(path)):
        for depth in range(len(path)):
            assert wanted.may_be_below("/".join(path[:depth]))


def test_folders_that_can_have_none_are_passed_over() -> None:
    wanted = by_glob("2026/*/a.log")
    assert wanted.may_be_below("2026/x")
    assert not wanted.may_be_below("2025")
    assert not wanted.may_be_below("2026/x/y")


def test_many_double_stars_cost_no_more_than_few() -> None:
    wanted = by_glob("/".join(["**", "a"] * 30))
    assert not wanted.takes("/".join(["a"] * 29))
    assert wanted.takes("/".join(["a"] * 60))


def test_a_run_of_double_stars_is_one() -> None:
    wanted = by_glob("/".join(["**"] * 1000 + ["a"]))
    began = time.perf_counter()
    assert wanted.takes("x/" * 500 + "a")
    assert time.perf_counter() - began < 0.5
    with pytest.raises(FilesError, match="longer than 4096"):
        by_glob("a" * 5000)


def test_no_pattern_takes_for_ever() -> None:
    wanted = by_glob("*a" * 60 + "*b")
    began = time.perf_counter()
    assert not wanted.takes("a" * 250)
    assert wanted.takes("a" * 250 + "b")
    assert time.perf_counter() - began < 2


@pytest.mark.parametrize("pattern", ["/a", "a//b", "a/", "../a", "a/./b", "a**", "x/**y/z", "[a"])
def test_a_glob_that_can_match_nothing(pattern: str) -> None:
    with pytest.raises(FilesError, match=re.escape(repr(pattern)[1:-1])):
        by_glob(pattern)


def test_regular_expressions_are_of_the_whole_path() -> None:
    wanted = by_regex(r"2026/.*\.log")
    assert wanted.takes("2026/a/b.log")
    assert not wanted.takes("x/2026/a.log")
    assert not wanted.takes("2026/a.log2")
    with pytest.raises(FilesError, match="position 1"):
        by_regex("a(")


@pytest.mark.parametrize(
    ("pattern", "folder"), [("2026/05/*.log", "2026/05"), ("*.log", ""), ("a/b", "a/b"), ("a/*/b/c", "a"), ("", "")]
)
def test_where_to_begin_to_look(pattern: str, folder: str) -> None:
    assert fixed_part(pattern) == folder
