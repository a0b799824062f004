from __future__ import annotations

import pytest

from labc.directory import Directory, NodeRecord, Offer

A = NodeRecord("a", "h1", "h1", "camera")
B = NodeRecord("b", "h2", "h2", "stage")
GRACE = 1.0


@pytest.fixture
def directory() -> Directory:
    """A and B are there, and both offer "echo"."""
    directory = Directory(GRACE)
    directory.watch("echo")
    for node in (A, B):
        directory.node_appeared(node)
        directory.offer_appeared(Offer("echo", node.host_id, node.id))
    return directory


def offering(directory: Directory) -> dict[str, bool]:
    """Who could be asked, and whether that is doubtful."""
    return {c.node.id: c.doubtful for c in directory.candidates("echo")}


def test_a_name_that_is_not_watched_has_no_candidates(directory: Directory) -> None:
    directory.offer_appeared(Offer("other", "h1", "a"))
    assert directory.candidates("other") == []


def test_an_offer_of_an_unknown_node_counts_when_the_node_appears(directory: Directory) -> None:
    directory.offer_appeared(Offer("echo", "h3", "c"))
    assert "c" not in offering(directory)
    directory.node_appeared(NodeRecord("c", "h3", "h3", "late"))
    assert offering(directory)["c"] is False


def test_what_vanished_is_a_last_choice_until_the_grace_is_over(directory: Directory) -> None:
    directory.node_vanished("a", now=10.0)
    directory.offer_vanished(Offer("echo", "h1", "a"), now=10.0)
    assert offering(directory) == {"a": True, "b": False}
    assert directory.next_expiry() == 11.0
    assert directory.expire(10.9) == []
    assert directory.expire(11.0) == [A]
    assert offering(directory) == {"b": False}
    assert directory.next_expiry() is None


def test_what_comes_back_in_time_was_never_away(directory: Directory) -> None:
    directory.node_vanished("a", now=10.0)
    directory.offer_vanished(Offer("echo", "h1", "a"), now=10.0)
    directory.node_appeared(A)
    directory.offer_appeared(Offer("echo", "h1", "a"))
    assert directory.expire(20.0) == []
    assert offering(directory) == {"a": False, "b": False}


def test_vanished_and_doubted_is_lost_at_once_in_either_order(directory: Directory) -> None:
    directory.node_vanished("a", now=10.0)
    assert directory.node_doubted("a") == A
    assert directory.node_doubted("b") is None
    assert offering(directory) == {"b": True}
    assert directory.node_vanished("b", now=10.0) == B
    assert directory.nodes() == []


def test_who_is_doubted(directory: Directory) -> None:
    assert directory.doubted("a") is None
    directory.node_doubted("a")
    assert directory.doubted("a") == A
    directory.node_heard("a")
    assert directory.doubted("a") is None
    assert directory.doubted("nobody") is None


def test_a_node_that_is_heard_again_is_not_doubted(directory: Directory) -> None:
    directory.node_doubted("a")
    directory.node_heard("a")
    assert offering(directory) == {"a": False, "b": False}
    assert directory.node_vanished("a", now=1.0) is None


def test_a_quiet_node_is_a_last_choice_until_it_is_heard(directory: Directory) -> None:
    assert directory.node_quiet("a", until=11.0)
    assert offering(directory) == {"a": True, "b": False}
    assert not directory.node_quiet("a", until=12.0), "it was already"
    assert directory.node_heard("a")
    assert not directory.node_heard("a")
    assert offering(directory) == {"a": False, "b": False}
    assert directory.next_expiry() is None


def test_a_node_is_quiet_no_longer_than_that_is_told(directory: Directory) -> None:
    directory.fabric_lost()
    directory.node_quiet("a", until=11.0)
    directory.node_quiet("a", until=12.0)
    assert directory.next_expiry() == 12.0
    assert directory.expire(11.9) == []
    assert offering(directory) == {"a": True, "b": False}
    assert directory.expire(12.0) == []
    assert offering(directory) == {"a": False, "b": False}


def test_a_quiet_node_that_vanishes_has_its_grace(directory: Directory) -> None:
    directory.node_quiet("a", until=11.0)
    assert directory.node_vanished("a", now=10.0) is None
    assert directory.expire(11.0) == [A]


def test_without_a_link_nothing_is_lost(directory: Directory) -> None:
    directory.fabric_lost()
    for node in (A, B):
        directory.node_vanished(node.id, now=10.0)
        directory.offer_vanished(Offer("echo", node.host_id, node.id), now=10.0)
    assert directory.node_doubted("a") is None
    assert directory.expire(1000.0) == []
    assert directory.next_expiry() is None
    assert offering(directory) == {"a": True, "b": True}
    # The link is back: what does not come back within the grace from now is lost.
    directory.fabric_back(now=1000.0)
    directory.node_appeared(B)
    directory.offer_appeared(Offer("echo", "h2", "b"))
    assert directory.expire(1000.9) == []
    assert directory.expire(1001.0) == [A]
    assert offering(directory) == {"b": False}


def test_the_first_link_has_nobody_waited_for(directory: Directory) -> None:
    """Only a link that was lost brings back who vanished with it."""
    directory.fabric_returns()
    directory.node_doubted("a")
    assert not directory.awaits("a")
    assert directory.node_vanished("a", 1.0) == A


def test_presence_is_what_the_fabric_vouches_for(directory: Directory) -> None:
    assert directory.is_present("a")
    directory.node_doubted("a")
    assert directory.is_present("a")
    directory.node_vanished("b", now=1.0)
    assert not directory.is_present("b")
    directory.fabric_lost()
    assert not directory.is_present("a")
    assert not directory.is_present("nobody")


def test_the_last_provider_that_was_lost_is_remembered(directory: Directory) -> None:
    assert directory.last_lost("echo") is None
    directory.offer_vanished(Offer("echo", "h1", "a"), now=0.5)
    directory.offer_denied("echo", "a", now=0.5)
    assert directory.last_lost("echo") is None  # there is B yet
    directory.node_doubted("b")
    directory.node_vanished("b", now=1.0)
    assert directory.last_lost("echo") == B
    directory.node_appeared(B)
    directory.offer_appeared(Offer("echo", "h2", "b"))
    assert directory.last_lost("echo") is None


def test_a_withdrawn_offer_does_not_take_its_node_along(directory: Directory) -> None:
    directory.offer_vanished(Offer("echo", "h1", "a"), now=5.0)
    assert directory.expire(6.0) == []
    assert [node.id for node in directory.nodes()] == ["a", "b"]
    assert offering(directory) == {"b": False}


def test_a_hung_node_keeps_its_offers_for_its_return(directory: Directory) -> None:
    directory.node_vanished("a", now=5.0)  # its presence only: its watchdog took it away
    directory.expire(6.0)
    assert offering(directory) == {"b": False}
    directory.node_appeared(A)
    assert offering(directory) == {"a": False, "b": False}


def test_candidates_carry_how_busy_they_are(directory: Directory) -> None:
    busy = {"a": 3, "b": 0}
    assert {c.node.id: c.busy for c in directory.candidates("echo", busy.__getitem__)} == busy


def test_settled_is_told_apart_from_watched(directory: Directory) -> None:
    assert not directory.is_settled("echo")
    directory.settled("echo")
    assert directory.is_settled("echo")
    directory.forget("echo")
    assert not directory.is_settled("echo")
    assert directory.candidates("echo") == []


def test_a_denied_offer_is_a_last_choice_while_its_token_is_there(directory: Directory) -> None:
    directory.offer_denied("echo", "a", now=10.0)
    assert offering(directory) == {"a": True, "b": False}
    assert directory.last_lost("echo") is None
    assert directory.next_expiry() == 11.0
    assert directory.expire(10.9) == []
    assert offering(directory)["a"] is True
    assert directory.expire(11.0) == []
    assert offering(directory) == {"a": False, "b": False}
    assert directory.next_expiry() is None


def test_a_new_token_ends_a_denial(directory: Directory) -> None:
    directory.offer_denied("echo", "a", now=10.0)
    directory.offer_appeared(Offer("echo", "h1", "a"))
    assert offering(directory) == {"a": False, "b": False}
    assert directory.next_expiry() is None


@pytest.mark.parametrize("denied_first", [True, False])
def test_denied_and_vanished_is_withdrawn_at_once_in_either_order(directory: Directory, denied_first: bool) -> None:
    if denied_first:
        directory.offer_denied("echo", "a", now=10.0)
        directory.offer_vanished(Offer("echo", "h1", "a"), now=10.1)
    else:
        directory.offer_vanished(Offer("echo", "h1", "a"), now=10.0)
        directory.offer_denied("echo", "a", now=10.1)
    assert offering(directory) == {"b": False}
    assert directory.next_expiry() is None


def test_a_denial_of_what_was_never_offered_means_nothing(directory: Directory) -> None:
    directory.offer_denied("echo", "c", now=10.0)
    directory.offer_denied("other", "a", now=10.0)
    assert directory.next_expiry() is None


def test_alive_is_who_was_not_given_up(directory: Directory) -> None:
    directory.node_quiet("a", until=5.0)
    directory.node_vanished("a", now=1.0)
    assert directory.alive() == [A, B]
    directory.node_doubted("b")
    assert directory.alive() == [A]
    directory.node_heard("b")
    directory.expire(2.0)
    assert directory.alive() == [B]


def test_an_offer_that_was_copied_from_another_host_is_none() -> None:
    directory = Directory(grace=1.0)
    directory.watch("echo")
    directory.node_appeared(A)
    directory.node_appeared(B)
    directory.offer_appeared(Offer("echo", A.host_id, A.id))
    directory.offer_appeared(Offer("echo", A.host_id, B.id))
    assert [candidate.node for candidate in directory.candidates("echo")] == [A]
    directory.offer_appeared(Offer("echo", B.host_id, B.id))
    assert [candidate.node for candidate in directory.candidates("echo")] == [A, B]


def test_offered_are_the_watched_names_that_somebody_offers(directory: Directory) -> None:
    directory.watch("nobody's")
    assert directory.offered() == {"echo"}
    directory.offer_vanished(Offer("echo", A.host_id, A.id), now=1.0)
    directory.offer_vanished(Offer("echo", B.host_id, B.id), now=1.0)
    directory.expire(1.0 + GRACE)
    assert directory.offered() == set()
