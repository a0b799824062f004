"""labc, as its README uses it. ``way`` is "async" or "def" for functions, and tells of the handler for topics."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import labc
from benchmarks.peers.common import ArrayEcho, AsyncEcho, Echo, Flood, Handler, Peer, Place, Ready, until

_TOPIC = "bench/flood"
_FIND_WITHIN = 20.0


class Labc(Peer):
    """``way`` for topics: "def", "async" (the kind of handler), "hold" (``when_full="hold"``, a ``def`` handler)."""

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


PEER = Labc()
