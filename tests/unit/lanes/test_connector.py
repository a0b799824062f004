"""Lanes that are given up, or whose other end goes away, just while they begin. Nothing of them is left."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from keyed import make_members

from labc.directory import NodeRecord
from labc.errors import LabcError
from labc.lanes import cut
from labc.lanes.addresses import ABSTRACT_SOCKETS
from labc.lanes.admission import Admission
from labc.lanes.connector import Connector
from labc.lanes.door import Door
from labc.lanes.lane import Lane
from labc.lanes.tls import Tls
from labc.lanes.ways import Ways
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

TURNS = range(8)
"""Of the loop, after which something happens: more than a lane needs to begin."""


class Owner:
    """Of lanes, and what a connector needs to know of the network: it takes whatever it is told."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args: None


def greeting(name: str, target: str = "") -> Greeting:
    return Greeting(
        network="n",
        node_id=name,
        node_name=name,
        host_id="h",
        host_name="h",
        labc_version="0",
        max_message_bytes=1 << 20,
        target=target,
    )


class Place:
    """A listening socket, and a connector that shall reach it."""

    def __init__(self, kind: str, backlog: int = 8, tls: Tls | None = None) -> None:
        self.lanes: list[Lane] = []
        if kind == "unix":
            name = f"labc-test-{os.urandom(8).hex()}"
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(f"\0{name}")
            self.address = f"unix/@{name}"
        else:
            self.listener = socket.create_server(("127.0.0.1", 0))
            self.address = f"{kind}/127.0.0.1:{self.listener.getsockname()[1]}"
        self.listener.listen(backlog)
        self.connector = Connector("h", SETTINGS, Owner(), None, self.new_lane, tls, Ways(()))  # type: ignore[arg-type]

        self.tls = tls

    def new_lane(self, target: NodeRecord) -> Lane:
        lane = Lane(greeting("a", target.id), Owner(), SETTINGS, initiator=True)  # type: ignore[arg-type]
        self.lanes.append(lane)
        return lane

    def begin(self) -> asyncio.Task[Lane]:
        return asyncio.create_task(self.connector._at(self.address, NodeRecord("b", "h", "host", "b")))

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


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    """Of a member of a keyed network."""
    return Tls(make_members(tmp_path_factory.mktemp("members"), "n", ["h"])["h"])


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
@pytest.mark.parametrize("kind", ["unix", "tcp", "tls"])
def test_cancelled_while_it_begins(run, kind: str, after: int, tls: Tls) -> None:
    async def check() -> None:
        place = Place(kind, tls=tls if kind == "tls" else None)
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
@pytest.mark.parametrize("kind", ["unix", "tcp", "tls"])
def test_the_other_end_goes_away_while_it_begins(run, kind: str, after: int, tls: Tls) -> None:
    async def check() -> None:
        place = Place(kind, tls=tls if kind == "tls" else None)
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


@asynccontextmanager
async def behind_a_door(place: Place, enter: Callable[[], asyncio.BaseProtocol]) -> AsyncIterator[Door]:
    """Members of the network come in there."""
    assert place.tls is not None
    door = Door(place.listener, place.tls.server, enter, patience=5)
    door.open()
    try:
        yield door
    finally:
        door.close()
        async with asyncio.timeout(5):
            await door.wait_closed()


class Accepting:
    """The lanes of the other end."""

    def __init__(self) -> None:
        self.lanes: list[Lane] = []

    def __call__(self) -> Admission:
        return Admission(self._lane)

    def _lane(self) -> Lane:
        self.lanes.append(Lane(greeting("b"), Owner(), SETTINGS, initiator=False))  # type: ignore[arg-type]
        return self.lanes[-1]

    async def gone(self) -> None:
        async with asyncio.timeout(5):
            while any(lane._writer.socket is not None for lane in self.lanes):  # noqa: ASYNC110
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("after", range(0, 60, 4))
def test_cancelled_anywhere_in_the_handshake(run, after: int, tls: Tls) -> None:
    async def check() -> None:
        place = Place("tls", tls=tls)
        others = Accepting()
        async with behind_a_door(place, others):
            beginning = place.begin()
            for _ in range(after):
                await asyncio.sleep(0.0002)
            beginning.cancel()
            with suppress(asyncio.CancelledError):
                (await beginning).close()
            if place.lanes:
                await place.gone()
            await others.gone()

    assert unclosed(run, check()) == []


def test_an_encrypted_lane_can_be_asked_whether_it_is_cut_and_is_not_written_past_the_loop(run, tls: Tls) -> None:
    async def check() -> None:
        place = Place("tls", tls=tls)
        others = Accepting()
        async with behind_a_door(place, others):
            async with asyncio.timeout(5):
                lane = await place.begin()
                assert lane.kind == "tls"
                assert lane.within_host
                assert lane._writer.socket is not None
                assert lane._writer.socket.getpeername() == place.listener.getsockname()
                assert not lane.is_cut
                if cut.POSSIBLE:
                    steadily = [
                        lane._writer.socket.getsockopt(socket.IPPROTO_TCP, 16) for lane in (lane, *others.lanes)
                    ]
                    assert steadily == [1, 1], "both ends send again in equal steps"
                assert not lane._writer._write_at_once()
                await lane.ping()
            lane.close()
            await place.gone()
            await others.gone()

    assert unclosed(run, check()) == []
