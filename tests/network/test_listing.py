"""Listings ask every node, and know for whom to wait."""

from __future__ import annotations

import asyncio
import contextlib
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import labc
from labc import aio

pytestmark = pytest.mark.usefixtures("here")

SERVER = """
import time
import labc
labc.init(name="server")

@labc.register
async def block(seconds):
    print("blocked", flush=True)
    time.sleep(seconds)
    print("free", flush=True)

labc.serve()
"""


def offered() -> list[str]:
    return [function.name for function in labc.functions()]


def answering() -> dict[str, bool]:
    return {node.name: node.answered for node in labc.nodes() if not node.here}


def test_a_node_that_takes_its_time_is_waited_for(serve) -> None:
    server = serve(SERVER)
    assert offered() == ["block"]
    with ThreadPoolExecutor() as threads:
        for listing, complete in ((offered, ["block"]), (answering, {"server": True})):
            blocking = threads.submit(labc.call, "block", 1.3)
            server.expect("blocked")
            assert listing() == complete
            blocking.result()


def test_a_node_that_is_known_to_hang_is_not_waited_for(serve, until) -> None:
    server = serve(SERVER)
    directory = labc.blocking.portal.node().rooms()._neighbourhood.directory
    until(lambda: len(directory.alive()) == 2)
    with ThreadPoolExecutor() as threads:
        blocking = threads.submit(labc.call, "block", 7.0)
        server.expect("blocked")
        until(lambda: len(directory.alive()) == 1)
        began = time.monotonic()
        assert offered() == []
        assert answering() in ({"server": False}, {})  # {}: when it is given up by now
        assert time.monotonic() - began < 1.0
        assert "free" not in server.output
        with pytest.raises(labc.LabcError):  # it was given up
            blocking.result()
        until(lambda: offered() == ["block"], timeout=10.0)


NAMED = """
import sys, labc
labc.init(name=sys.argv[1])
labc.register(lambda: 1, name=sys.argv[1])
labc.serve()
"""


def test_a_listing_in_the_middle_of_a_change_of_root_is_complete(serve) -> None:
    root = serve(NAMED, "root")
    others = ["first", "second", "third"]
    for name in others:
        serve(NAMED, name)
    assert offered() == sorted([*others, "root"])
    root.kill()
    root.wait()
    assert offered() == others


def test_who_is_not_asked_for_is_not_waited_for(serve) -> None:
    server = serve(SERVER)
    assert offered() == ["block"]
    with ThreadPoolExecutor() as threads:
        blocking = threads.submit(labc.call, "block", 1.3)
        server.expect("blocked")
        assert labc.at(host="elsewhere").functions() == []
        assert labc.at(host="elsewhere").nodes() == []
        assert "free" not in server.output
        blocking.result()


def test_a_node_that_starts_knows_all_at_once(network) -> None:
    async def late() -> int:
        async with contextlib.AsyncExitStack() as nodes:
            for number in range(20):
                await nodes.enter_async_context(aio.Node(name=f"node{number}"))
            newcomer = await nodes.enter_async_context(aio.Node(name="newcomer"))
            return len(newcomer.rooms()._neighbourhood.directory.nodes())

    assert asyncio.run(late()) == 21
