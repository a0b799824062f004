"""Who may wait at a door, and what is worth a line in the log."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from labc.lanes.crowd import Crowd, Notices


def test_one_address_can_not_fill_it() -> None:
    crowd: Crowd[int] = Crowd(limit=10, limit_each=3)
    assert [crowd.enter(n, "a") for n in range(3)] == [None] * 3
    assert crowd.enter(3, "a") == 0, "its oldest goes"
    assert crowd.enter(4, "b") is None
    assert len(crowd) == 4
    assert crowd.put_out == 1


def test_when_it_is_full_the_busiest_address_gives_way() -> None:
    crowd: Crowd[int] = Crowd(limit=4, limit_each=3)
    for n in range(3):
        crowd.enter(n, "a")
    crowd.enter(3, "b")
    assert crowd.enter(4, "c") == 0
    assert crowd.enter(5, "d") in (1, 2)
    assert len(crowd) == 4


def test_who_leaves_makes_room_and_may_leave_twice() -> None:
    crowd: Crowd[int] = Crowd(limit=1, limit_each=1)
    crowd.enter(1, "a")
    crowd.leave(1, "a")
    crowd.leave(1, "a")
    assert crowd.enter(2, "b") is None
    assert len(crowd) == 1


@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from("abcd"), st.booleans()), max_size=200))
def test_it_is_never_too_full(steps: list[tuple[int, str, bool]]) -> None:
    crowd: Crowd[tuple[int, int]] = Crowd(limit=6, limit_each=4)
    inside: dict[tuple[int, int], str] = {}
    for index, (one, address, enters) in enumerate(steps):
        if enters:
            out = crowd.enter((index, one), address)
            inside[index, one] = address
            if out is not None:
                del inside[out]
        elif inside:
            gone = next(iter(inside))
            crowd.leave(gone, inside.pop(gone))
        assert len(crowd) == len(inside) <= 6
        assert all(list(inside.values()).count(each) <= 4 for each in "abcd")


def test_a_thing_is_said_once_in_a_while_and_not_too_many() -> None:
    notices = Notices(again_after=10.0, limit=2)
    assert notices.is_due("a", 0.0)
    assert not notices.is_due("a", 9.9)
    assert notices.is_due("b", 1.0)
    assert not notices.is_due("c", 2.0), "too many"
    assert notices.is_due("a", 10.0)
