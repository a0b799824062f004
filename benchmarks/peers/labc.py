"""labc, as its README uses it. ``way`` is "async" or "def" for functions, and tells of the handler for topics."""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import numpy as np

import labc
from benchmarks.peers.common import ArrayEcho, AsyncEcho, Echo, Flood, Handler, Peer, Place, Ready, Values, until

Beside = Callable[[float], Awaitable[dict[str, float]]]
"""Calls for so many seconds, alone and beside a stream: the medians, and the bytes a second of the stream."""
Spread = Callable[[int, int, float, int], float]
"""Items a second, with so many workers, items, seconds that an item takes, and items for each worker at a time."""

_TOPIC = "bench/flood"
_FIND_WITHIN = 20.0
_LARGE = 1 << 20


class Labc(Peer):
    """``way`` for streams: "def", "async", or "outgoing", with which the client sends; for topics: "def", "async" (the
    kind of handler), "hold" (``when_full="hold"``, a ``def`` handler)."""

    def serve(self, place: Place, ready: Ready) -> None:
        labc.init(name="server", network=place.network)

        if place.way == "async":

            @labc.register(name="echo")
            async def echo_in_loop(value: Any) -> Any:
                return value

        else:

            @labc.register(name="echo")
            def echo_in_thread(value: Any) -> Any:
                return value

        ready()
        labc.serve()

    def echo(self, place: Place) -> Iterator[Echo]:
        labc.init(name="client", network=place.network)
        labc.at(find_timeout=_FIND_WITHIN).call("echo", b"")

        def echo(payload: bytes) -> bytes:
            return labc.call("echo", payload)  # type: ignore[no-any-return]

        yield echo

    async def async_echo(self, place: Place) -> AsyncIterator[AsyncEcho]:
        async with labc.Node(name="client", network=place.network):
            await labc.aio.at(find_timeout=_FIND_WITHIN).call("echo", b"")

            async def echo(payload: bytes) -> bytes:
                return await labc.aio.call("echo", payload)  # type: ignore[no-any-return]

            yield echo

    def array_echo(self, place: Place) -> Iterator[ArrayEcho]:
        labc.init(name="client", network=place.network)
        labc.at(find_timeout=_FIND_WITHIN).call("echo", b"")

        def echo(array: Any) -> Any:
            return labc.call("echo", array)

        yield echo

    def serve_values(self, place: Place, ready: Ready) -> None:
        labc.init(name="server", network=place.network)
        labc.register(_values, name="values")
        labc.register(_values_awaited, name="values awaited")
        labc.register(lambda values: sum(1 for _ in values), name="count")
        labc.register(_echo_awaited, name="echo")
        labc.register(_nap, name="nap")
        ready()
        labc.serve()

    def values(self, place: Place) -> Iterator[Values]:
        labc.init(name="client", network=place.network)
        name = "values awaited" if place.way == "async" else "values"
        labc.at(find_timeout=_FIND_WITHIN).call("echo", b"")

        def read(count: int, size: int) -> int:
            if place.way == "outgoing":
                return labc.at(timeout=60.0).call("count", labc.outgoing(_values(count, size)))  # type: ignore[no-any-return]
            return sum(1 for _ in labc.stream(name, count, size))

        yield read

    async def beside(self, place: Place) -> AsyncIterator[Beside]:
        """Yields what measures calls alone, and beside a stream of arrays over the same lane."""
        async with labc.Node(name="client", network=place.network) as node:
            await node.at(find_timeout=_FIND_WITHIN).call("echo", b"")

            async def median(seconds: float) -> float:
                took = []
                end = time.perf_counter() + seconds
                while (began := time.perf_counter()) < end:
                    await node.call("echo", b"")
                    took.append(time.perf_counter() - began)
                return statistics.median(took)

            async def measure(seconds: float) -> dict[str, float]:
                alone = await median(seconds)
                came = 0

                async def read() -> None:
                    nonlocal came
                    async for _ in node.stream("values", sys.maxsize, _LARGE):
                        came += 1

                reading = asyncio.create_task(read())
                await asyncio.sleep(0.2)
                before, began = came, time.perf_counter()
                beside = await median(seconds)
                rate = (came - before) * _LARGE / (time.perf_counter() - began)
                reading.cancel()
                await asyncio.wait([reading])
                return {"alone": alone, "beside": beside, "rate": rate}

            yield measure

    def spread(self, place: Place) -> Iterator[Spread]:
        """Yields what gives items to as many workers as there are."""
        labc.init(name="client", network=place.network)

        def spread(workers: int, items: int, seconds: float, window: int) -> float:
            deadline = time.monotonic() + _FIND_WITHIN
            while len(labc.nodes()) <= workers:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{len(labc.nodes()) - 1} of {workers} workers")
                time.sleep(0.05)
            list(labc.map("nap", [0.0] * 2 * workers, window=window))  # the lanes are there
            began = time.perf_counter()
            done = sum(outcome.ok for outcome in labc.map("nap", [seconds] * items, window=window))
            assert done == items
            return items / (time.perf_counter() - began)

        yield spread

    def flood(self, place: Place) -> Iterator[Flood]:
        labc.init(name="publisher", network=place.network)
        labc.publish("bench/other", 0)  # takes the program into the network

        def flood(payload: bytes, seconds: float) -> int:
            publish = labc.publish
            return until(time.perf_counter() + seconds, lambda: publish(_TOPIC, payload))

        yield flood

    def subscribe(self, place: Place, handler: Handler, ready: Ready) -> None:
        labc.init(name="subscriber", network=place.network)
        labc.register(lambda: True, name="subscribed")
        if place.way == "async":

            @labc.subscribe(topic=_TOPIC)
            async def handle_in_loop(payload: bytes) -> None:
                handler(payload)

        elif place.way == "hold":
            labc.subscribe(handler, topic=_TOPIC, when_full="hold")
        else:
            labc.subscribe(handler, topic=_TOPIC)
        labc.call("subscribed")  # in the network
        ready()
        labc.serve()


def _values(count: int, size: int) -> Iterator[Any]:
    if not size:
        yield from range(count)
        return
    array = np.zeros(size, np.uint8)
    for _ in range(count):
        yield array


async def _values_awaited(count: int, size: int) -> AsyncIterator[Any]:
    for value in _values(count, size):
        yield value


async def _echo_awaited(value: Any) -> Any:
    return value


def _nap(seconds: float) -> None:
    if seconds:
        time.sleep(seconds)


PEER = Labc()
