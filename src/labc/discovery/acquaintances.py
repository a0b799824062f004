"""PURE. Which other roots were heard, how and when, and which of them the own root is to be told of now."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field
from typing import NamedTuple

MAX_KNOWN = 1000
"""Roots; beyond it the one that was not heard for longest is forgotten."""
ASKED_ONLY_AFTER = 1.5
"""Seconds after which a root that asks, and does not become linked by itself, is called from here: it may be that
connections can be made in one direction only."""
SETTLE = 0.5
"""Seconds after the end of a link in which it is not made anew. Roots work the end of a link into their routes within
0.1 s; a link that is back before is none to which they tell what they know."""
RATION = 1.5
"""Seconds between two introductions of those who do not seem to be reachable: the engine tries one after the other,
and takes up to a second for each that does not answer."""
_AGAIN = (1.0, 2.0, 4.0, 7.0)
"""Seconds between the introductions of one root; the last one from then on."""
_FRESH = 10.0
"""Seconds for which it counts that a root was heard."""


class Introduction(NamedTuple):
    """Tell the own root that this one can be reached there."""

    root_id: str
    address: str
    ports: tuple[int, ...]


class Heard(NamedTuple):
    """A root that was heard, in words for people."""

    root_id: str
    address: str
    port: int
    methods: dict[str, float]
    """By which methods, and how many seconds ago."""
    linked: bool


@dataclass(slots=True)
class _Root:
    address: str
    ports: tuple[int, ...]
    first: float
    methods: dict[str, float] = field(default_factory=dict)
    answered: bool = False
    last: float = 0.0
    introduced: float = float("-inf")
    introductions: int = 0
    """Since it was linked last."""
    lost: float = float("-inf")


class Acquaintances:
    """``now`` is in monotonic seconds."""

    def __init__(self, own_id: str) -> None:
        self._own_id = own_id
        self._roots: dict[str, _Root] = {}
        self._linked: Set[str] = frozenset()
        self._rationed = float("-inf")
        """When one of those who do not seem to be reachable was introduced last."""

    def heard(
        self, root_id: str, address: str, ports: tuple[int, ...], method: str, now: float, *, answered: bool
    ) -> None:
        """This root answered, or asked, from this address; its TCP port is the first of these."""
        if root_id == self._own_id:
            return
        root = self._roots.get(root_id)
        if root is None:
            if len(self._roots) >= MAX_KNOWN:
                if not answered:  # anybody can ask, under names without end
                    return
                del self._roots[min(self._roots, key=lambda known: self._roots[known].last)]
            root = self._roots[root_id] = _Root(address, ports, first=now)
        if now - root.last > _FRESH:
            root.first, root.answered = now, False
        if answered or not root.answered:  # from where an answer comes, it can be reached
            root.address, root.ports = address, ports
        root.answered = root.answered or answered
        root.methods[method] = root.last = now

    def see_linked(self, linked: Set[str], now: float) -> bool:
        """These are linked with the own root now. Returns whether one has been lost."""
        lost, self._linked = self._linked - linked, linked
        for root_id in lost:
            if root := self._roots.get(root_id):
                root.lost = now
        for root_id in linked:
            if root := self._roots.get(root_id):
                root.introductions = 0
        return bool(lost)

    def is_linked(self, root_id: str) -> bool:
        return root_id in self._linked

    def linked_addresses(self) -> set[str]:
        """Nobody need be asked there."""
        return {self._roots[root_id].address for root_id in self._linked if root_id in self._roots}

    def linked_places(self) -> list[tuple[str, int]]:
        """Address and TCP port of each that is linked."""
        known = (self._roots[root_id] for root_id in self._linked if root_id in self._roots)
        return [(root.address, root.ports[0]) for root in known]

    def introductions(self, now: float) -> list[Introduction]:
        """Whom to introduce now; it counts as done."""
        chosen = []
        doubtful = []
        for root_id, root in self._roots.items():
            if root_id in self._linked or not self._may_be_introduced(root, now):
                continue
            if root.answered and root.introductions < 2:
                chosen.append(root_id)
            else:
                doubtful.append(root_id)
        if doubtful and now - self._rationed >= RATION:
            self._rationed = now
            chosen.append(min(doubtful, key=lambda root_id: self._roots[root_id].introduced))
        return [self._introduce(root_id, now) for root_id in chosen]

    def waiting(self, now: float) -> bool:
        """Whether somebody may have to be introduced soon, though nobody is heard again."""
        return any(
            root_id not in self._linked and root.last > root.introduced and now - root.last < _FRESH
            for root_id, root in self._roots.items()
        )

    def report(self, now: float) -> list[Heard]:
        return [
            Heard(
                root_id,
                root.address,
                root.ports[0],
                {method: now - when for method, when in root.methods.items()},
                root_id in self._linked,
            )
            for root_id, root in self._roots.items()
        ]

    def _may_be_introduced(self, root: _Root, now: float) -> bool:
        if now - root.last > _FRESH or root.last <= root.introduced or now - root.lost < SETTLE:
            return False
        if root.introductions:
            return now - root.introduced >= _AGAIN[min(root.introductions, len(_AGAIN)) - 1]
        return root.answered or now - root.first >= ASKED_ONLY_AFTER

    def _introduce(self, root_id: str, now: float) -> Introduction:
        root = self._roots[root_id]
        root.introduced = now
        root.introductions += 1
        return Introduction(root_id, root.address, root.ports)
