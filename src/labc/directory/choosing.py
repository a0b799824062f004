"""PURE. Which of several providers to ask: by default the nearest, and among equals the least busy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from labc.directory.records import NodeRecord
from labc.directory.scopes import distance

Resolve = Literal["nearest", "random", "round-robin"]
RESOLVES: Final[tuple[Resolve, ...]] = get_args(Resolve)
Order = Literal["bottom-up", "top-down"]
"""Whether the narrowest scope that has a provider comes first, or the widest."""
ORDERS: Final[tuple[Order, ...]] = get_args(Order)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A provider that could be asked.

    ``doubtful``: nothing was heard of it lately, or it has just vanished; asked only when nobody else is there.
    ``busy``: calls from here that it has not answered yet.
    """

    node: NodeRecord
    doubtful: bool = False
    busy: int = 0


@dataclass(frozen=True, slots=True)
class Rule:
    """How to choose, as seen from ``place``."""

    place: NodeRecord
    resolve: Resolve = "nearest"
    order: Order = "bottom-up"

    def remoteness(self, node: NodeRecord) -> int:
        """The lower it is, the earlier the node is asked; those for which it is the same are equals."""
        if self.resolve != "nearest":
            return 0
        far = distance(self.place, node)
        return far if self.order == "bottom-up" else -far


def order_candidates(candidates: Iterable[Candidate], rule: Rule, tie: Callable[[], float]) -> list[Candidate]:
    """The candidates in the order in which to ask them; with "round-robin", for the first turn.

    Args:
        tie: breaks ties; ``random.random`` spreads callers evenly over equal providers.
    """
    if rule.resolve == "round-robin":
        return sorted(candidates, key=lambda c: (c.doubtful, c.node.id))
    busy = rule.resolve == "nearest"
    return sorted(candidates, key=lambda c: (c.doubtful, rule.remoteness(c.node), busy and c.busy, tie()))


def equals_of_the_first(ordered: Sequence[Candidate], rule: Rule) -> list[NodeRecord]:
    """Those among which only chance, turns and how busy they are decide; none, if the first is doubtful."""
    first = ordered[0]
    if first.doubtful:
        return []
    remoteness = rule.remoteness(first.node)
    return [c.node for c in ordered if not c.doubtful and rule.remoteness(c.node) == remoteness]
