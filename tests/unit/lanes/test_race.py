"""Attempts that race, driven by events and not by time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from labc.lanes.race import race


def attempts(*gates: asyncio.Future[str]) -> list[Callable[[], Awaitable[str]]]:
    async def wait(gate: asyncio.Future[str]) -> str:
        return await gate

    return [lambda gate=gate: wait(gate) for gate in gates]


def run(check: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(check())


def test_the_first_success_wins_and_the_others_are_cancelled() -> None:
    async def check() -> None:
        loop = asyncio.get_running_loop()
        slow, good = loop.create_future(), loop.create_future()
        lost: list[str] = []
        task = asyncio.ensure_future(race(attempts(slow, good), lost.append, stagger=0))
        await asyncio.sleep(0)
        good.set_result("good")
        assert await task == "good"
        assert slow.cancelled()
        assert lost == []

    run(check)


def test_a_failed_attempt_does_not_hold_up_the_next() -> None:
    async def check() -> None:
        loop = asyncio.get_running_loop()
        bad, good = loop.create_future(), loop.create_future()
        bad.set_exception(OSError("refused"))
        good.set_result("good")
        began = loop.time()
        assert await race(attempts(bad, good), print, stagger=30) == "good"
        assert loop.time() - began < 10

    run(check)


def test_when_all_fail_their_errors_are_told_in_order() -> None:
    async def check() -> None:
        loop = asyncio.get_running_loop()
        gates = [loop.create_future() for _ in range(3)]
        for number, gate in enumerate(gates):
            gate.set_exception(OSError(f"error {number}"))
        with pytest.raises(ExceptionGroup) as group:
            await race(attempts(*gates), print, stagger=0)
        assert [str(error) for error in group.value.exceptions] == ["error 0", "error 1", "error 2"]

    run(check)


def test_a_second_winner_is_given_away() -> None:
    async def check() -> None:
        loop = asyncio.get_running_loop()
        first, second = loop.create_future(), loop.create_future()
        lost: list[str] = []
        task = asyncio.ensure_future(race(attempts(first, second), lost.append, stagger=0))
        await asyncio.sleep(0.01)
        first.set_result("first")
        second.set_result("second")
        winner = await task
        assert {winner, *lost} == {"first", "second"}

    run(check)


def test_cancelling_the_race_cancels_the_attempts() -> None:
    async def check() -> None:
        loop = asyncio.get_running_loop()
        gate = loop.create_future()
        task = asyncio.ensure_future(race(attempts(gate), print, stagger=0))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert gate.cancelled()

    run(check)


def test_nothing_to_try_is_an_error() -> None:
    async def check() -> None:
        with pytest.raises(ValueError, match="nothing to try"):
            await race([], print)

    run(check)
