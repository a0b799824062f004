"""Who is introduced to the own root, and when."""

from __future__ import annotations

import itertools

from labc.discovery.acquaintances import ASKED_ONLY_AFTER, MAX_KNOWN, RATION, SETTLE, Acquaintances, Introduction

A, B = "a" * 32, "b" * 32


def heard(who: Acquaintances, root: str, now: float, *, answered: bool = True, address: str = "10.0.0.1") -> None:
    who.heard(root, address, (55555,), "multicast", now, answered=answered)


def names(found: list[Introduction]) -> list[str]:
    return [introduction.root_id for introduction in found]


def test_who_answers_is_introduced_at_once_and_only_once() -> None:
    who = Acquaintances("own")
    heard(who, A, 0.0)
    assert who.waiting(0.0)
    assert who.introductions(0.0) == [Introduction(A, "10.0.0.1", (55555,))]
    assert not who.waiting(0.1)
    assert who.introductions(0.1) == []
    heard(who, A, 0.2)
    assert who.introductions(0.3) == [], "the engine is given a second"
    assert names(who.introductions(1.0)) == [A]


def test_nobody_is_introduced_to_itself_or_to_who_is_linked() -> None:
    who = Acquaintances("own")
    heard(who, "own", 0.0)
    heard(who, A, 0.0)
    who.see_linked({A}, 0.0)
    assert who.introductions(0.0) == []
    assert who.linked_addresses() == {"10.0.0.1"}
    assert who.linked_places() == [("10.0.0.1", 55555)]


def test_who_only_asks_is_introduced_after_a_while() -> None:
    who = Acquaintances("own")
    heard(who, A, 0.0, answered=False)
    assert who.introductions(0.0) == []
    heard(who, A, 1.0, answered=False)
    assert who.introductions(1.0) == []
    assert names(who.introductions(ASKED_ONLY_AFTER)) == [A]


def test_the_address_of_an_answer_counts_more_than_that_of_a_question() -> None:
    who = Acquaintances("own")
    heard(who, A, 0.0, address="10.0.0.1")
    heard(who, A, 0.1, answered=False, address="10.0.0.99")
    assert who.introductions(0.1)[0].address == "10.0.0.1"


def test_a_link_that_has_just_ended_is_not_made_anew_at_once() -> None:
    who = Acquaintances("own")
    heard(who, A, 0.0)
    assert not who.see_linked({A}, 1.0)
    assert who.see_linked(set(), 5.0)
    heard(who, A, 5.0)
    assert who.introductions(5.0 + SETTLE - 0.01) == []
    assert who.waiting(5.0)
    assert names(who.introductions(5.0 + SETTLE)) == [A]


def test_those_that_can_not_be_reached_wait_for_each_other() -> None:
    who = Acquaintances("own")
    roots = [f"{number:032x}" for number in range(5)]
    introduced = []
    for tenth in range(300):
        now = tenth / 10
        for root in roots:
            heard(who, root, now)
        introduced += [(now, root) for root in names(who.introductions(now))]
    first = [[when for when, root in introduced if root == r] for r in roots]
    assert all(times[:2] == [0.0, 1.0] for times in first)
    afterwards = sorted(when for when, _ in introduced if when > 1.0)
    gaps = [b - a for a, b in itertools.pairwise(afterwards)]
    assert min(gaps) >= RATION - 1e-9
    assert max(gaps) <= RATION + 0.2, "some one of them has its turn"
    assert {root for when, root in introduced if when > 20} == set(roots), "nobody is forgotten"


def test_a_newcomer_does_not_wait_for_those_that_can_not_be_reached() -> None:
    who = Acquaintances("own")
    for tenth in range(60):
        heard(who, A, tenth / 10)
        who.introductions(tenth / 10)
    heard(who, B, 6.0)
    assert B in names(who.introductions(6.0))


def test_who_was_not_heard_for_long_is_not_introduced() -> None:
    who = Acquaintances("own")
    heard(who, A, 0.0, answered=False)
    assert who.introductions(20.0) == []
    assert not who.waiting(20.0)


def test_their_number_is_bounded() -> None:
    who = Acquaintances("own")
    for number in range(MAX_KNOWN + 10):
        heard(who, f"{number:032x}", float(number))
    found = {each.root_id for each in who.report(2000.0)}
    assert len(found) == MAX_KNOWN
    assert f"{0:032x}" not in found
    assert f"{MAX_KNOWN + 9:032x}" in found


def test_the_report_says_how_and_when() -> None:
    who = Acquaintances("own")
    heard(who, A, 1.0)
    who.heard(A, "10.0.0.1", (55555,), "hosts", 3.0, answered=True)
    (report,) = who.report(4.0)
    assert report.methods == {"multicast": 3.0, "hosts": 1.0}
    assert not report.linked
