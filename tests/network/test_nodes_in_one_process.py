"""Several nodes in one process, together and one after the other."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import labc
from labc import Node


def test_the_first_to_start_offers_what_the_program_registered(network: str) -> None:
    async def check() -> None:
        first, second = Node(name="first"), Node(name="second")
        second.register(lambda: 2, name="its own")
        async with first, second:
            handle = labc.register(lambda: 1, name="shared")
            await first.declared()
            found = {(info.name, info.node) for info in await second.functions()}
            assert found == {("shared", "first"), ("its own", "second")}
            await second.close()
            labc.register(lambda: 3, name="later")
            await first.declared()
            assert await first.call("later") == 3
            handle.close()

    try:
        asyncio.run(check())
    finally:
        for registration in labc.node.process.functions.entries():
            registration.close()


def test_a_node_left_open_by_its_loop_does_not_stay_in_the_way(network: str) -> None:
    program = """
import asyncio, labc

@labc.register
def one():
    return 1

async def left_open():
    await labc.Node(name="left").start()

asyncio.run(left_open())
print(labc.call("one"))
labc.register(lambda: 2, name="two")
print(labc.call("two"))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout.split() == ["1", "2"], done.stderr


def test_asyncio_run_twice(network: str) -> None:
    async def once(value: int) -> int:
        async with Node(name="again") as node:
            node.register(lambda x: x + 1, name="next")
            return int(await node.call("next", value))

    assert [asyncio.run(once(number)) for number in range(5)] == [1, 2, 3, 4, 5]


def test_idle_lanes_to_a_lost_node_are_closed_also_a_second_one(network: str) -> None:
    async def check() -> None:
        async with Node(name="a") as a, Node(name="b") as b:
            for node in (a, b):
                node.register(lambda: 1, name=node.name)
                await node.declared()
            # Both connect at once, so that there are two lanes between them.
            assert await asyncio.gather(a.call("b"), b.call("a")) == [1, 1]
            pool = a.rooms()._pool
            record = a.rooms()._neighbourhood.directory.node(b.id)
            assert record is not None
            pool.node_lost(record)
            assert [lane for lane in pool.lanes() if lane.peer and lane.peer.node_id == b.id] == []

    asyncio.run(check())
