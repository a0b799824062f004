from __future__ import annotations

import itertools
import random
from collections import Counter

import pytest

from labc.directory import (
    Candidate,
    NodeRecord,
    Order,
    Resolve,
    Rule,
    equals_of_the_first,
    order_candidates,
)

HERE = NodeRecord("here", "host", "h", "me", "team")
MATE = NodeRecord("mate", "host", "h", "mate", "team")
NEIGHBOUR = NodeRecord("neighbour", "host", "h", "neighbour")
FAR = NodeRecord("far", "other", "o", "far")
FARTHER = NodeRecord("farther", "third", "t", "farther")


def chosen(*candidates: Candidate, resolve: Resolve = "nearest", order: Order = "bottom-up") -> list[str]:
    return [c.node.id for c in order_candidates(candidates, Rule(HERE, resolve, order), lambda: 0.0)]


def equals(*candidates: Candidate, resolve: Resolve = "nearest", order: Order = "bottom-up") -> list[str]:
    rule = Rule(HERE, resolve, order)
    return [node.id for node in equals_of_the_first(order_candidates(candidates, rule, lambda: 0.0), rule)]


def test_the_nearest_comes_first() -> None:
    for mixed in itertools.permutations([Candidate(FAR), Candidate(HERE), Candidate(NEIGHBOUR), Candidate(MATE)]):
        assert chosen(*mixed) == ["here", "mate", "neighbour", "far"]


def test_top_down_the_farthest_comes_first() -> None:
    for mixed in itertools.permutations([Candidate(FAR), Candidate(HERE), Candidate(NEIGHBOUR), Candidate(MATE)]):
        assert chosen(*mixed, order="top-down") == ["far", "neighbour", "mate", "here"]


def test_among_equals_the_least_busy_comes_first() -> None:
    for order in ("bottom-up", "top-down"):
        assert chosen(Candidate(FAR, busy=3), Candidate(FARTHER, busy=1), order=order) == ["farther", "far"]


def test_nearness_counts_more_than_load_and_doubt_more_than_nearness() -> None:
    assert chosen(Candidate(FAR), Candidate(NEIGHBOUR, busy=99)) == ["neighbour", "far"]
    assert chosen(Candidate(FAR), Candidate(HERE, doubtful=True)) == ["far", "here"]


@pytest.mark.parametrize("resolve", ["nearest", "random", "round-robin"])
def test_the_doubtful_come_last_however_one_resolves(resolve: Resolve) -> None:
    assert chosen(Candidate(HERE, doubtful=True), Candidate(FAR), resolve=resolve) == ["far", "here"]


def test_equals_are_chosen_evenly() -> None:
    source, rule = random.Random(1), Rule(HERE)
    first = Counter(
        order_candidates([Candidate(FAR), Candidate(FARTHER)], rule, source.random)[0].node.id for _ in range(1000)
    )
    assert 400 < first["far"] < 600


def test_at_random_neither_nearness_nor_load_counts() -> None:
    source, rule = random.Random(1), Rule(HERE, "random")
    candidates = [Candidate(HERE), Candidate(NEIGHBOUR, busy=99), Candidate(FAR)]
    first = Counter(order_candidates(candidates, rule, source.random)[0].node.id for _ in range(3000))
    assert all(850 < first[name] < 1150 for name in ("here", "neighbour", "far"))


def test_in_turn_all_who_ask_have_the_same_order_whatever_chance_says() -> None:
    ties = itertools.count(10, -1)
    rule = Rule(HERE, "round-robin")
    for mixed in itertools.permutations([Candidate(FAR), Candidate(HERE, busy=5), Candidate(NEIGHBOUR)]):
        assert [c.node.id for c in order_candidates(mixed, rule, lambda: next(ties))] == ["far", "here", "neighbour"]


def test_only_the_nearest_are_equals_of_the_first() -> None:
    assert equals(Candidate(FAR), Candidate(NEIGHBOUR)) == ["neighbour"]
    assert sorted(equals(Candidate(FAR, busy=1), Candidate(FARTHER))) == ["far", "farther"]
    assert sorted(equals(Candidate(FAR), Candidate(FARTHER), Candidate(HERE), order="top-down")) == ["far", "farther"]


@pytest.mark.parametrize("resolve", ["random", "round-robin"])
def test_where_nearness_does_not_count_all_are_equals(resolve: Resolve) -> None:
    assert sorted(equals(Candidate(FAR), Candidate(NEIGHBOUR), Candidate(HERE), resolve=resolve)) == [
        "far",
        "here",
        "neighbour",
    ]


@pytest.mark.parametrize("resolve", ["nearest", "random", "round-robin"])
def test_the_doubtful_are_nobody_s_equals(resolve: Resolve) -> None:
    assert equals(Candidate(FAR), Candidate(FARTHER, doubtful=True), resolve=resolve) == ["far"]
    assert equals(Candidate(FAR, doubtful=True), resolve=resolve) == []


def test_nearness_is_judged_from_the_place() -> None:
    candidates = [Candidate(HERE), Candidate(NEIGHBOUR), Candidate(FAR)]
    assert order_candidates(candidates, Rule(FAR), lambda: 0.0)[0].node is FAR
    host_of_far = NodeRecord("", FAR.host_id, FAR.host, "")
    assert order_candidates(candidates, Rule(host_of_far), lambda: 0.0)[0].node is FAR
