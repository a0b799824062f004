"""A thread that waits for a loop, and signals in between."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import suppress

import pytest

from labc.jobs import Gate, Job
from labc.testing import python_program


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    with suppress(RuntimeError):  # closed by the test
        loop.call_soon_threadsafe(loop.stop)
    thread.join(5)
    loop.close()


def begun(job: Job[int]) -> Job[int]:
    job.begin()
    return job


async def value() -> int:
    await asyncio.sleep(0.01)
    return 3


async def fail() -> int:
    raise ValueError("no")


async def for_ever() -> int:
    await asyncio.sleep(60)
    return 0


def test_its_value(loop) -> None:
    assert begun(Job(value, loop)).result() == 3


def test_its_error(loop) -> None:
    with pytest.raises(ValueError, match="no"):
        begun(Job(fail, loop)).result()


def test_cancelled(loop) -> None:
    job = begun(Job(for_ever, loop))
    assert not job.wait(0.05)
    job.cancel()
    with pytest.raises(CancelledError):
        job.result()


def test_a_loop_that_turns_no_more(loop) -> None:
    loop.call_soon_threadsafe(loop.stop)
    until = time.monotonic() + 5
    while loop.is_running() and time.monotonic() < until:
        time.sleep(0.001)
    job = begun(Job(for_ever, loop))
    assert not job.wait(0.05)
    loop.close()
    with pytest.raises(CancelledError):
        job.result()
    job.cancel()
    with pytest.raises(RuntimeError):
        Job(value, loop).begin()


def test_any_number_may_wait_at_a_gate() -> None:
    gate = Gate()
    with ThreadPoolExecutor(10) as threads:
        waits = [threads.submit(gate.wait, 5.0) for _ in range(10)]
        assert not gate.wait(0.05)
        gate.open()
        gate.open()
        assert [wait.result(2) for wait in waits] == [True] * 10
    assert gate.wait(0.0)


def test_a_gate_is_given_up() -> None:
    started = time.monotonic()
    assert not Gate().wait(60.0, give_up=lambda: time.monotonic() - started > 0.1)
    assert time.monotonic() - started < 2.0


INTERRUPTED = """
import asyncio, signal, threading, time
from labc.jobs import Job

class Mine(Exception):
    pass

def interrupt(*_):
    global armed
    if armed:
        armed = False
        raise Mine

async def work():
    global running
    running += 1
    try:
        await asyncio.sleep(0.0005)
    finally:
        running -= 1
    return 3

loop = asyncio.new_event_loop()
threading.Thread(target=loop.run_forever, daemon=True).start()
running = interrupted = 0
armed = False
signal.signal(signal.SIGALRM, interrupt)
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.0007)
until = time.monotonic() + 1.5
while time.monotonic() < until:
    try:
        armed = True
        job = Job(work, loop)
        job.begin()
        assert job.result() == 3
        armed = False
    except Mine:
        interrupted += 1
        job.cancel()
signal.setitimer(signal.ITIMER_REAL, 0)
last = Job(work, loop)
last.begin()
print(interrupted > 100, last.result(), running, flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no timers here")
def test_interrupted_at_any_time() -> None:
    """Neither side is ever stuck, and what was interrupted is cancelled."""
    with python_program(INTERRUPTED) as program:
        program.expect("True 3 0", timeout=5.0)
