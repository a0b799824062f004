"""Who stays awake, and for how long: on a clock of the test's own."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from labc.lanes import awake
from labc.lanes.awake import MOMENT, Awake, AwakeLoop

QUICK = MOMENT / 2


class Clock:
    """Wall and processor time of one thread."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.used = 10.0

    def run(self, seconds: float) -> None:
        self.now += seconds
        self.used += seconds

    def wait(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(awake.time, "monotonic", lambda: clock.now)
    monkeypatch.setattr(awake.time, "thread_time", lambda: clock.used)
    return clock


def test_it_pays_for_what_was_quick_the_last_time(clock: Clock) -> None:
    it = Awake()
    assert it.begin(QUICK)
    assert it.begin(0.0)
    assert not it.begin(MOMENT)
    assert not it.begin(1.0)


def test_who_shares_a_processor_sleeps_and_tries_again_later(clock: Clock) -> None:
    it = Awake()
    for _ in range(4):
        assert it.begin(QUICK)
        clock.run(QUICK / 2)
        clock.wait(QUICK / 2)
        it.end()
    assert not it.begin(QUICK)
    clock.wait(0.09)
    assert not it.begin(QUICK)
    clock.wait(0.02)
    assert it.begin(QUICK)


def test_who_loses_it_now_and_then_stays_awake(clock: Clock) -> None:
    it = Awake()
    for number in range(1000):
        assert it.begin(QUICK), number
        clock.run(QUICK)
        clock.wait(QUICK if number % 10 == 0 else 0.0)
        it.end()


@pytest.fixture
def turns() -> list[Callable[[], None]]:
    """What the loop is to call."""
    return []


def test_a_loop_turns_for_a_moment(clock: Clock, turns: list[Callable[[], None]]) -> None:
    loop = AwakeLoop(turns.append)
    loop.expect(QUICK)
    began = clock.now
    while turns:
        clock.run(MOMENT / 10)
        turns.pop()()
        assert len(turns) <= 1
    assert MOMENT <= clock.now - began < 1.2 * MOMENT


def test_what_comes_meanwhile_keeps_it_awake_and_turns_once(clock: Clock, turns: list[Callable[[], None]]) -> None:
    loop = AwakeLoop(turns.append)
    for _ in range(50):
        loop.expect(QUICK)
        assert len(turns) == 1
        clock.run(QUICK)
        turns.pop()()


def test_a_loop_sleeps_when_requests_come_seldom(clock: Clock, turns: list[Callable[[], None]]) -> None:
    loop = AwakeLoop(turns.append)
    loop.expect(1.0)
    assert turns == []
    loop.expect(QUICK)
    loop.expect(1.0)
    turns.pop()()
    assert turns == []


def test_a_loop_that_shares_its_processor_sleeps(clock: Clock, turns: list[Callable[[], None]]) -> None:
    loop = AwakeLoop(turns.append)
    for _ in range(5):
        loop.expect(QUICK)
        clock.wait(QUICK)
    turns.pop()()
    assert turns == []
