"""Spread work while its workers die, stop, and come."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import labc
from labc.node import process
from labc.testing import Program, python_program

ITEMS = 10_000
WORKER = """
import time
import labc

@labc.register
def square(x):
    time.sleep(0.001)
    return x * x

labc.serve()
"""
ENDLESS = """
import os
import pathlib
import time
import labc

@labc.register
def work(x):
    if x == 300:
        mine = pathlib.Path(BEGUN + ".new")
        mine.write_text(str(os.getpid()))
        mine.rename(BEGUN)
        time.sleep(60)
    return x * x

labc.serve()
"""
SLEEPER = """
import asyncio
import labc

@labc.register
async def nap(seconds):
    await asyncio.sleep(seconds * SLOWNESS)
    return seconds

labc.serve()
"""


LARGE = """
import time
import labc

@labc.register
def large(x):
    time.sleep(SECONDS)
    return bytes(1_000_000)

labc.serve()
"""


class Workers:
    """Programs that serve, all of this test."""

    def __init__(self, programs: contextlib.ExitStack) -> None:
        self._programs = programs
        self.all: dict[str, Program] = {}
        self._count = 0

    def add(self, source: str = WORKER) -> str:
        self._count += 1
        name = f"w{self._count}"
        self.all[name] = self._programs.enter_context(python_program(source, name=name))
        return name

    def serving(self, count: int) -> None:
        """Returns when so many are seen."""
        deadline = time.monotonic() + 20
        while len(labc.nodes()) <= count:
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.fixture
def workers(network: str) -> Iterator[Workers]:
    with contextlib.ExitStack() as programs:
        yield Workers(programs)
        labc.close()
        process.functions.clear()


@pytest.mark.parametrize("ordered", [True, False])
def test_workers_are_killed_and_added_during_ten_thousand_items(workers: Workers, ordered: bool) -> None:
    for _ in range(8):
        workers.add()
    workers.serving(8)
    chance = random.Random(ITEMS)
    over = threading.Event()
    killed: list[str] = []

    def kill_and_add() -> None:
        while not over.wait(0.4):
            if len(labc.nodes()) <= 5:  # others take their time to come
                continue
            victim = chance.choice(list(workers.all))
            workers.all.pop(victim).kill()
            killed.append(victim)
            workers.add()

    killing = threading.Thread(target=kill_and_add)
    killing.start()
    found: list[tuple[int, labc.Outcome]] = []
    try:
        outcomes = labc.map("square", range(ITEMS), ordered=ordered)
        found.extend(enumerate(outcomes) if ordered else outcomes)
    finally:
        over.set()
        killing.join()
    assert sorted(index for index, _ in found) == list(range(ITEMS)), "each has one outcome"
    assert ordered is ([index for index, _ in found] == list(range(ITEMS)))
    assert [(i, o.error) for i, o in found if not o.ok] == []
    assert all(outcome.value == index * index for index, outcome in found)
    shares = Counter(outcome.node for _, outcome in found)
    assert len(killed) >= 3
    assert set(killed) & set(shares), "some had worked before"
    assert len(set(shares) - {f"w{number}" for number in range(1, 9)}) >= 1, "some came while it ran"


def test_without_retry_what_a_killed_worker_had_is_reported(workers: Workers, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    for _ in range(3):
        workers.add(ENDLESS.replace("BEGUN", repr(str(begun))))
    workers.serving(3)
    outcomes = labc.map("work", range(2000), retry=False)
    found = [next(outcomes) for _ in range(300)]
    while not begun.exists():
        time.sleep(0.01)
    name = next(name for name, program in workers.all.items() if program.pid == int(begun.read_text()))
    workers.all[name].kill()
    found += outcomes
    failed = {index: outcome for index, outcome in enumerate(found) if not outcome.ok}
    assert 300 in failed, "it was at it"
    assert len(failed) <= 2, "a worker has two at once"
    assert all(isinstance(outcome.error, labc.PeerLostError) and outcome.node == name for outcome in failed.values())
    assert all(outcome.value == index * index for index, outcome in enumerate(found) if index not in failed)
    assert len(found) == 2000


def test_a_worker_that_is_stopped_holds_nobody_up_for_long(workers: Workers) -> None:
    for _ in range(3):
        workers.add()
    workers.serving(3)
    outcomes = labc.map("square", range(3000))
    found = [next(outcomes).value for _ in range(100)]
    workers.all["w1"].stop()
    began = time.monotonic()
    found += [outcome.result() for outcome in outcomes]
    assert found == [x * x for x in range(3000)]
    assert time.monotonic() - began < 15


def test_one_slow_worker_of_eight_holds_nobody_up(workers: Workers) -> None:
    for slowness in (100, *[1] * 7):
        workers.add(SLEEPER.replace("SLOWNESS", str(slowness)))
    workers.serving(8)
    outcomes = labc.map("nap", [0.01] * 900)
    began = time.monotonic()
    assert [outcome.result() for outcome in outcomes] == [0.01] * 900
    took = time.monotonic() - began
    # Its items take a second each, two at once; in turns, as many for each worker, it would have had 112, for 56 s.
    assert outcomes.shares["w1"] <= 6
    assert min(count for name, count in outcomes.shares.items() if name != "w1") >= 50
    assert took < 5


def test_a_slow_worker_holds_nobody_up_where_no_order_is_kept(workers: Workers) -> None:
    """However many items, and however large what they give."""
    workers.add(LARGE.replace("SECONDS", "3"))
    workers.add(LARGE.replace("SECONDS", "0.01"))
    workers.serving(2)
    outcomes = labc.map("large", range(100), ordered=False)
    found = [next(outcomes) for _ in range(96)]
    assert all(len(outcome.value) == 1_000_000 for _, outcome in found)
    assert {outcome.node for _, outcome in found} == {"w2"}
    assert {outcome.node for _, outcome in outcomes} >= {"w1"}


@pytest.mark.alone
def test_eight_workers_do_the_work_of_eight(workers: Workers) -> None:
    """7.5 times as fast is the goal, measured by the benchmarks; less than 4 times is a mistake."""
    workers.add(SLEEPER.replace("SLOWNESS", "1"))
    workers.serving(1)
    one = seconds_for(100)
    for _ in range(7):
        workers.add(SLEEPER.replace("SLOWNESS", "1"))
    workers.serving(8)
    assert one / seconds_for(100) > 4.0


def seconds_for(items: int) -> float:
    began = time.monotonic()
    assert len(list(labc.map("nap", [0.01] * items, window=1))) == items
    return time.monotonic() - began
