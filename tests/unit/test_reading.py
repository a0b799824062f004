"""A reader is attached with its first read, and again with the next one if that was cancelled."""

from __future__ import annotations

import asyncio
import gc
from collections import deque
from typing import Any

import pytest

from labc.reading import Inflow, Reader


class Few:
    """A queue without a bound."""

    dropped = 0

    def __init__(self) -> None:
        self.items: deque[int] = deque()

    def put(self, *items: int) -> None:
        self.items.extend(items)

    def take(self) -> int:
        return self.items.popleft()


class Node:
    """To which readers are attached, as soon as it may."""

    def __init__(self) -> None:
        self.may = asyncio.Event()
        self.attached: list[Any] = []
        self.has_attached = asyncio.Event()
        self.detached = asyncio.Event()

    async def attach(self, inflow: Any) -> None:
        await self.may.wait()
        self.attached.append(inflow)
        self.has_attached.set()

    async def detach(self, inflow: Any) -> None:
        self.attached = [other for other in self.attached if other is not inflow]
        self.detached.set()

    def reader(self) -> Reader[int]:
        return Reader(Inflow(Few()), self.attach, self.detach)


def test_a_first_read_that_is_cancelled_is_no_last_one() -> None:
    async def check() -> None:
        node = Node()
        reader = node.reader()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(reader), 0.01)
        node.may.set()
        reading = asyncio.create_task(anext(reader))
        async with asyncio.timeout(5):
            await node.has_attached.wait()
            node.attached[0].put(1, 2)
            assert await reading == 1
            assert await anext(reader) == 2
        await reader.aclose()
        assert node.attached == []
        with pytest.raises(StopAsyncIteration):
            await anext(reader)

    asyncio.run(check())


def test_a_reader_that_is_let_go_of_is_detached() -> None:
    async def check() -> None:
        node = Node()
        node.may.set()
        reader = node.reader()
        async with asyncio.timeout(5):
            await reader.__aenter__()
            assert len(node.attached) == 1
            del reader
            gc.collect()
            await node.detached.wait()
        assert node.attached == []

    asyncio.run(check())
