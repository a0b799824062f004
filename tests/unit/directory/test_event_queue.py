from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labc.directory import EventQueue, NodeEvent

LEGAL = re.compile(r"(joined (suspect back )*(suspect )?(left |lost ))*(joined (suspect back )*(suspect )?)?")
NEXT = {
    "": ["joined"],
    "joined": ["suspect", "left", "lost"],
    "suspect": ["back", "left", "lost"],
    "back": ["suspect", "left", "lost"],
    "left": ["joined"],
    "lost": ["joined"],
}
"""What may follow upon each kind."""


def event(kind: str, node_id: str = "a") -> NodeEvent:
    return NodeEvent(kind, node_id, "h", node_id, "h", 0.0)  # type: ignore[arg-type]


def waiting(queue: EventQueue) -> list[str]:
    return [queue.take().kind for _ in range(len(queue))]


def test_they_come_out_in_their_order() -> None:
    queue = EventQueue(10)
    for kind in ("joined", "suspect", "back", "left"):
        queue.put(event(kind))
    assert waiting(queue) == ["joined", "suspect", "back", "left"]
    assert queue.dropped == 0
    with pytest.raises(IndexError):
        queue.take()


@pytest.mark.parametrize(
    ("taken", "put", "left"),
    [
        ([], ["joined", "suspect", "back"], ["joined"]),
        ([], ["joined", "left"], []),
        ([], ["joined", "suspect", "lost"], []),
        (["joined"], ["suspect", "lost"], ["lost"]),
        (["joined"], ["left", "joined"], ["left", "joined"]),
        (["joined"], ["lost", "joined", "suspect", "lost"], ["lost"]),
        (["joined", "suspect"], ["back", "suspect"], []),
        (["joined", "suspect"], ["back", "suspect", "left"], ["left"]),
    ],
)
def test_when_it_is_full_what_tells_nothing_goes(taken: list[str], put: list[str], left: list[str]) -> None:
    queue = EventQueue(1)
    for kind in taken:
        queue.put(event(kind))
        assert queue.take().kind == kind
    for kind in put:
        queue.put(event(kind))
    for number in range(20):  # until it is looked through once more
        queue.put(event("joined", f"n{number}"))
        queue.put(event("left", f"n{number}"))
    of_node = [e.kind for e in (queue.take() for _ in range(len(queue))) if e.id == "a"]
    assert of_node == left


def test_what_still_counts_is_kept_however_much_there_is() -> None:
    queue = EventQueue(10)
    for number in range(100):
        queue.put(event("joined", f"n{number}"))
    assert (len(queue), queue.dropped) == (100, 0)


@given(
    size=st.integers(1, 8),
    steps=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2), st.booleans()), max_size=200),
)
def test_whoever_is_slow_is_told_the_truth(size: int, steps: list[tuple[str, int, bool]]) -> None:
    queue = EventQueue(size)
    last = dict.fromkeys("abc", "")
    told = dict.fromkeys("abc", "")
    put = taken = 0
    for node, choice, take in steps:
        kinds = NEXT[last[node]]
        last[node] = kinds[choice % len(kinds)]
        queue.put(event(last[node], node))
        put += 1
        assert len(queue) <= max(size, 6 * len(last))
        if take and len(queue):
            seen = queue.take()
            told[seen.id] += f"{seen.kind} "
            taken += 1
    assert put == taken + len(queue) + queue.dropped
    while len(queue):
        seen = queue.take()
        told[seen.id] += f"{seen.kind} "
    for node in "abc":
        assert LEGAL.fullmatch(told[node]), told[node]
        assert state(told[node].split()) == state([last[node]])


def state(kinds: list[str]) -> str:
    """What a watcher believes who was told this last."""
    last = kinds[-1] if kinds else ""
    return {"back": "joined", "left": "", "lost": ""}.get(last, last)
