from __future__ import annotations

import random
from collections import Counter

from labc.directory import Candidate, NodeRecord, order_candidates

HERE = NodeRecord("here", "host", "h", "me")
NEIGHBOUR = NodeRecord("neighbour", "host", "h", "neighbour")
FAR = NodeRecord("far", "other", "o", "far")
FARTHER = NodeRecord("farther", "third", "t", "farther")


def chosen(*candidates: Candidate) -> list[str]:
    return [c.node.id for c in order_candidates(candidates, HERE, lambda: 0.0)]


def test_the_nearest_comes_first() -> None:
    assert chosen(Candidate(FAR), Candidate(HERE), Candidate(NEIGHBOUR)) == ["here", "neighbour", "far"]


def test_among_equals_the_least_busy_comes_first() -> None:
    assert chosen(Candidate(FAR, busy=3), Candidate(FARTHER, busy=1)) == ["farther", "far"]


def test_nearness_counts_more_than_load_and_doubt_more_than_nearness() -> None:
    assert chosen(Candidate(FAR), Candidate(NEIGHBOUR, busy=99)) == ["neighbour", "far"]
    assert chosen(Candidate(FAR), Candidate(HERE, doubtful=True)) == ["far", "here"]


def test_equals_are_chosen_evenly() -> None:
    source = random.Random(1)
    first = Counter(
        order_candidates([Candidate(FAR), Candidate(FARTHER)], HERE, source.random)[0].node.id for _ in range(1000)
    )
    assert 400 < first["far"] < 600
