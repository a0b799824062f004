"""A loop that is blocked is noticed in time, one that is only busy is not, and asking costs little."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from labc.node.watchdog import Watchdog

LIMIT = 1.0
LEASE = 0.8


class Watched:
    """A loop in a thread of its own, and what was told of it."""

    def __init__(self, limit: float) -> None:
        self.loop = asyncio.new_event_loop()
        self.told: list[tuple[str, float]] = []
        self._call = self.loop.call_soon_threadsafe
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        self.dog = Watchdog(self.loop, limit, LEASE, self._tell("hangs"), self._tell("turns"), self._tell("resumed"))

    def _tell(self, what: str) -> Callable[[], None]:
        return lambda: self.told.append((what, time.monotonic()))

    def block(self, seconds: float) -> float:
        """Have the loop do nothing else for so long. When that began."""
        began: list[float] = []

        def block() -> None:
            began.append(time.monotonic())
            time.sleep(seconds)

        done = threading.Event()
        self._call(block)
        self._call(done.set)
        assert done.wait(10)
        return began[0]

    def close(self) -> None:
        self.dog.stop()
        self._call(self.loop.stop)
        self._thread.join()
        self.loop.close()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5.0
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@contextmanager
def watching(limit: float = LIMIT) -> Iterator[Watched]:
    watched = Watched(limit)
    try:
        watched.dog.start()
        yield watched
    finally:
        watched.close()


@pytest.fixture
def watched() -> Iterator[Watched]:
    with watching() as it:
        yield it


@pytest.mark.parametrize("limit", [1.0, 1.13, 2.6])
def test_a_blocked_loop_is_noticed_in_time_and_so_is_its_return(limit: float) -> None:
    with watching(limit) as watched:
        began = watched.block(limit + 0.5)
        ended = time.monotonic()
        until(lambda: len(watched.told) == 2)
    (first, hung), (second, returned) = watched.told
    assert (first, second) == ("hangs", "turns")
    assert limit - 1.0 < hung - began < limit + 0.2
    assert returned - ended < 0.4


def test_a_loop_that_returns_while_it_is_told_to_hang_is_not_hidden_for_ever(watched: Watched) -> None:
    """Telling takes a while; what is told last must be what is so."""
    tell = watched.dog._on_hang

    def slowly() -> None:
        time.sleep(0.6)  # meanwhile the loop turns again
        tell()

    watched.dog._on_hang = slowly
    watched.block(LIMIT + 0.1)
    until(lambda: len(watched.told) == 2)
    assert [what for what, _ in watched.told] == ["hangs", "turns"]


def test_it_is_noticed_again(watched: Watched) -> None:
    for number in (2, 4):
        watched.block(1.2 * LIMIT)
        until(lambda number=number: len(watched.told) == number)
    assert [what for what, _ in watched.told] == ["hangs", "turns"] * 2


def test_less_is_nothing(watched: Watched) -> None:
    for _ in range(4):
        watched.block(0.4 * LIMIT)
        time.sleep(0.01)  # it turns
    assert watched.told == []


def test_it_asks_seldom_while_all_is_well(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    questions: list[object] = []

    def counted(function: Callable[[], object]) -> None:
        questions.append(function)
        watched._call(function)

    monkeypatch.setattr(watched.loop, "call_soon_threadsafe", counted)
    time.sleep(2 * LIMIT)
    assert 3 <= len(questions) <= 6, "every 0.4 of the limit"
    assert watched.told == []


def test_it_ends_with_the_loop() -> None:
    before = set(threading.enumerate())
    with watching() as watched:
        [thread] = [each for each in threading.enumerate() if each not in before and each.name == "labc watchdog"]
    assert watched.loop.is_closed()
    thread.join(1.0)
    assert not thread.is_alive()


def test_a_process_that_was_stopped_is_told_so_and_its_loop_does_not_hang(watched: Watched) -> None:
    wait = watched.dog._stop.wait

    def stopped(seconds: float) -> bool:
        watched.dog._stop.wait = wait  # type: ignore[method-assign]
        time.sleep(LEASE + seconds)  # nor does any other thread run, but that makes no difference here
        return wait(0)

    watched.dog._stop.wait = stopped  # type: ignore[method-assign]
    until(lambda: bool(watched.told))
    time.sleep(0.1)
    assert [what for what, _ in watched.told] == ["resumed"]
