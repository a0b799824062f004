"""Who stays awake, and for how long: on a clock of the test's own."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from labc.lanes import awake
from labc.lanes.awake import Awake, AwakeLoop

MOMENT = 0.0002
QUICK = MOMENT / 2


class Clock:
    """Wall and processor time of one thread."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.used = 10.0

    def run(self, seconds: float) -> None:
        self.now += seconds
        self.used += seconds

    def lose(self, seconds: float) -> None:
        """Somebody else has the processor."""
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(awake, "POSSIBLE", True)
    monkeypatch.setattr(awake.time, "perf_counter", lambda: clock.now)
    monkeypatch.setattr(awake.time, "thread_time", lambda: clock.used)
    return clock


def share(clock: Clock, it: Awake) -> int:
    """How often it stays awake, at most 100 times in a row, on a processor that is not its own."""
    for count in range(100):
        if not it.begin(QUICK):
            return count
        clock.run(QUICK / 2)
        clock.lose(QUICK / 2)
        it.end()
    return 100


def test_it_pays_for_what_was_quick_the_last_time(clock: Clock) -> None:
    it = Awake(MOMENT)
    assert it.begin(QUICK)
    assert it.begin(0.0)
    assert not it.begin(MOMENT)
    assert not it.begin(1.0)


def test_never_with_a_moment_of_nothing_or_where_it_can_not_be(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not Awake(0.0).begin(0.0)
    monkeypatch.setattr(awake, "POSSIBLE", False)
    assert not Awake(MOMENT).begin(0.0)


def test_who_shares_a_processor_sleeps_and_tries_again_ever_later(clock: Clock) -> None:
    it = Awake(MOMENT)
    assert share(clock, it) == 3
    for pause in (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0):
        clock.lose(0.9 * pause)
        assert share(clock, it) == 0
        clock.lose(0.2 * pause)
        assert share(clock, it) == 1


def test_one_that_has_it_to_itself_again_forgets_that(clock: Clock) -> None:
    it = Awake(MOMENT)
    share(clock, it)
    clock.lose(0.11)
    share(clock, it)
    clock.lose(0.21)
    assert it.begin(QUICK)
    clock.run(QUICK)
    it.end()
    assert share(clock, it) == 3
    clock.lose(0.11)
    assert share(clock, it) == 1


def test_who_loses_it_now_and_then_stays_awake(clock: Clock) -> None:
    it = Awake(MOMENT)
    for number in range(1000):
        assert it.begin(QUICK), number
        clock.run(QUICK)
        clock.lose(QUICK if number % 3 else 0.0)
        it.end()


class Turns:
    """An event loop's ``call_soon``."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def call_soon(self, function: Callable[[], None]) -> None:
        self.waiting.append(function)

    def turn(self) -> None:
        self.waiting.pop()()


@pytest.fixture
def turns() -> Turns:
    return Turns()


def test_a_loop_turns_for_a_moment(clock: Clock, turns: Turns) -> None:
    AwakeLoop(turns.call_soon, MOMENT).keep(QUICK)
    began = clock.now
    while turns.waiting:
        clock.run(MOMENT / 10)
        turns.turn()
        assert len(turns.waiting) <= 1
    assert MOMENT <= clock.now - began < 1.2 * MOMENT


def test_what_comes_meanwhile_keeps_it_awake_and_turns_once(clock: Clock, turns: Turns) -> None:
    loop = AwakeLoop(turns.call_soon, MOMENT)
    for _ in range(50):
        loop.keep(QUICK)
        assert len(turns.waiting) == 1
        clock.run(QUICK)
        turns.turn()


def test_a_loop_sleeps_when_requests_come_seldom(clock: Clock, turns: Turns) -> None:
    AwakeLoop(turns.call_soon, MOMENT).keep(1.0)
    assert turns.waiting == []


def test_a_slow_caller_does_not_put_to_sleep_what_a_fast_one_keeps_awake(clock: Clock, turns: Turns) -> None:
    loop = AwakeLoop(turns.call_soon, MOMENT)
    loop.keep(QUICK)
    loop.keep(1.0)
    turns.turn()
    assert len(turns.waiting) == 1


def test_a_loop_that_shares_its_processor_sleeps(clock: Clock, turns: Turns) -> None:
    loop = AwakeLoop(turns.call_soon, MOMENT)
    for _ in range(4):
        loop.keep(QUICK)
        clock.lose(QUICK)
    turns.turn()
    assert turns.waiting == []


def test_a_loop_that_loses_its_processor_for_longer_than_a_moment_sleeps(
    clock: Clock, turns: Turns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(awake, "give_way", lambda: clock.lose(0.004))
    loop = AwakeLoop(turns.call_soon, MOMENT)
    turned = 0
    for _ in range(100):
        loop.keep(QUICK)
        while turns.waiting:
            turned += 1
            turns.turn()
    assert turned < 20
