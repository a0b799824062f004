from __future__ import annotations

import re
from collections import defaultdict
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labc.directory import PATIENCE, Directory, History, NodeEvent, NodeRecord

HERE = NodeRecord("here", "h1", "h1", "watcher")
A = NodeRecord("a", "h1", "h1", "camera")
B = NodeRecord("b", "h2", "h2", "stage")
GRACE = 1.0

LEGAL = re.compile(r"(joined (suspect back )*(suspect )?(left |lost ))*(joined (suspect back )*(suspect )?)?")
"""Of one node, whatever happens."""


class Watcher:
    """A directory, and a history that is shown it after everything that happens, and when it wants to look."""

    def __init__(self, grace: float = GRACE) -> None:
        self.directory = Directory(grace)
        self.history = History(HERE.id, grace)
        self.now = 100.0
        self.told: list[tuple[str, str, float]] = []
        """Kind, node id and seconds from the beginning."""

    def look(self) -> None:
        for kind, node in self.history.look(self.directory.standings(), self.now):
            self.told.append((kind, node.id, round(self.now - 100.0, 3)))

    def appear(self, *nodes: NodeRecord) -> None:
        for node in nodes:
            self.directory.node_appeared(node)
        self.look()

    def vanish(self, node: NodeRecord) -> None:
        self.directory.node_vanished(node.id, self.now)
        self.look()

    def doubt(self, node: NodeRecord) -> None:
        self.directory.node_doubted(node.id)
        self.look()

    def quiet(self, node: NodeRecord) -> None:
        self.directory.node_quiet(node.id, self.now + 1.0)
        self.look()

    def hear(self, node: NodeRecord) -> None:
        self.directory.node_heard(node.id)
        self.look()

    def goodbye(self, node: NodeRecord) -> None:
        self.history.goodbye(node.id, self.now)
        self.look()

    def link(self, up: bool) -> None:
        if up:
            self.directory.fabric_back(self.now)
        else:
            self.directory.fabric_lost()
        self.look()

    def wait(self, seconds: float) -> None:
        """Everything that is due in this time happens when it is due."""
        end = self.now + seconds
        while True:
            due = [time for time in (self.directory.next_expiry(), self.history.next_look()) if time is not None]
            if not due or min(due) > end:
                break
            self.now = max(self.now, min(due))
            self.directory.expire(self.now)
            self.look()
        self.now = end

    def kinds(self, node: NodeRecord) -> list[str]:
        return [kind for kind, node_id, _ in self.told if node_id == node.id]


@pytest.fixture
def watcher() -> Watcher:
    """A and B are there, and that was told."""
    watcher = Watcher()
    watcher.appear(HERE, A, B)
    assert watcher.told == [("joined", "a", 0.0), ("joined", "b", 0.0)]
    watcher.told.clear()
    return watcher


def test_nothing_is_told_twice(watcher: Watcher) -> None:
    watcher.look()
    watcher.appear(A)
    watcher.wait(10.0)
    assert watcher.told == []
    assert watcher.history.next_look() is None


def test_nothing_is_told_of_the_watcher_itself(watcher: Watcher) -> None:
    watcher.vanish(HERE)
    watcher.wait(10.0)
    watcher.appear(HERE)
    assert watcher.told == []


def test_one_whose_token_vanishes_without_a_goodbye(watcher: Watcher) -> None:
    watcher.vanish(A)
    watcher.wait(10.0)
    assert watcher.told == [("suspect", "a", PATIENCE), ("lost", "a", GRACE)]


def test_one_that_was_killed_and_had_a_lane_is_lost_a_moment_later(watcher: Watcher) -> None:
    watcher.doubt(A)
    watcher.vanish(A)
    watcher.wait(10.0)
    assert watcher.told == [("lost", "a", 0.1)]


def test_one_that_was_killed_a_while_after_its_lane_broke(watcher: Watcher) -> None:
    watcher.doubt(A)
    watcher.wait(0.3)
    watcher.vanish(A)
    assert watcher.told == [("lost", "a", 0.3)]


@pytest.mark.parametrize("lane", [False, True])
@pytest.mark.parametrize("goodbye_first", [False, True])
def test_one_that_leaves(watcher: Watcher, lane: bool, goodbye_first: bool) -> None:
    """With a lane, which it closes as well, or without; the goodbye may be overtaken by the end of the token."""
    if goodbye_first:
        watcher.goodbye(A)
        assert watcher.told == []
    if lane:
        watcher.doubt(A)
    watcher.vanish(A)
    if not goodbye_first:
        assert watcher.told == []
        watcher.wait(0.05)
        watcher.goodbye(A)
    assert watcher.kinds(A) == ["left"]
    watcher.wait(10.0)
    assert watcher.kinds(A) == ["left"]
    assert watcher.kinds(B) == []


def test_a_change_of_root_elsewhere_is_not_told(watcher: Watcher) -> None:
    watcher.vanish(A)
    watcher.wait(PATIENCE - 0.1)
    watcher.appear(A)
    watcher.wait(10.0)
    assert watcher.told == []


def test_a_slow_change_of_root_elsewhere_is_a_doubt_that_is_dispelled(watcher: Watcher) -> None:
    watcher.vanish(A)
    watcher.wait(PATIENCE + 0.2)
    watcher.appear(A)
    watcher.wait(10.0)
    assert watcher.told == [("suspect", "a", PATIENCE), ("back", "a", PATIENCE + 0.2)]


def test_the_loss_of_the_watcher_s_own_root_is_not_told(watcher: Watcher) -> None:
    watcher.vanish(A)
    watcher.wait(0.1)
    watcher.link(up=False)
    watcher.vanish(B)
    watcher.wait(5.0)
    watcher.link(up=True)
    watcher.wait(PATIENCE - 0.1)
    assert watcher.told == []
    watcher.appear(A)
    watcher.wait(10.0)
    assert watcher.told == [("suspect", "b", 5.1 + PATIENCE), ("lost", "b", 5.1 + GRACE)]


def test_one_in_doubt_stays_so_while_the_watcher_has_no_link(watcher: Watcher) -> None:
    watcher.vanish(A)
    watcher.wait(PATIENCE)
    watcher.link(up=False)
    watcher.wait(5.0)
    assert watcher.kinds(A) == ["suspect"]
    watcher.link(up=True)
    watcher.appear(A)
    assert watcher.kinds(A) == ["suspect", "back"]


def test_a_root_that_leaves_says_goodbye_and_takes_the_link_along(watcher: Watcher) -> None:
    watcher.goodbye(A)
    watcher.link(up=False)
    watcher.vanish(A)
    watcher.vanish(B)
    watcher.wait(3.0)
    assert watcher.told == []
    watcher.link(up=True)
    watcher.appear(B)
    watcher.wait(10.0)
    assert watcher.told == [("left", "a", 3.0)]


def test_one_that_lets_a_question_unanswered_and_answers_again(watcher: Watcher) -> None:
    watcher.quiet(A)
    watcher.wait(0.4)
    watcher.quiet(A)
    watcher.wait(0.4)
    assert watcher.told == [("suspect", "a", PATIENCE)]
    watcher.hear(A)
    watcher.wait(10.0)
    assert watcher.told == [("suspect", "a", PATIENCE), ("back", "a", 0.8)]


def test_what_somebody_else_said_in_its_name_does_no_harm(watcher: Watcher) -> None:
    for _ in range(3):
        watcher.goodbye(A)
        watcher.wait(1.0)
    assert watcher.told == []
    watcher.wait(2.0)  # by now it does not count any more
    watcher.vanish(A)
    watcher.wait(10.0)
    assert watcher.kinds(A) == ["suspect", "lost"]


def test_a_false_goodbye_is_forgotten_when_the_token_comes_back(watcher: Watcher) -> None:
    watcher.link(up=False)
    watcher.vanish(A)
    watcher.goodbye(A)
    watcher.link(up=True)  # the worst that can come of it, with a change of root at the same time
    watcher.appear(A)
    assert watcher.kinds(A) == ["left", "joined"]
    watcher.vanish(A)
    watcher.wait(10.0)
    assert watcher.kinds(A) == ["left", "joined", "suspect", "lost"]


def test_a_goodbye_of_who_is_not_known_leaves_nothing_behind(watcher: Watcher) -> None:
    for number in range(100):
        watcher.history.goodbye(f"x{number}", watcher.now)
    watcher.appear(NodeRecord("x7", "h3", "h3", "new"))
    watcher.vanish(NodeRecord("x7", "h3", "h3", "new"))
    watcher.wait(10.0)
    assert [kind for kind, _, _ in watcher.told] == ["joined", "suspect", "lost"]


def test_one_that_was_lost_and_is_there_again_joins_again(watcher: Watcher) -> None:
    watcher.vanish(A)
    watcher.wait(10.0)
    watcher.appear(A)
    assert watcher.kinds(A) == ["suspect", "lost", "joined"]


def test_a_short_grace_shortens_the_patience() -> None:
    watcher = Watcher(grace=0.2)
    watcher.appear(A)
    watcher.vanish(A)
    watcher.wait(10.0)
    assert watcher.told == [("joined", "a", 0.0), ("suspect", "a", 0.1), ("lost", "a", 0.2)]


def test_one_that_vanished_before_the_watch_began_is_told_when_it_is_there() -> None:
    """It may have left, with its token kept for a while in case that it was a change of root."""
    watcher = Watcher()
    for node in (A, B):
        watcher.directory.node_appeared(node)
        watcher.directory.node_vanished(node.id, watcher.now)
    watcher.look()
    watcher.wait(0.2)
    assert watcher.told == []
    watcher.appear(A)
    watcher.wait(10.0)
    assert watcher.told == [("joined", "a", 0.2)]


def test_who_watches_later_is_told_who_is_there(watcher: Watcher) -> None:
    watcher.vanish(A)
    watcher.wait(PATIENCE)
    assert list(watcher.history.present()) == [("joined", A), ("suspect", A), ("joined", B)]
    watcher.goodbye(A)
    assert watcher.kinds(A) == ["suspect", "left"]
    assert list(watcher.history.present()) == [("joined", B)]
    watcher.wait(10.0)
    assert list(watcher.history.present()) == [("joined", B)]


stimuli = st.one_of(
    st.tuples(st.sampled_from(["appear", "vanish", "doubt", "quiet", "hear", "goodbye"]), st.sampled_from([A, B])),
    st.tuples(st.just("link"), st.booleans()),
    st.tuples(st.just("wait"), st.sampled_from([0.01, 0.1, 0.45, 0.6, 1.0, 2.5])),
)


@given(st.lists(stimuli, max_size=40))
def test_whatever_happens_the_order_is_legal(what: list[tuple[str, object]]) -> None:
    watcher = Watcher()
    said_goodbye = set()
    for verb, argument in what:
        if verb == "goodbye":
            said_goodbye.add(argument)
        getattr(watcher, verb)(argument)
    watcher.link(True)
    watcher.wait(10.0)
    ends: dict[str, str] = defaultdict(str)
    for kind, node_id, _ in watcher.told:
        ends[node_id] += f"{kind} "
    for node in (A, B):
        assert LEGAL.fullmatch(ends[node.id]), ends[node.id]
        assert node in said_goodbye or "left" not in ends[node.id]
    # In the end the watcher knows what the directory knows.
    standings = {s.node: s.doubtful for s in watcher.directory.standings()}
    for node in (A, B):
        last = ends[node.id].split()[-1:] or ["lost"]
        assert (last[0] in ("left", "lost")) == (node not in standings), (ends[node.id], standings)
        assert (last[0] == "suspect") == (standings.get(node) is True), (ends[node.id], standings)
    assert watcher.history.next_look() is None


def test_an_event_tells_when_and_who() -> None:
    event = NodeEvent("lost", "camera", "h1", "a", "h1", 1_700_000_000.5)
    assert event.time == datetime(2023, 11, 14, 22, 13, 20, 500_000, UTC)
    assert str(event) == "camera on h1: lost"
