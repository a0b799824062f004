"""Who is served, and who waits for whom."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from labc.errors import FilesError
from labc.files.turns import Turn, Turns


def begin(turns: Turns, caller: str, stack: ExitStack) -> tuple[Turn, Iterator[int]]:
    turn = stack.enter_context(turns.turn(caller))
    return turn, turn.waiting(lambda: True)


def test_each_has_so_many_and_all_so_many() -> None:
    turns = Turns(each=2, in_all=3)
    with ExitStack() as stack:
        served = [begin(turns, caller, stack) for caller in "aab"]
        assert [next(waiting, "served") for _, waiting in served] == ["served"] * 3
        _, third_of_a = begin(turns, "a", stack)
        assert next(third_of_a) == 0
        _, second_of_b = begin(turns, "b", stack)
        assert next(second_of_b) == 1


def test_not_too_many_wait() -> None:
    turns = Turns(each=1, in_all=1)
    with ExitStack() as stack:
        assert next(begin(turns, "a", stack)[1], "served") == "served"
        for _ in range(64):
            begin(turns, "a", stack)
        with pytest.raises(FilesError, match="64 connections for files wait"):
            begin(turns, "a", stack)
        for number in range(256 - 64):
            begin(turns, f"b{number}", stack)
        with pytest.raises(FilesError, match="256 connections for files wait"):
            begin(turns, "c", stack)
    with ExitStack() as stack:
        assert next(begin(turns, "c", stack)[1], "served") == "served"


def test_who_has_as_many_as_he_may_does_not_hold_up_others() -> None:
    turns = Turns(each=1, in_all=3)
    with ExitStack() as stack:
        for caller in "aa":
            next(begin(turns, caller, stack)[1], None)
        assert next(begin(turns, "b", stack)[1], "served") == "served"


def test_it_is_told_when_others_ahead_have_left_and_served_when_one_has_ended() -> None:
    turns = Turns(each=9, in_all=1)
    with ExitStack() as stack:
        first = ExitStack()
        assert next(begin(turns, "a", first)[1], "served") == "served"
        second = ExitStack()
        assert next(begin(turns, "b", second)[1]) == 0
        _, third = begin(turns, "c", stack)
        assert next(third) == 1
        second.close()
        assert next(third) == 0
        threading.Timer(0.1, first.close).start()
        assert next(third, "served") == "served"
    with ExitStack() as stack:
        assert next(begin(turns, "d", stack)[1], "served") == "served", "nobody is served any more"


def test_who_is_not_wanted_any_more_stops_waiting() -> None:
    turns = Turns(each=9, in_all=1)
    answers = iter([True, True, False])
    with ExitStack() as stack:
        next(begin(turns, "a", stack)[1], None)
        turn = stack.enter_context(turns.turn("b"))
        assert list(turn.waiting(lambda: next(answers))) == [0]
        assert not turn.began


def test_many_threads() -> None:
    turns, most, now, lock = Turns(each=2, in_all=3), 0, 0, threading.Lock()

    def work(caller: str) -> None:
        nonlocal most, now
        for _ in range(50):
            with turns.turn(caller) as turn:
                for _ in turn.waiting(lambda: True):
                    pass
                with lock:
                    now += 1
                    most = max(most, now)
                with lock:
                    now -= 1

    threads = [threading.Thread(target=work, args=(caller,)) for caller in "aabbcd" * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert most <= 3
