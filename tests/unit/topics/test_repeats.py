"""Publications that come twice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from labc.topics.repeats import MAX_NODES, WIDTH, Repeats


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, WIDTH)), max_size=200))
def test_each_number_of_a_node_comes_once(published: list[tuple[str, int]]) -> None:
    repeats, known = Repeats(), set()
    for each in published:
        assert repeats.is_new(*each) == (each not in known)
        known.add(each)


@given(st.lists(st.integers(1, 2**64 - 1) | st.integers(2**40, 2**40 + 3 * WIDTH), max_size=200))
def test_numbers_that_are_older_than_the_window_are_new(numbers: list[int]) -> None:
    repeats, known, highest = Repeats(), set(), 0
    for number in numbers:
        assert repeats.is_new("a", number) == (number not in known or number <= highest - WIDTH)
        known.add(number)
        highest = max(highest, number)


def test_what_has_no_number_is_new() -> None:
    repeats = Repeats()
    assert [repeats.is_new("a", number) for number in (0, 0, -1, -1, 1, 1)] == [True] * 5 + [False]


def test_the_nodes_that_published_last_are_remembered() -> None:
    repeats = Repeats()
    for number in range(MAX_NODES):
        repeats.is_new(str(number), 1)
    assert not repeats.is_new("0", 1)  # the last one now
    assert repeats.is_new("another", 1)
    assert [repeats.is_new(node_id, 1) for node_id in ("0", "2", "1")] == [False, False, True]
