"""One process of a measurement: ``python -m benchmarks.worker PEER ROLE PLACE``.

It prints "ready", then reads commands from stdin, a JSON object a line, and answers each with a line "=> " and JSON.
It ends when stdin does.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

from benchmarks.peers import load
from benchmarks.peers.common import ArrayEcho, AsyncEcho, Echo, Peer, Place, Values, opened, opened_async

Options = dict[str, Any]


def main() -> None:
    name, role, place = sys.argv[1:]
    peer, where = load(name), Place(**json.loads(place))
    if role in ("broker", "serve", "serve_arrays", "serve_values"):
        threading.Thread(target=_end_with_stdin, daemon=True).start()
        getattr(peer, role)(where, _ready)
    elif role == "subscribe":
        _subscribe(peer, where)
    elif role == "flood":
        with opened(peer.flood(where)) as flood:
            _answer(lambda options: {"sent": flood(bytes(options["size"]), options["seconds"])})
    elif role == "arrays":
        with opened(peer.array_echo(where)) as array_echo:
            _answer(lambda options: _measure_arrays(array_echo, options))
    elif role == "values":
        with opened(peer.values(where)) as values:
            _answer(lambda options: _measure_values(values, options))
    elif role == "beside":
        with asyncio.Runner(loop_factory=peer.new_loop) as runner:
            runner.run(_asynchronous(cast(Any, peer).beside(where), _measure_beside))
    elif role == "spread":
        with opened(cast(Any, peer).spread(where)) as spread:
            _answer(lambda options: {"rate": spread(*options["spread"])})
    elif role == "calls" and peer.blocking:
        with opened(peer.echo(where)) as echo:
            _answer(lambda options: _measure_calls(echo, options))
    elif role in ("calls", "flight"):
        with asyncio.Runner(loop_factory=peer.new_loop) as runner:
            measure = _measure_awaited if role == "calls" else _measure_flight
            runner.run(_asynchronous(peer.async_echo(where), measure))
    else:
        sys.exit(f"no such role: {role}")
    os._exit(0)  # nothing of a peer's leaving is measured, and some leave slowly


def _ready() -> None:
    print("ready", flush=True)


def _end_with_stdin() -> None:
    sys.stdin.read()
    os._exit(0)


def _answer(do: Callable[[Options], Any]) -> None:
    _ready()
    for line in sys.stdin:
        print("=> " + json.dumps(do(json.loads(line))), flush=True)


async def _asynchronous(connection: AsyncIterator[Any], measure: Callable[[Any, Options], Any]) -> None:
    async with opened_async(connection) as asked:
        _ready()
        while line := await asyncio.to_thread(sys.stdin.readline):
            print("=> " + json.dumps(await measure(asked, json.loads(line))), flush=True)


def _measure_calls(echo: Echo, options: Options) -> Any:
    clock, payload, took = time.perf_counter, bytes(options["size"]), []
    assert echo(payload) == payload
    for _ in range(options["warm"]):
        echo(payload)
    end = clock() + options["seconds"]
    began = clock()
    while began < end:
        echo(payload)
        ended = clock()
        took.append(ended - began)
        began = ended
    return _summary(took)


async def _measure_awaited(echo: AsyncEcho, options: Options) -> Any:
    clock, payload, took = time.perf_counter, bytes(options["size"]), []
    assert await echo(payload) == payload
    for _ in range(options["warm"]):
        await echo(payload)
    end = clock() + options["seconds"]
    began = clock()
    while began < end:
        await echo(payload)
        ended = clock()
        took.append(ended - began)
        began = ended
    return _summary(took)


def _summary(took: list[float]) -> dict[str, float]:
    took.sort()
    return {"count": len(took), "median": took[len(took) // 2], "p99": took[len(took) * 99 // 100]}


async def _measure_flight(echo: AsyncEcho, options: Options) -> Any:
    clock, payload = time.perf_counter, bytes(options["size"])
    assert await echo(payload) == payload

    async def closed_loop(end: float) -> int:
        calls = 0
        while clock() < end:
            await echo(payload)
            calls += 1
        return calls

    async def together(seconds: float) -> float:
        began = clock()
        calls = await asyncio.gather(*(closed_loop(began + seconds) for _ in range(options["tasks"])))
        return sum(calls) / (clock() - began)

    await together(0.1)
    return {"rate": await together(options["seconds"])}


def _measure_arrays(echo: ArrayEcho, options: Options) -> Any:
    import numpy as np

    array = np.arange(options["size"] // 8, dtype=np.int64).view(np.uint8)
    assert np.array_equal(echo(array), array)
    echo(array)
    clock, count = time.perf_counter, 0
    began = clock()
    while clock() < began + options["seconds"]:
        echo(array)
        count += 1
    return {"rate": 2 * count * array.nbytes / (clock() - began)}


def _measure_values(values: Values, options: Options) -> Any:
    count, size = options["count"], options["size"]
    values(min(count, 10), size)
    began = time.perf_counter()
    assert values(count, size) == count
    return {"rate": count * (size or 1) / (time.perf_counter() - began)}


async def _measure_beside(beside: Callable[[float], Any], options: Options) -> Any:
    return await beside(options["seconds"])


class _Counter:
    """The user's handler."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.count = 0
        self.bytes = 0
        self.first = self.last = 0.0

    def __call__(self, payload: bytes) -> None:
        self.last = time.perf_counter()
        if not self.count:
            self.first = self.last
        self.count += 1
        self.bytes += len(payload)

    def report(self, options: Options) -> dict[str, float]:
        answer = {"count": self.count, "bytes": self.bytes, "seconds": self.last - self.first}
        if options.get("reset"):
            self.reset()
        return answer


def _subscribe(peer: Peer, place: Place) -> None:
    counter = _Counter()
    began = threading.Event()

    def commands() -> None:
        began.wait()
        _answer(counter.report)
        os._exit(0)

    threading.Thread(target=commands, daemon=True).start()
    peer.subscribe(place, counter, began.set)


if __name__ == "__main__":
    main()
