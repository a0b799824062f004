"""Strangers at the door of a keyed network: nothing is left of them, however far they came."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from keyed import make_members

from labc.lanes.door import Door
from labc.lanes.tls import Tls

LOOPS = [asyncio.new_event_loop]
try:
    import uvloop
except ImportError:  # not on Windows
    pass
else:
    LOOPS.append(uvloop.new_event_loop)


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Iterator[Callable[[Any], Any]]:
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner.run


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    return Tls(make_members(tmp_path_factory.mktemp("members"), "n", ["h"])["h"])


def open_door(tls: Tls, patience: float = 30.0) -> tuple[Door, tuple[str, int]]:
    own = socket.create_server(("127.0.0.1", 0))
    door = Door(own, tls.server, asyncio.Protocol, patience)
    door.open()
    return door, own.getsockname()


def sees_the_end(stranger: socket.socket) -> bool:
    with suppress(ConnectionResetError):
        while stranger.recv(1 << 16):
            pass
    return True


async def turns(count: int) -> None:
    """Of the loop. A handshake needs fewer than eight to begin."""
    for _ in range(count):
        await asyncio.sleep(0)


HALF_A_HELLO = b"\x16\x03\x01\x02\x00\x01\x00"


@pytest.mark.parametrize("says", [b"", HALF_A_HELLO], ids=["nothing", "half"])
@pytest.mark.parametrize("soon", [False, True], ids=["at once", "soon"])
@pytest.mark.parametrize("after", range(8), ids=lambda after: f"after {after} turns")
def test_it_is_closed_while_one_comes_in(
    run, tls: Tls, after: int, soon: bool, says: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def check() -> None:
        door, place = open_door(tls)
        await turns(3)  # then it waits for somebody
        with socket.create_connection(place, 5) as stranger:
            stranger.sendall(says)
            await turns(after)
            if soon:
                asyncio.get_running_loop().call_soon(door.close)
                await asyncio.sleep(0)
            else:
                door.close()
            async with asyncio.timeout(5):
                await door.wait_closed()
            assert await asyncio.to_thread(sees_the_end, stranger)

    gc.collect()
    gc.disable()  # it need not come for a long time
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            run(check())
            gc.collect()
    finally:
        gc.enable()
    assert [str(warning.message) for warning in caught] == []
    assert caplog.messages == []


def test_who_says_nothing_for_too_long_is_refused(run, tls: Tls, caplog: pytest.LogCaptureFixture) -> None:
    async def check() -> None:
        door, place = open_door(tls, patience=0.1)
        with socket.create_connection(place, 5) as stranger:
            assert await asyncio.to_thread(sees_the_end, stranger)
        assert door.refused == 1
        door.close()
        await door.wait_closed()

    with caplog.at_level(logging.WARNING, "labc.lanes"):
        run(check())
    assert [record.getMessage() for record in caplog.records] == [
        "a connection from 127.0.0.1 was refused: it took too long to say who it is"
    ]


def test_one_too_many_puts_the_oldest_out(run, tls: Tls) -> None:
    async def check() -> None:
        door, place = open_door(tls)
        strangers = []
        for _ in range(33):
            strangers.append(socket.create_connection(place, 5))
            await asyncio.sleep(0)
        assert await asyncio.to_thread(sees_the_end, strangers[0])
        async with asyncio.timeout(5):
            while door.refused < 1:  # noqa: ASYNC110
                await asyncio.sleep(0)
        strangers[1].settimeout(0.05)
        with pytest.raises(TimeoutError):
            strangers[1].recv(1)
        door.close()
        await door.wait_closed()
        assert door.refused == 33
        for stranger in strangers:
            stranger.close()

    run(check())
