"""The links of a node to its root, and a root that others tell nothing."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from labc.directory import NodeRecord
from labc.fabric import seat
from labc.fabric.seat import Seat
from labc.node import Node
from labc.settings import Settings


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seat, "LOOK_AROUND", 0.2)
    monkeypatch.setattr(seat, "_LOOK_AGAIN", 0.02)
    monkeypatch.setattr(seat, "_AFRESH_AGAIN", 0.05)


async def told_something(node: Node) -> None:
    """Returns when a root has been told what others know: then it looks for this no more, and stays."""
    until = time.monotonic() + 30
    fabric_seat = node.rooms().fabric._seat
    while (looking := fabric_seat._looking_around) is None or not looking.done() or looking.cancelled():
        assert time.monotonic() < until
        await asyncio.sleep(0.005)


@pytest.mark.usefixtures("quickly")
@pytest.mark.parametrize(
    ("answers", "opened"),
    [
        ([set()], 1),
        ([{"a"}, set(), set()], 1),
        ([{"a"}, {"b"}, set()], 1),
        ([{"a"}, {"a", "b"}, set()], 2),
        ([{"a"}] * 4 + [set()], 3),
    ],
)
def test_it_starts_afresh_until_it_is_told_something(
    answers: list[set[str]], opened: int, network: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: Iterator[set[str]] = iter(answers)
    routers: list[object] = []
    open_router = seat.open_router
    monkeypatch.setattr(seat, "strangers", lambda *_: next(left, set()))
    monkeypatch.setattr(seat, "open_router", lambda *each: routers.append(open_router(*each)) or routers[-1])

    async def main() -> None:
        async with Node(name="root") as node:
            await told_something(node)

    asyncio.run(main())
    assert len(routers) == opened
    assert next(left, None) is None, "it has looked as often as expected"


@pytest.mark.usefixtures("quickly")
def test_of_for_ever_silent_roots_it_tries_to_learn_ever_less_often(
    network: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[float] = []
    enough = threading.Event()
    open_router = seat.open_router

    def counted(*arguments: Any) -> Any:
        opened.append(time.monotonic())
        if len(opened) == 4:
            enough.set()
        return open_router(*arguments)

    monkeypatch.setattr(seat, "strangers", lambda *_: {"a"})
    monkeypatch.setattr(seat, "open_router", counted)
    monkeypatch.setattr(seat, "_AFRESH_AGAIN", 0.5)

    async def main() -> None:
        async with Node(name="root"):
            assert await asyncio.to_thread(enough.wait, 20)

    asyncio.run(main())
    gaps = [later - earlier for earlier, later in itertools.pairwise(opened)]
    assert gaps[1] > 0.5
    assert gaps[2] > 1.0


def test_a_link_that_was_lost_is_told_also_when_it_is_there_again() -> None:
    """The engine tells of both at once; the tokens of all others went and came meanwhile."""
    told: list[bool] = []
    unused: Any = None
    link = Seat(Settings.load({}, network="lab"), NodeRecord("a", "h", "h", "n"), unused, told.append, None)
    link._link_events([True, False, True])
    assert told == [True, False, True]
    assert link.linked
    link._link_events([True, False])
    assert not link.linked
