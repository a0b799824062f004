"""Two relay transports, joined by lists of pieces that the test carries, loses or keeps back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from labc.lanes.relay import WINDOW, RelayTransport, is_opening


class Ear(asyncio.BufferedProtocol):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.heard = bytearray()
        self.buffer = bytearray(1000)
        self.lost: list[Exception | None] = []
        self.paused = False

    def get_buffer(self, sizehint: int) -> memoryview:
        return memoryview(self.buffer)

    def buffer_updated(self, nbytes: int) -> None:
        self.heard += self.buffer[:nbytes]

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append(exc)

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False


class Pair:
    """``a`` and ``b``; what they send waits in ``to_b`` and ``to_a``."""

    def __init__(self) -> None:
        self.to_a: list[bytes] = []
        self.to_b: list[bytes] = []
        self.ear_a, self.ear_b = Ear(), Ear()
        self.closed: list[str] = []
        self.a = RelayTransport(self.ear_a, self.to_b.append, lambda: self.closed.append("a"))
        self.b = RelayTransport(self.ear_b, self.to_a.append, lambda: self.closed.append("b"))
        self.a.start(opening=True)
        assert is_opening(self.to_b.pop(0))
        self.b.start(opening=False)

    def carry(self) -> None:
        """Everything that waits, and what is sent in answer."""
        while self.to_a or self.to_b:
            while self.to_b:
                self.b.receive(self.to_b.pop(0))
            while self.to_a:
                self.a.receive(self.to_a.pop(0))


def in_loop(check: Callable[[Pair], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    async def run() -> None:
        await check(Pair())

    return lambda: asyncio.run(run())


def data(size: int) -> bytes:
    return bytes(number % 251 for number in range(size))


@pytest.mark.parametrize("size", [1, 65536, 65537, 3 * WINDOW + 17])
def test_bytes_arrive_as_they_were_sent(size: int) -> None:
    async def check(pair: Pair) -> None:
        pair.a.write(data(size))
        pair.b.write(b"and back")
        pair.carry()
        assert pair.ear_b.heard == data(size)
        assert pair.ear_a.heard == b"and back"

    in_loop(check)()


def test_what_is_under_way_is_bounded_and_the_writer_is_held_back() -> None:
    async def check(pair: Pair) -> None:
        pair.a.write(data(3 * WINDOW))
        assert pair.ear_a.paused
        assert sum(map(len, pair.to_b)) <= WINDOW + 65536 + 9 * len(pair.to_b)
        assert pair.a.get_write_buffer_size() == 3 * WINDOW
        pair.carry()
        assert not pair.ear_a.paused
        assert pair.a.get_write_buffer_size() < WINDOW

    in_loop(check)()


@pytest.mark.parametrize("change", ["lost", "twice", "swapped"])
def test_a_disorder_ends_the_relay_and_never_shows_in_the_bytes(change: str) -> None:
    async def check(pair: Pair) -> None:
        for number in range(4):
            pair.a.write(b"%d" % number * 10)
        if change == "lost":
            del pair.to_b[1]
        elif change == "twice":
            pair.to_b.insert(1, pair.to_b[0])
        else:
            pair.to_b[1], pair.to_b[2] = pair.to_b[2], pair.to_b[1]
        pair.carry()
        await asyncio.sleep(0)
        assert pair.ear_b.heard == b"0" * 10
        assert isinstance(pair.ear_b.lost[0], ConnectionResetError)
        assert pair.ear_a.lost == [None], "the other side is told"
        assert sorted(pair.closed) == ["a", "b"]

    in_loop(check)()


def test_closing_sends_what_waits_and_ends_both_sides_once() -> None:
    async def check(pair: Pair) -> None:
        pair.a.write(data(2 * WINDOW))
        pair.a.close()
        pair.carry()
        await asyncio.sleep(0)
        assert len(pair.ear_b.heard) == 2 * WINDOW
        assert (pair.ear_a.lost, pair.ear_b.lost) == ([None], [None])
        pair.a.abort()
        await asyncio.sleep(0)
        assert pair.ear_a.lost == [None]

    in_loop(check)()


@pytest.mark.parametrize("piece", [b"", b"\x01", b"\xff" * 9, b"\x02" + b"\xff" * 8])
def test_nonsense_is_ignored(piece: bytes) -> None:
    async def check(pair: Pair) -> None:
        pair.b.receive(piece)
        pair.a.write(b"fine")
        pair.carry()
        assert pair.ear_b.heard == b"fine"

    in_loop(check)()
