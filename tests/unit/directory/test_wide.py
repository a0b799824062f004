"""The directory of a node that knows a router: its own site, and the others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from labc.directory import NodeRecord, Offer, WideDirectory

A = NodeRecord("a", "h1", "h1", "camera")
B = NodeRecord("b", "h2", "h2", "stage")
B_AWAY = replace(B, away=True)
GRACE = 1.0


def offer(node: NodeRecord, name: str = "f") -> Offer:
    return Offer(name, node.host_id, node.id)


def made() -> WideDirectory:
    directory = WideDirectory(GRACE)
    directory.watch("f")
    return directory


def asked(directory: WideDirectory) -> list[NodeRecord]:
    return [candidate.node for candidate in directory.candidates("f")]


def test_who_is_known_both_ways_is_of_this_site() -> None:
    directory = made()
    directory.others.node_appeared(B_AWAY)
    directory.others.offer_appeared(offer(B))
    assert directory.nodes() == asked(directory) == [B_AWAY]
    assert not directory.is_of_this_site("b")
    directory.node_appeared(B)
    directory.offer_appeared(offer(B))
    assert directory.nodes() == asked(directory) == [B]
    assert directory.node("b") == B
    assert [c.node for c in directory.everybody()] == [B]
    assert [standing.node for standing in directory.standings()] == [B]
    assert directory.alive() == [B]
    assert directory.is_of_this_site("b")


def test_who_is_cut_off_from_this_site_is_still_there_by_way_of_the_router() -> None:
    directory = made()
    for half, record in ((directory, B), (directory.others, B_AWAY)):
        half.node_appeared(record)
        half.offer_appeared(offer(B))
    assert directory.node_vanished("b", now=10.0) is None
    directory.offer_vanished(offer(B), now=10.0)
    assert [(c.node, c.doubtful) for c in directory.candidates("f")] == [(B, True)]  # it may be a change of root
    assert directory.is_present("b")
    assert directory.next_expiry() == 11.0
    assert directory.expire(11.0) == []
    assert [(c.node, c.doubtful) for c in directory.candidates("f")] == [(B_AWAY, False)]


def test_who_has_left_both_is_lost_once() -> None:
    directory = made()
    for half, record in ((directory, B), (directory.others, B_AWAY)):
        half.node_appeared(record)
        half.offer_appeared(offer(B))
    directory.node_vanished("b", now=10.0)
    directory.others.node_vanished("b", now=10.5)
    assert directory.expire(11.0) == []
    assert [node.id for node in directory.expire(11.5)] == ["b"]
    assert directory.next_expiry() is None
    assert directory.nodes() == []
    assert directory.last_lost("f") is not None


def test_a_lane_tells_both() -> None:
    directory = made()
    for half, record in ((directory, B), (directory.others, B_AWAY)):
        half.node_appeared(record)
    assert directory.node_doubted("b") is None
    assert directory.doubted("b") == B
    assert directory.node_vanished("b", now=1.0) is None  # the router still vouches for it
    assert directory.node("b") == B_AWAY
    assert directory.doubted("b") == B_AWAY
    assert directory.node_heard("b")
    assert directory.doubted("b") is None
    assert directory.node_doubted("b") is None
    assert directory.others.node_vanished("b", now=2.0) == B_AWAY
    assert directory.nodes() == []


def test_a_node_that_vanished_is_lost_when_a_lane_doubts_it() -> None:
    directory = made()
    directory.others.node_appeared(B_AWAY)
    directory.others.node_vanished("b", now=1.0)
    assert directory.node_doubted("b") == B_AWAY


def doubts(directory: WideDirectory) -> dict[NodeRecord, bool | None]:
    return {standing.node: standing.doubtful for standing in directory.standings()}


@pytest.mark.parametrize("end", ["killed", "expired"])
def test_a_node_of_this_site_is_lost_also_while_the_router_that_knew_it_is_away(end: str) -> None:
    directory = made()
    directory.node_appeared(B)
    directory.others.node_appeared(B_AWAY)
    directory.others.fabric_lost()
    directory.others.node_vanished("b", now=1.0)
    if end == "killed":
        assert directory.node_doubted("b") is None
        assert directory.node_vanished("b", now=2.0) == B
    else:
        assert directory.node_vanished("b", now=2.0) is None
        assert directory.expire(10.0) == [B]
    assert directory.nodes() == []


def test_without_a_link_to_the_router_nothing_away_is_lost_nor_waited_for() -> None:
    directory = made()
    directory.node_appeared(A)
    directory.others.node_appeared(B_AWAY)
    directory.others.offer_appeared(offer(B))
    directory.others.fabric_lost()
    directory.others.node_vanished("b", now=1.0)
    directory.others.offer_vanished(offer(B), now=1.0)
    assert directory.expire(100.0) == []
    assert directory.alive() == [A]
    assert [(c.node, c.doubtful) for c in directory.candidates("f")] == [(B_AWAY, True)]
    assert doubts(directory) == {A: False, B_AWAY: None}
    for link_changes in (lambda: None, directory.others.fabric_returns):
        link_changes()
        assert not directory.node_quiet("b", 200.0)  # it can't be reached by what leads over the router
        assert directory.node_doubted("b") is None
        assert doubts(directory) == {A: False, B_AWAY: None}
        assert directory.expire(100.0) == []
    directory.others.fabric_back(now=200.0)
    assert doubts(directory) == {A: False, B_AWAY: True}
    assert directory.expire(200.9) == []
    assert directory.expire(201.0) == [B_AWAY]
    assert directory.nodes() == [A]


def test_denials_and_forgotten_names() -> None:
    directory = made()
    for half, record in ((directory, A), (directory.others, B_AWAY)):
        half.node_appeared(record)
        half.offer_appeared(offer(record))
    assert not directory.is_settled("f")
    directory.settled("f")
    assert directory.is_settled("f")
    for record in (A, B_AWAY):
        directory.offer_denied("f", record.id, now=1.0)
    assert all(c.doubtful for c in directory.candidates("f"))
    directory.forget("f")
    assert asked(directory) == []
