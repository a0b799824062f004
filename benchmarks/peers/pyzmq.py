"""pyzmq: ``ipc`` within a host, REQ/REP for single calls, DEALER/ROUTER for many, values packed with msgpack.

Arrays and large messages go with ``copy=False``. A publisher waits for slow subscribers (``XPUB_NODROP``) and drops
nothing; for large messages there is a socket that queues few of them, or a gigabyte would wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgpack
import zmq
import zmq.asyncio

from benchmarks.peers.common import ArrayEcho, AsyncEcho, Echo, Flood, Handler, Peer, Place, Ready, until

_LARGE = 1 << 18
_LARGE_HWM = 16


class PyZMQ(Peer):
    """``way``: "dealer" serves a ROUTER; else REP."""

    def serve(self, place: Place, ready: Ready) -> None:
        if place.way == "dealer":
            _serve_router(place, ready)
        socket = _bound(place, zmq.REP)
        ready()
        while True:
            socket.send(msgpack.packb(msgpack.unpackb(socket.recv())))

    def serve_arrays(self, place: Place, ready: Ready) -> None:
        socket = _bound(place, zmq.REP)
        ready()
        while True:
            socket.send(socket.recv(copy=False), copy=False)

    def echo(self, place: Place) -> Iterator[Echo]:
        socket = _connected(place, zmq.REQ)

        def echo(payload: bytes) -> bytes:
            socket.send(msgpack.packb(payload))
            return msgpack.unpackb(socket.recv())  # type: ignore[no-any-return]

        yield echo

    async def async_echo(self, place: Place) -> AsyncIterator[AsyncEcho]:
        # One wait for all that has come: a plain shadow of the socket takes what doesn't have to be waited for.
        waiter = zmq.asyncio.Context.instance().socket(zmq.DEALER)
        waiter.connect(_url(place))
        socket = zmq.Socket.shadow(waiter)
        futures: dict[int, asyncio.Future[bytes]] = {}
        loop = asyncio.get_running_loop()

        async def read() -> None:
            while True:
                number, value = msgpack.unpackb(await waiter.recv())
                futures.pop(number).set_result(value)
                with contextlib.suppress(zmq.Again):
                    while True:
                        number, value = msgpack.unpackb(socket.recv(zmq.NOBLOCK))
                        futures.pop(number).set_result(value)

        last = 0

        async def echo(payload: bytes) -> bytes:
            nonlocal last
            last = number = last + 1
            future: asyncio.Future[bytes] = loop.create_future()
            futures[number] = future
            await waiter.send(msgpack.packb((number, payload)))
            return await future

        reader = asyncio.create_task(read())
        yield echo
        reader.cancel()

    def array_echo(self, place: Place) -> Iterator[ArrayEcho]:
        import numpy as np

        socket = _connected(place, zmq.REQ)

        def echo(array: Any) -> Any:
            socket.send(array, copy=False)
            return np.frombuffer(socket.recv(copy=False).buffer, np.uint8)

        yield echo

    def flood(self, place: Place) -> Iterator[Flood]:
        small, large = (zmq.Context.instance().socket(zmq.PUB) for _ in range(2))
        small.set(zmq.XPUB_NODROP, 1)
        small.bind(_url(place))
        large.set(zmq.XPUB_NODROP, 1)
        large.set(zmq.SNDHWM, _LARGE_HWM)
        large.bind(_large_url(place))

        def flood(payload: bytes, seconds: float) -> int:
            send = functools.partial(large.send, payload, copy=False)
            if len(payload) < _LARGE:
                send = functools.partial(small.send, payload)
            return until(time.perf_counter() + seconds, send)

        yield flood

    def subscribe(self, place: Place, handler: Handler, ready: Ready) -> None:
        socket = zmq.Context.instance().socket(zmq.SUB)
        socket.subscribe(b"")
        socket.connect(_url(place))
        socket.set(zmq.RCVHWM, _LARGE_HWM)
        socket.connect(_large_url(place))
        ready()
        while True:
            handler(socket.recv())

    def new_loop(self) -> asyncio.AbstractEventLoop:
        import uvloop

        loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        return loop


def _serve_router(place: Place, ready: Ready) -> None:
    socket = _bound(place, zmq.ROUTER)
    ready()
    while True:
        sender, payload = socket.recv_multipart()
        socket.send_multipart((sender, msgpack.packb(msgpack.unpackb(payload))))


def _url(place: Place) -> str:
    return f"ipc://{place.path}" if place.path else f"tcp://{place.address}:{place.port}"


def _large_url(place: Place) -> str:
    return f"ipc://{place.path}.large" if place.path else f"tcp://{place.address}:{place.port + 10000}"


def _bound(place: Place, kind: int) -> Any:
    socket = zmq.Context.instance().socket(kind)
    socket.bind(_url(place))
    return socket


def _connected(place: Place, kind: int) -> Any:
    socket = zmq.Context.instance().socket(kind)
    socket.connect(_url(place))
    return socket


PEER = PyZMQ()
