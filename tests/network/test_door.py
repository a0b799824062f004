"""The door of a keyed network's lanes: TLS begins only with who begins to speak it."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Coroutine

import pytest

from labc.lanes.door import Door

PATIENCE = 0.5


def at_a_door(visit: Callable[[Door, int, list[str]], Coroutine[None, None, None]]) -> None:
    """Runs ``visit(door, port, begun)``; each handshake that begins is an entry of ``begun``."""

    async def run() -> None:
        begun: list[str] = []

        def context() -> ssl.SSLContext:
            begun.append("a handshake")
            return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

        own = socket.create_server(("127.0.0.1", 0))
        door = Door(own, context, asyncio.Protocol, PATIENCE)
        door.open()
        try:
            async with asyncio.timeout(20):
                await visit(door, own.getsockname()[1], begun)
        finally:
            door.close()
            await asyncio.sleep(0)

    asyncio.run(run())


@pytest.mark.parametrize("said", [b"labc" * 100, b"\x00", b"GET / HTTP/1.1\r\n\r\n"])
def test_garbage_is_closed_at_once(said: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async def visit(door: Door, port: int, begun: list[str]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(said)
        assert await reader.read() == b""
        assert door.refused == 1
        assert begun == []
        assert "a connection from 127.0.0.1 was refused: it is no member" in caplog.text
        writer.close()

    at_a_door(visit)


def test_who_says_nothing_is_dropped_in_time() -> None:
    async def visit(door: Door, port: int, begun: list[str]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        began = asyncio.get_running_loop().time()
        assert await reader.read() == b""
        assert asyncio.get_running_loop().time() - began > 0.9 * PATIENCE
        assert door.refused == 1
        assert begun == []
        writer.close()

    at_a_door(visit)


def test_who_is_gone_again_is_forgotten() -> None:
    async def visit(door: Door, port: int, begun: list[str]) -> None:
        for _ in range(3):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
        while door.refused < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        assert begun == []

    at_a_door(visit)


def test_a_handshake_that_stops_is_dropped_in_time() -> None:
    async def visit(door: Door, port: int, begun: list[str]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(bytes.fromhex("1603010200010001fc0303"))  # the beginning of a ClientHello
        assert await reader.read() == b""
        assert door.refused == 1
        assert begun == ["a handshake"]
        writer.close()

    at_a_door(visit)
