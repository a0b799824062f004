"""PURE. What this node knows of the others: who is here, and who offers the names that it uses.

It is told what the fabric sees (tokens that appear and vanish) and what the lanes see (nodes heard, connections
refused), with the time, and answers who could be asked. A vanished token is no proof of death: a change of root
takes all tokens away for a moment. So what vanished stays, as a last choice, for ``grace`` seconds, unless a lane
tells more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from labc.directory.choosing import Candidate
from labc.directory.node_events import Standing
from labc.directory.records import NodeRecord, Offer


@dataclass(slots=True)
class _Node:
    record: NodeRecord
    vanished: float | None = None
    """When its token vanished; None while it is there."""
    doubted: bool = False
    """A lane found it unreachable or silent, and it was not heard since."""
    quiet_until: float | None = None
    """It lets questions for a sign of life unanswered, or did so not long before this."""

    @property
    def doubtful(self) -> bool:
        return self.doubted or self.vanished is not None or self.quiet_until is not None


@dataclass(slots=True)
class _Name:
    """A name that is watched: its offers, each with the time at which its token vanished."""

    offers: dict[str, float | None] = field(default_factory=dict)
    hosts: dict[str, str] = field(default_factory=dict)
    """Where each of these nodes is, by the token of the offer."""
    denied: dict[str, float] = field(default_factory=dict)
    """The nodes that said, at this time, that they do not offer it, while their token says that they do."""
    settled: bool = False
    last_lost: NodeRecord | None = None


class Directory:
    """See the module. ``now`` is any clock that only goes forward, in seconds."""

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._nodes: dict[str, _Node] = {}
        self._names: dict[str, _Name] = {}
        self._view: Literal["clear", "returning", "gone"] = "clear"
        """Of the fabric. Only while it is clear, what has vanished is lost after the grace."""

    # What the fabric sees.

    def node_appeared(self, record: NodeRecord) -> bool:
        """True if it was not known before."""
        known = self._nodes.get(record.id)
        self._nodes[record.id] = _Node(record)
        return known is None

    def node_vanished(self, node_id: str, now: float) -> NodeRecord | None:
        """The node, if this was the last that was needed to call it lost."""
        node = self._nodes.get(node_id)
        if node is None or node.vanished is not None:
            return None
        node.vanished = now
        return self._remove(node_id) if node.doubted and self._view == "clear" else None

    def offer_appeared(self, offer: Offer) -> None:
        if name := self._names.get(offer.name):
            name.offers[offer.node_id], name.hosts[offer.node_id] = None, offer.host_id
            name.denied.pop(offer.node_id, None)

    def offer_vanished(self, offer: Offer, now: float) -> None:
        name = self._names.get(offer.name)
        if name and name.offers.get(offer.node_id, now) is None:
            if offer.node_id in name.denied:
                self._drop_offer(name, offer.node_id)
            else:
                name.offers[offer.node_id] = now

    def fabric_lost(self) -> None:
        """This node's own link to its root is gone: what vanishes now tells nothing of the others."""
        self._view = "gone"

    def fabric_returns(self) -> None:
        """The link is back, and tokens come with it; what stays vanished counts only from :meth:`fabric_back` on."""
        if self._view == "gone":
            self._view = "returning"

    def fabric_back(self, now: float) -> None:
        """The link is back, and tokens with it: what stays vanished from here on counts."""
        self._view = "clear"
        for node in self._nodes.values():
            node.vanished = None if node.vanished is None else now
        for name in self._names.values():
            name.offers = {key: None if gone is None else now for key, gone in name.offers.items()}

    # What the lanes see.

    def node_heard(self, node_id: str) -> bool:
        """It answered on a lane. True if that changes anything."""
        node = self._nodes.get(node_id)
        if node is None or not (node.doubted or node.quiet_until is not None):
            return False
        node.doubted, node.quiet_until = False, None
        return True

    def node_quiet(self, node_id: str, until: float) -> bool:
        """It lets a question for a sign of life unanswered: a last choice for so long. True if it was not yet."""
        node = self._nodes.get(node_id)
        if node is None:
            return False
        was_quiet, node.quiet_until = node.quiet_until is not None, until
        return not was_quiet

    def node_doubted(self, node_id: str) -> NodeRecord | None:
        """It can't be reached or is silent. The node, if its token has vanished as well: then it is lost."""
        node = self._nodes.get(node_id)
        if node is None:
            return None
        node.doubted = True
        return self._remove(node_id) if node.vanished is not None and self._view == "clear" else None

    def offer_denied(self, name: str, node_id: str, now: float) -> None:
        """It says that it does not offer this (any more).

        Gone for good only if its token has vanished too, or does so soon: it may offer it again by now, and then no
        new token comes. Until that is clear it is a last choice.
        """
        known = self._names.get(name)
        if known is None or node_id not in known.offers:
            return
        if known.offers[node_id] is None:
            known.denied[node_id] = now
        else:
            self._drop_offer(known, node_id)

    # Names in use.

    def watch(self, name: str) -> None:
        self._names.setdefault(name, _Name())

    def settled(self, name: str) -> None:
        """Every offer of the name that was there when it was first watched has been told."""
        if known := self._names.get(name):
            known.settled = True

    def forget(self, name: str) -> None:
        self._names.pop(name, None)

    def offered(self) -> set[str]:
        """Those of them that somebody offers."""
        return {name for name in self._names if self.candidates(name)}

    def is_settled(self, name: str) -> bool:
        known = self._names.get(name)
        return known is not None and known.settled

    def last_lost(self, name: str) -> NodeRecord | None:
        """The provider whose loss left the name without any; None if it has one, or never had."""
        known = self._names.get(name)
        return known.last_lost if known and not self.candidates(name) else None

    # Answers.

    def node(self, node_id: str) -> NodeRecord | None:
        node = self._nodes.get(node_id)
        return node.record if node else None

    def nodes(self) -> list[NodeRecord]:
        """All nodes, in the order in which they were met."""
        return [node.record for node in list(self._nodes.values())]  # in one step: from any thread

    def doubted(self, node_id: str) -> NodeRecord | None:
        """The node, if a lane has given it up, and nothing was heard of it since."""
        node = self._nodes.get(node_id)
        return node.record if node and node.doubted else None

    def alive(self) -> list[NodeRecord]:
        """The nodes that no lane has given up, though they may be slow, or away from the fabric for a moment."""
        return [node.record for node in self._nodes.values() if not node.doubted]

    def standings(self) -> Iterator[Standing]:
        """All nodes, and how each is seen now; for a :class:`History`."""
        for node in self._nodes.values():
            vanished = node.vanished is not None
            by_lanes = node.doubted or node.quiet_until is not None
            unknown = vanished and not by_lanes and self._view != "clear"
            yield Standing(node.record, vanished, None if unknown else vanished or by_lanes)

    def awaits(self, node_id: str) -> bool:
        """Whether it has vanished, as this node's own link has, and may come back with that."""
        node = self._nodes.get(node_id)
        return self._view != "clear" and node is not None and node.vanished is not None

    def is_present(self, node_id: str) -> bool:
        """Whether the fabric vouches for it now."""
        node = self._nodes.get(node_id)
        return self._view != "gone" and node is not None and node.vanished is None

    def candidates(self, name: str, busy: Callable[[str], int] = lambda _: 0) -> list[Candidate]:
        """Who could be asked for ``name``, in no order. ``busy`` tells how many calls a node has not answered.

        Not one whose offer is of another host than the node itself: somebody has copied it, to be asked what is not for
        him.
        """
        known = self._names.get(name)
        if known is None:
            return []
        found = []
        for node_id, vanished in known.offers.items():
            node = self._nodes.get(node_id)
            if node is not None and node.record.host_id == known.hosts.get(node_id):
                doubtful = node.doubtful or vanished is not None or node_id in known.denied
                found.append(Candidate(node.record, doubtful, busy(node_id)))
        return found

    def everybody(self, busy: Callable[[str], int] = lambda _: 0) -> list[Candidate]:
        """All nodes, as candidates."""
        return [Candidate(node.record, node.doubtful, busy(node_id)) for node_id, node in self._nodes.items()]

    # Time.

    def next_expiry(self) -> float | None:
        """When :meth:`expire` has something to do."""
        due = [node.quiet_until for node in self._nodes.values() if node.quiet_until is not None]
        if self._view == "clear":
            gone = [node.vanished for node in self._nodes.values() if node.vanished is not None]
            gone += [time for name in self._names.values() for time in name.offers.values() if time is not None]
            gone += [time for name in self._names.values() for time in name.denied.values()]
            due += [time + self._grace for time in gone]
        return min(due, default=None)

    def expire(self, now: float) -> list[NodeRecord]:
        """Drop what stayed vanished for the whole grace, denials as old as that, and quietness that was not told again;
        the nodes that are lost by it."""
        for node in self._nodes.values():
            if node.quiet_until is not None and node.quiet_until <= now:
                node.quiet_until = None
        if self._view != "clear":
            return []
        limit = now - self._grace
        for name in self._names.values():
            for node_id in [key for key, gone in name.offers.items() if gone is not None and gone <= limit]:
                self._drop_offer(name, node_id)
            name.denied = {key: since for key, since in name.denied.items() if since > limit}
        late = [key for key, node in self._nodes.items() if node.vanished is not None and node.vanished <= limit]
        return [self._remove(node_id) for node_id in late]

    def drop(self, node_id: str) -> None:
        """It is lost, as is known elsewhere."""
        if node_id in self._nodes:
            self._remove(node_id)

    def _remove(self, node_id: str) -> NodeRecord:
        for name in self._names.values():
            if node_id in name.offers:
                name.last_lost = self._nodes[node_id].record
                if name.offers[node_id] is not None:
                    del name.offers[node_id]
                    name.hosts.pop(node_id, None)
                    name.denied.pop(node_id, None)
        return self._nodes.pop(node_id).record

    def _drop_offer(self, name: _Name, node_id: str) -> None:
        name.denied.pop(node_id, None)
        name.hosts.pop(node_id, None)
        if name.offers.pop(node_id, 0.0) is None or node_id in self._nodes:
            node = self._nodes.get(node_id)
            name.last_lost = node.record if node else name.last_lost
