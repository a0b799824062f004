"""Lanes that are given up, or whose other end goes away, just while they begin. Nothing of them is left."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from labc.errors import LabcError
from labc.lanes.addresses import ABSTRACT_SOCKETS
from labc.lanes.connector import Connector
from labc.lanes.lane import Lane
from labc.settings import Settings
from labc.wire import Greeting

pytestmark = pytest.mark.skipif(not ABSTRACT_SOCKETS, reason="there are no Unix sockets without a file here")

SETTINGS = Settings()
LOOPS = [asyncio.new_event_loop]
try:
    import uvloop
except ImportError:  # not on Windows
    pass
else:
    LOOPS.append(uvloop.new_event_loop)

TURNS = range(6)
"""Of the loop, after which something happens: more than a lane needs to begin."""


class Owner:
    """Of lanes, and what a connector needs to know of the network: it takes whatever it is told."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args: None


class Place:
    """A listening socket, and a connector that shall reach it."""

    def __init__(self, kind: str, backlog: int = 8) -> None:
        self.lanes: list[Lane] = []
        if kind == "unix":
            name = f"labc-test-{os.urandom(8).hex()}"
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(f"\0{name}")
            self.address = f"unix/@{name}"
        else:
            self.listener = socket.create_server(("127.0.0.1", 0))
            self.address = f"tcp/127.0.0.1:{self.listener.getsockname()[1]}"
        self.listener.listen(backlog)
        self.connector = Connector("h", SETTINGS, Owner(), None, self.new_lane)  # type: ignore[arg-type]

    def new_lane(self, target: str = "") -> Lane:
        greeting = Greeting(
            network="n",
            node_id="a",
            node_name="a",
            host_id="h",
            host_name="h",
            labc_version="0",
            max_message_bytes=1 << 20,
            target=target,
        )
        lane = Lane(greeting, Owner(), SETTINGS, initiator=True)  # type: ignore[arg-type]
        self.lanes.append(lane)
        return lane

    def begin(self) -> asyncio.Task[Lane]:
        return asyncio.create_task(self.connector._at(self.address, "b"))

    async def gone(self) -> None:
        """Returns when nothing is left of the lane here."""
        [lane] = self.lanes
        async with asyncio.timeout(5):
            while not (lane.closed.is_set() and lane._writer.socket is None and not self.connector._beginning):  # noqa: ASYNC110
                await asyncio.sleep(0.01)


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Iterator[Callable[[Any], Any]]:
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner.run


def unclosed(run: Callable[[Any], Any], check: Any) -> list[str]:
    """What is thrown away without being closed while ``check`` runs, and after it."""
    gc.collect()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run(check)
        gc.collect()
    return [str(warning.message) for warning in caught]


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.parametrize("after", TURNS)
@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_cancelled_while_it_begins(run, kind: str, after: int) -> None:
    async def check() -> None:
        place = Place(kind)
        beginning = place.begin()
        await turns(after)
        beginning.cancel()
        with pytest.raises(asyncio.CancelledError):
            await beginning
        if place.lanes:
            await place.gone()
        place.listener.setblocking(False)
        with place.listener, suppress(BlockingIOError):
            peer, _ = place.listener.accept()
            with peer:
                peer.settimeout(5)
                while peer.recv(1 << 16):  # the peer sees the end of it
                    pass

    assert unclosed(run, check()) == []


@pytest.mark.parametrize("after", TURNS)
@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_the_other_end_goes_away_while_it_begins(run, kind: str, after: int) -> None:
    async def check() -> None:
        place = Place(kind)
        beginning = place.begin()
        await turns(after)
        place.listener.close()
        with pytest.raises((LabcError, OSError)):
            async with asyncio.timeout(5):
                await beginning
        await place.gone()

    assert unclosed(run, check()) == []


def test_a_node_that_takes_no_connections_any_more_is_not_connected(run) -> None:
    async def check() -> None:
        place = Place("unix", backlog=0)
        with place.listener, socket.socket(socket.AF_UNIX) as first:
            first.connect(place.listener.getsockname())
            with pytest.raises(ConnectionError, match="temporarily unavailable"):
                async with asyncio.timeout(5):
                    await place.begin()
        await place.gone()

    assert unclosed(run, check()) == []
