"""PURE. Which of several providers to ask: the nearest, and among equals the least busy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from labc.directory.records import NodeRecord


@dataclass(frozen=True, slots=True)
class Candidate:
    """A provider that could be asked.

    ``doubtful``: nothing was heard of it lately, or it has just vanished; asked only when nobody else is there.
    ``busy``: calls from here that it has not answered yet.
    """

    node: NodeRecord
    doubtful: bool = False
    busy: int = 0


def order_candidates(candidates: Iterable[Candidate], here: NodeRecord, tie: Callable[[], float]) -> list[Candidate]:
    """The candidates in the order in which to ask them.

    Args:
        here: the caller's node: its own functions come first, then those of its host, then others.
        tie: breaks ties; ``random.random`` spreads callers evenly over equal providers.
    """
    return sorted(candidates, key=lambda c: (c.doubtful, _distance(c.node, here), c.busy, tie()))


def equally_near(ordered: Sequence[Candidate], here: NodeRecord) -> list[NodeRecord]:
    """Those among which only chance and how busy they are decide; none, if the first is here or doubtful."""
    first = ordered[0]
    distance = _distance(first.node, here)
    if first.doubtful or not distance:
        return []
    return [c.node for c in ordered if not c.doubtful and _distance(c.node, here) == distance]


def _distance(node: NodeRecord, here: NodeRecord) -> int:
    if node.id == here.id:
        return 0
    return 1 if node.host_id == here.host_id else 2
