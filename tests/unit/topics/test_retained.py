"""What is kept of each topic, and what a subscription gets of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labc.directory import matches
from labc.topics.retained import CHUNK, Kept, Pace, Seen, Store, check_retain, chunks


def kept(topic: str, seconds: float, size: int = 0) -> Kept:
    """With ``size`` bytes beside its topic."""
    return Kept(topic, seconds, b"x" * size, b"")


def test_the_newest_stays() -> None:
    store = Store(10, 1000)
    assert store.put(kept("a", 2.0))
    assert not store.put(kept("a", 1.0))
    assert not store.put(kept("a", 2.0)), "the very same is no news"
    assert store.put(kept("a", 3.0))
    assert [each.seconds for each in store] == [3.0]


def test_beyond_the_number_the_oldest_goes() -> None:
    store = Store(2, 1000)
    for topic, seconds in (("a", 1.0), ("b", 2.0), ("a", 3.0), ("c", 4.0)):
        store.put(kept(topic, seconds))
    assert [each.topic for each in store] == ["a", "c"]
    assert store.dropped == 1


def test_beyond_the_bytes_the_oldest_go() -> None:
    store = Store(100, 32)
    for topic in "abc":
        store.put(kept(topic, 1.0, 9))
    assert store.bytes == 30
    store.put(kept("d", 1.0, 19))
    assert [each.topic for each in store] == ["c", "d"]
    assert (store.bytes, store.dropped) == (30, 2)
    assert not store.put(kept("e", 1.0, 32)), "there is never room for it, so that nothing makes any"
    assert len(store) == 2


def test_what_was_put_since() -> None:
    store = Store(10, 1000)
    for topic in ("a/1", "a/2", "b/1"):
        store.put(kept(topic, 1.0))
    known = store.revision
    assert store.find(["**"], known) == []
    store.put(kept("a/1", 2.0))
    assert [each.topic for each in store.find(["**"], known)] == ["a/1"]
    assert [each.topic for each in store.find(["a/2", "b/*"])] == ["a/2", "b/1"]
    assert [each.topic for each in store.find(["a/1", "a/2", "c"])] == ["a/2", "a/1"]
    assert store.find(["a/2"], known) == []


def test_what_is_dropped_is_gone() -> None:
    store = Store(10, 1000)
    store.put(kept("a", 1.0, 5))
    assert store.drop("a")
    assert not store.drop("a")
    assert (len(store), store.bytes, store.find(["**"])) == (0, 0, [])


topics = st.sampled_from(["a", "b", "a/b", "a/c", "a/b/c"])
patterns = st.sampled_from(["a", "a/b", "a/*", "**", "*/c", "a/**", "z"])
puts = st.lists(st.tuples(topics, st.integers(1, 9), st.integers(0, 20)))


@given(puts, st.integers(1, 4), st.integers(1, 60))
def test_it_is_bounded_and_adds_up(operations: list[tuple[str, int, int]], count: int, size: int) -> None:
    store = Store(count, size)
    for topic, seconds, length in operations:
        before = store.get(topic)
        stored = store.put(kept(topic, seconds, length))
        after = store.get(topic)
        assert len(store) <= count
        assert store.bytes == sum(each.size for each in store) <= size
        if stored:
            assert after == kept(topic, seconds, length)
        else:
            assert after == before


@given(puts, st.lists(patterns, max_size=3), st.integers(0, 12))
def test_it_finds_what_matches(operations: list[tuple[str, int, int]], wanted: list[str], middle: int) -> None:
    store = Store(100, 10_000)
    for topic, seconds, length in operations[:middle]:
        store.put(kept(topic, seconds, length))
    since, early = store.revision, {each.topic: each for each in store}
    for topic, seconds, length in operations[middle:]:
        store.put(kept(topic, seconds, length))
    expected = {
        each.topic: each
        for each in store
        if early.get(each.topic) != each and any(matches(pattern, each.topic) for pattern in wanted)
    }
    found = store.find(wanted, since)
    assert {each.topic: each for each in found} == expected
    assert len(found) == len(expected)


@given(st.lists(st.integers(0, 2 * CHUNK), max_size=12))
def test_pieces_hold_all_in_order(sizes: list[int]) -> None:
    values = [Kept(str(number), 1.0, bytes(size), b"") for number, size in enumerate(sizes)]
    pieces = chunks(values)
    assert [each for piece in pieces for each in piece] == values
    for piece in pieces:
        assert len(piece) <= 1 or sum(each.size for each in piece) <= CHUNK
    assert all(pieces) or pieces == [[]]


# What a subscription has seen.


def test_a_value_is_given_once() -> None:
    seen = Seen()
    assert seen.kept("t", "me", 5.0, now=0.0)
    assert not seen.kept("t", "me", 5.0, now=0.1), "another root keeps it, too"
    assert not seen.kept("t", "you", 4.0, now=0.2), "an older one"
    assert seen.kept("t", "you", 6.0, now=0.3)
    assert seen.kept("u", "me", 1.0, now=0.4)


def test_what_was_published_is_not_given_again() -> None:
    seen = Seen()
    assert seen.live("t", "me", 5.0, True, wall=5.0, now=0.0)
    assert not seen.kept("t", "me", 5.0, now=100.0)


def test_a_message_that_its_own_value_has_overtaken_is_not_given() -> None:
    seen = Seen()
    seen.kept("t", "me", 5.0, now=0.0)
    assert not seen.live("t", "me", 5.0, True, wall=5.0, now=0.1)
    assert not seen.live("t", "me", 4.0, False, wall=5.0, now=0.1), "an older one of the same sender"
    assert seen.live("t", "me", 6.0, True, wall=5.0, now=0.2)
    assert seen.live("u", "me", 1.0, True, wall=5.0, now=0.2)


def test_no_message_is_lost_for_a_clock() -> None:
    seen = Seen()
    seen.kept("t", "fast", 500.0, now=0.0)
    assert seen.live("t", "slow", 5.0, True, wall=5.0, now=0.1), "another computer's clock"
    assert seen.live("t", "fast", 400.0, True, wall=5.0, now=10.0), "a clock that was set back"


def test_while_it_is_asked_every_message_counts() -> None:
    seen = Seen()
    assert seen.is_idle(0.0)
    seen.asking += 1
    assert not seen.is_idle(0.0)
    assert seen.live("t", "me", 5.0, False, wall=9.0, now=0.0)
    assert seen.live("foreign", "", None, False, wall=9.0, now=0.0)
    assert not seen.kept("t", "you", 4.0, now=0.1)
    assert not seen.kept("foreign", "you", 8.0, now=0.1)
    assert seen.kept("foreign", "you", 10.0, now=0.1)
    seen.asking -= 1
    assert not seen.is_idle(1.0)
    assert seen.is_idle(3.0)


@given(st.lists(st.tuples(st.booleans(), topics, st.integers(1, 20)), max_size=40))
def test_never_an_older_one_after_a_newer_one(steps: list[tuple[bool, str, int]]) -> None:
    """One sender, whose messages come in order, and its values from anywhere at any time."""
    seen = Seen()
    newest: dict[str, int] = {}
    published: dict[str, int] = {}
    for number, (is_live, topic, seconds) in enumerate(steps):
        now = number / 100
        if is_live:
            published[topic] = seconds = published.get(topic, 0) + 1
            got = seen.live(topic, "me", seconds, True, wall=0.0, now=now)
        else:
            got = seen.kept(topic, "me", seconds, now=now)
        if got:
            assert seconds > newest.get(topic, 0)
            newest[topic] = seconds


def test_the_pace() -> None:
    pace = Pace(0.1, 0.3)
    assert [pace.failed() for _ in range(4)] == [0.1, 0.2, 0.3, 0.3]
    pace.succeeded()
    assert pace.failed() == 0.1


@pytest.mark.parametrize("retain", [1, None, "yes"])
def test_retain_is_no_keyword_of_a_handler(retain: object) -> None:
    with pytest.raises(TypeError, match="expected True or False"):
        check_retain(retain)
    check_retain(True)
