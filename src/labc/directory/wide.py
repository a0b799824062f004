"""PURE. The directory of a node whose site has a router: of this site, and of the others.

A site is the nodes that meet on the fabric by themselves; what is known of all others came by way of a router. A node
may be known both ways, and is then one of this site.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from labc.directory.choosing import Candidate
from labc.directory.directory import Directory
from labc.directory.node_events import Standing
from labc.directory.records import NodeRecord


class WideDirectory(Directory):
    """The directory of this site; ``others`` is that of all who are known by way of a router, this site's own among
    them. It is told of their tokens, and of the link to the router, itself; what lanes see, it is told from here."""

    def __init__(self, grace: float) -> None:
        super().__init__(grace)
        self.others = Directory(grace)

    def is_of_this_site(self, node_id: str) -> bool:
        return super().node(node_id) is not None

    # What the fabric sees.

    def node_vanished(self, node_id: str, now: float) -> NodeRecord | None:
        return self._given_up(super().node_vanished(node_id, now))

    def _given_up(self, lost: NodeRecord | None) -> NodeRecord | None:
        """A node that is lost to its site, this one: None, if it may be at another one. That can't be known while there
        is no link to the router."""
        if lost is not None and self.others.awaits(lost.id):
            self.others.drop(lost.id)
        return self.unless_known(lost)

    def unless_known(self, lost: NodeRecord | None) -> NodeRecord | None:
        """A node that one of the two has given up: None, if the other has not."""
        return lost if lost is not None and self.node(lost.id) is None else None

    # What the lanes see.

    def node_heard(self, node_id: str) -> bool:
        return any([super().node_heard(node_id), self.others.node_heard(node_id)])

    def node_quiet(self, node_id: str, until: float) -> bool:
        away = not self.others.awaits(node_id) and self.others.node_quiet(node_id, until)
        return super().node_quiet(node_id, until) or away

    def node_doubted(self, node_id: str) -> NodeRecord | None:
        """While the way over the router is gone, it is no wonder that those who are behind it can't be reached."""
        away = None if self.others.awaits(node_id) else self.others.node_doubted(node_id)
        own = super().node_doubted(node_id)
        return self.unless_known(away) if own is None else self._given_up(own)

    def offer_denied(self, name: str, node_id: str, now: float) -> None:
        super().offer_denied(name, node_id, now)
        self.others.offer_denied(name, node_id, now)

    # Names in use.

    def watch(self, name: str) -> None:
        super().watch(name)
        self.others.watch(name)

    def settled(self, name: str) -> None:
        super().settled(name)
        self.others.settled(name)

    def forget(self, name: str) -> None:
        super().forget(name)
        self.others.forget(name)

    def last_lost(self, name: str) -> NodeRecord | None:
        return None if self.candidates(name) else super().last_lost(name) or self.others.last_lost(name)

    # Answers.

    def node(self, node_id: str) -> NodeRecord | None:
        return super().node(node_id) or self.others.node(node_id)

    def nodes(self) -> list[NodeRecord]:
        return _joined(super().nodes(), self.others.nodes())

    def doubted(self, node_id: str) -> NodeRecord | None:
        return super().doubted(node_id) if self.is_of_this_site(node_id) else self.others.doubted(node_id)

    def alive(self) -> list[NodeRecord]:
        """Without those who are known only by way of a router to which there is no link now."""
        away = [node for node in self.others.alive() if self.others.is_present(node.id)]
        return super().alive() + [node for node in away if not self.is_of_this_site(node.id)]

    def standings(self) -> Iterator[Standing]:
        yield from super().standings()
        yield from (each for each in self.others.standings() if not self.is_of_this_site(each.node.id))

    def is_present(self, node_id: str) -> bool:
        return super().is_present(node_id) or self.others.is_present(node_id)

    def candidates(self, name: str, busy: Callable[[str], int] = lambda _: 0) -> list[Candidate]:
        """Who has moved out of this site is asked as one of the others."""
        own = super().candidates(name, busy)
        away = [c for c in self.others.candidates(name, busy) if not self.is_of_this_site(c.node.id)]
        return own + away

    def everybody(self, busy: Callable[[str], int] = lambda _: 0) -> list[Candidate]:
        away = [c for c in self.others.everybody(busy) if not self.is_of_this_site(c.node.id)]
        return super().everybody(busy) + away

    # Time.

    def next_expiry(self) -> float | None:
        dues = [super().next_expiry(), self.others.next_expiry()]
        return min((due for due in dues if due is not None), default=None)

    def expire(self, now: float) -> list[NodeRecord]:
        away = {node.id: node for node in self.others.expire(now)}
        own = {node.id: node for node in super().expire(now) if self._given_up(node)}
        return [node for node in (away | own).values() if self.node(node.id) is None]


def _joined(own: list[NodeRecord], others: list[NodeRecord]) -> list[NodeRecord]:
    known = {node.id for node in own}
    return own + [node for node in others if node.id not in known]
