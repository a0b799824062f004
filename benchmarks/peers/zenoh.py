"""Plain Zenoh. Queries between two peers that are linked directly; topics between two clients of one router, as the
examples z_pub_thr and z_sub_thr do: a declared publisher that waits when the way is full, and no express messages.
Topics come by Zenoh's default callback, which has a thread of its own: a direct one takes the interpreter's lock anew
for each message, and is seven times slower (110 000 messages/s against 800 000).

``way`` "tcp": without the shared memory that Zenoh uses by default between programs of one host."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from typing import Any

import zenoh
from zenoh.handlers import Callback

from benchmarks.peers.common import AsyncEcho, Echo, Flood, Handler, Peer, Place, Ready, until

_ECHO = "bench/echo"
_FLOOD = "bench/flood"
_FIND_WITHIN = 10.0


class Zenoh(Peer):
    def broker(self, place: Place, ready: Ready) -> None:
        with _session(place, "router", listen=True):
            ready()
            threading.Event().wait()

    def serve(self, place: Place, ready: Ready) -> None:
        def answer(query: Any) -> None:
            with query:
                query.reply(_ECHO, query.payload)

        with _session(place, "peer", listen=True) as session:
            session.declare_queryable(_ECHO, answer, complete=True)
            ready()
            threading.Event().wait()

    def echo(self, place: Place) -> Iterator[Echo]:
        with _session(place, "peer", listen=False) as session:
            querier = session.declare_querier(_ECHO)

            def echo(payload: bytes) -> bytes:
                for reply in querier.get(payload=payload):
                    return reply.ok.payload.to_bytes()  # type: ignore[no-any-return]
                raise ConnectionError("no reply")

            _wait_for(lambda: echo(b"x"))
            yield echo

    async def async_echo(self, place: Place) -> AsyncIterator[AsyncEcho]:
        loop = asyncio.get_running_loop()
        arrived: deque[tuple[asyncio.Future[bytes], bytes]] = deque()

        def deliver() -> None:
            while arrived:
                future, payload = arrived.popleft()
                if not future.done():
                    future.set_result(payload)

        with _session(place, "peer", listen=False) as session:
            querier = session.declare_querier(_ECHO)

            async def echo(payload: bytes) -> bytes:
                future: asyncio.Future[bytes] = loop.create_future()

                def take(reply: Any) -> None:
                    arrived.append((future, reply.ok.payload.to_bytes()))
                    if len(arrived) == 1:
                        loop.call_soon_threadsafe(deliver)

                querier.get(Callback(take, indirect=False), payload=payload)
                return await future

            def once() -> None:
                for _ in querier.get(payload=b"x"):
                    return
                raise ConnectionError("no reply")

            await asyncio.to_thread(_wait_for, once)
            yield echo

    def flood(self, place: Place) -> Iterator[Flood]:
        with _session(place, "client", listen=False) as session:
            publisher = session.declare_publisher(_FLOOD, congestion_control=zenoh.CongestionControl.BLOCK)

            def flood(payload: bytes, seconds: float) -> int:
                return until(time.perf_counter() + seconds, lambda: publisher.put(payload))

            yield flood

    def subscribe(self, place: Place, handler: Handler, ready: Ready) -> None:
        def handle(sample: Any) -> None:
            handler(sample.payload.to_bytes())

        with _session(place, "client", listen=False) as session:
            session.declare_subscriber(_FLOOD, handle)
            ready()
            threading.Event().wait()


def _session(place: Place, mode: str, *, listen: bool) -> Any:
    configuration = zenoh.Config()
    end = json.dumps([f"tcp/{place.address}:{place.port}"])
    for key, value in {
        "mode": json.dumps(mode),
        "scouting/multicast/enabled": "false",
        "listen/endpoints": end if listen else "[]",
        "connect/endpoints": "[]" if listen else end,
        "connect/timeout_ms": "10000",
        "transport/shared_memory/enabled": json.dumps(place.way != "tcp"),
    }.items():
        configuration.insert_json5(key, value)
    return zenoh.open(configuration)


def _wait_for(attempt: Any) -> None:
    deadline = time.monotonic() + _FIND_WITHIN
    while True:
        try:
            attempt()
        except ConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


PEER = Zenoh()
