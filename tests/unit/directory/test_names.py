from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labc.directory import check_name, check_pattern, check_topic, matches, near_names
from labc.errors import NameInvalidError

levels = st.text(st.sampled_from("abc"), min_size=1, max_size=2)
topics = st.lists(levels, min_size=1, max_size=4).map("/".join)
patterns = st.lists(st.one_of(levels, st.just("*"), st.just("**")), min_size=1, max_size=4).map("/".join)


@pytest.mark.parametrize("name", ["echo", "lights.on", "räum 1/2*?#$@%:", "测量", "a" * 255])
def test_any_printable_text_is_a_name(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "at least one letter"),
        (3, "expected text, not int"),
        ("a\nb", "at position 1 is not printable"),
        ("a" * 256, "256 bytes, at most 255"),
        ("ä" * 128, "256 bytes, at most 255"),
        ("\ud800", "not printable"),
        ("\0held", "not printable"),
    ],
)
def test_what_is_no_name_is_refused_with_the_place(name: object, problem: str) -> None:
    with pytest.raises(NameInvalidError, match=re.escape(problem)):
        check_name(name)


@pytest.mark.parametrize("topic", ["a//b", "/a", "a/", "a/*", "**", "a*b"])
def test_a_topic_to_publish_to_has_no_empty_level_and_no_wildcard(topic: str) -> None:
    with pytest.raises(NameInvalidError):
        check_topic(topic)


def test_a_wildcard_stands_alone_in_its_level() -> None:
    assert check_pattern("a/*/**") == "a/*/**"
    with pytest.raises(NameInvalidError, match=re.escape("in level 2 ('b*') a wildcard must stand alone")):
        check_pattern("a/b*")


@pytest.mark.parametrize(
    ("pattern", "topic", "taken"),
    [
        ("a/*/c", "a/b/c", True),
        ("a/*/c", "a/c", False),
        ("a/*/c", "a/b/b/c", False),
        ("a/**", "a", True),
        ("a/**", "a/b/c", True),
        ("**/c", "c", True),
        ("**/c", "a/b/c", True),
        ("**/c", "a/b/c/d", False),
        ("**", "a/b", True),
        ("a/**/b/**/c", "a/b/b/c", True),
        ("a", "b", False),
    ],
)
def test_one_star_is_one_level_and_two_are_any_number(pattern: str, topic: str, taken: bool) -> None:
    assert matches(pattern, topic) is taken


@given(patterns, topics)
def test_matching_is_that_of_the_regular_expression(pattern: str, topic: str) -> None:
    # Each level with the slash behind it, so that ** can stand for none.
    parts = {"*": "[^/]+/", "**": "(?:[^/]+/)*"}
    expression = "".join(parts.get(level, re.escape(level) + "/") for level in pattern.split("/"))
    assert matches(pattern, topic) == bool(re.fullmatch(expression, topic + "/"))


def test_near_names_are_found_whatever_their_case() -> None:
    assert near_names("ecoh", ["echo", "add", "Stage.move"]) == ["echo"]
    assert near_names("stage.Move", ["echo", "Stage.move"]) == ["Stage.move"]
    assert near_names("zzz", ["echo"]) == []
