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


class InterruptedHereError(Exception):
    pass


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no timers here")
def test_interrupted_at_any_time(loop) -> None:
    """Neither side is ever stuck, and what was interrupted is cancelled."""
    open_jobs = 0

    async def work() -> int:
        nonlocal open_jobs
        open_jobs += 1
        try:
            await asyncio.sleep(0.0005)
        finally:
            open_jobs -= 1
        return 3

    def interrupt(*_: object) -> None:
        if armed:
            raise InterruptedHereError

    armed = False
    before = signal.signal(signal.SIGALRM, interrupt)
    interrupted = 0
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.0007)
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            job = Job(work, loop)
            try:
                armed = True
                job.begin()
                assert job.result() == 3
                armed = False
            except InterruptedHereError:
                armed = False
                interrupted += 1
                job.cancel()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert interrupted > 100
    assert begun(Job(value, loop)).result() == 3
    assert open_jobs == 0
