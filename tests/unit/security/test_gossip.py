"""How editions of whom to trust spread."""

from __future__ import annotations

from labc.security.gossip import ANNOUNCE_EVERY, TELL_AGAIN, Gossip


def test_it_announces_now_and_then() -> None:
    gossip = Gossip()
    assert gossip.announces(100.0)
    assert not gossip.announces(100.0 + ANNOUNCE_EVERY - 0.1)
    assert gossip.announces(100.0 + ANNOUNCE_EVERY)
    gossip.hurry()
    assert gossip.announces(100.1 + ANNOUNCE_EVERY)


def test_who_has_an_older_one_is_sent_the_newer_and_not_again_at_once() -> None:
    gossip = Gossip()
    assert gossip.heard(1, False, 2, 10.0) == "send"
    assert gossip.heard(1, False, 2, 10.0 + TELL_AGAIN / 2) == "nothing"
    assert gossip.heard(2, False, 3, 10.0 + TELL_AGAIN / 2) == "send", "there is a newer one by now"
    assert gossip.heard(1, True, 3, 11.0 + TELL_AGAIN) == "send"


def test_a_newer_one_is_taken_when_it_is_there() -> None:
    gossip = Gossip()
    assert gossip.heard(3, False, 2, 10.0) == "want"
    assert gossip.heard(3, True, 2, 10.0) == "take"
    assert gossip.heard(2, True, 2, 10.0) == "nothing"


def test_two_hosts_agree_whatever_they_had() -> None:
    """What one tells, the other answers, until both have the newest."""
    editions = {"a": 5, "b": 2}
    nodes = {name: Gossip() for name in editions}
    for now in (0.0, 10.0):
        for name, gossip in nodes.items():
            other = "b" if name == "a" else "a"
            if gossip.announces(now):
                act = nodes[other].heard(editions[name], False, editions[other], now)
                if act == "send" and gossip.heard(editions[other], True, editions[name], now) == "take":
                    editions[name] = editions[other]
    assert editions == {"a": 5, "b": 5}


def test_what_is_left_to_others_comes_up_once() -> None:
    gossip = Gossip()
    assert not gossip.is_due("send", 10.0)
    gossip.postpone("send", 11.0)
    gossip.postpone("send", 12.0)  # it stays with the first time
    assert not gossip.is_due("send", 10.9)
    assert not gossip.is_due("want", 11.0)
    assert gossip.is_due("send", 11.0)
    assert not gossip.is_due("send", 12.0)


def test_who_is_behind_tells_soon_and_once() -> None:
    gossip = Gossip()
    assert gossip.announces(10.0)
    assert gossip.heard(3, False, 2, 10.5) == "want"
    assert not gossip.announces(10.0 + TELL_AGAIN - 0.1), "any member can make up a number"
    assert gossip.announces(10.0 + TELL_AGAIN)
    assert not gossip.announces(10.1 + 2 * TELL_AGAIN)
