"""A node whose lane was lost is asked whether it is there, as long as that is not known."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from labc.directory import NodeRecord
from labc.errors import PeerLostError
from labc.lanes import Pool
from labc.settings import Settings

HERE = NodeRecord("a", "h", "host", "here")
OTHER = NodeRecord("b", "h", "host", "other")


class Network:
    """Nobody is known to be well."""

    def doubted(self, node_id: str) -> NodeRecord:
        return OTHER

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args: None


class Lane:
    async def ping(self) -> float:
        return 0.0


def pool() -> Pool:
    return Pool(HERE, Settings(heartbeat_interval=0.05, heartbeat_timeout=2.5), "0", Network(), None)  # type: ignore[arg-type]


def test_a_doubt_that_comes_when_the_last_one_was_just_settled() -> None:
    rounds = 0

    async def check() -> None:
        ours, loop = pool(), asyncio.get_running_loop()
        second = asyncio.Event()

        async def reassure(node: NodeRecord) -> None:
            nonlocal rounds
            rounds += 1
            if rounds == 1:
                loop.call_soon(ours.reassure, node)  # after the end of this, and before anybody was told of it
            else:
                second.set()

        ours._reassure = reassure  # type: ignore[method-assign]
        ours.reassure(OTHER)
        async with asyncio.timeout(5):
            await second.wait()

    asyncio.run(check())
    assert rounds == 2


def test_it_is_asked_until_it_answers_whatever_goes_wrong(caplog) -> None:
    outcomes: list[Any] = [PeerLostError("b", "gone", ran="no"), RuntimeError("a surprise"), Lane()]

    async def check() -> None:
        ours = pool()

        async def lane(node: NodeRecord) -> Any:
            outcome = outcomes.pop(0)
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        ours.lane = lane  # type: ignore[method-assign]
        ours.reassure(OTHER)
        async with asyncio.timeout(10):
            await ours._reassuring["b"]

    asyncio.run(check())
    assert outcomes == []
    assert [r.getMessage() for r in caplog.records] == [
        "other on host can't be asked for a sign of life; this is tried again"
    ]


def test_a_node_that_is_lost_is_not_asked_any_more() -> None:
    async def check() -> None:
        ours = pool()
        ours.reassure(OTHER)
        asking = ours._reassuring["b"]
        ours.node_lost(OTHER)
        async with asyncio.timeout(5):
            await asyncio.wait([asking])
        assert asking.cancelled()
        ours.reassure(OTHER)
        assert "b" in ours._reassuring
        ours.close()
        await asyncio.wait(list(ours._reassuring.values()))

    asyncio.run(check())
