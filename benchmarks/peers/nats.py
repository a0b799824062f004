"""NATS with nats-py, as its own benchmarks use it: one connection, uvloop, subjects not checked one by one; the server
with room for a flood."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import nats
import uvloop

from benchmarks.environment import VENV
from benchmarks.peers.common import AsyncEcho, Flood, Handler, Peer, Place, Ready

_SUBJECT = "bench.flood"
_CONFIGURATION = "max_payload: 8MB\nmax_pending: 1GB\nwrite_deadline: 30s\n"
_FLUSH_BYTES = 1 << 20
_FLUSH_MESSAGES = 1000


class NATS(Peer):
    blocking = False

    def broker(self, place: Place, ready: Ready) -> None:
        configuration = Path(tempfile.mkdtemp(dir=os.environ.get("BENCH_DIRECTORY")), "nats.conf")
        configuration.write_text(_CONFIGURATION)
        program = str(VENV / "bin" / "nats-server")
        ready()
        os.execv(program, [program, "-c", str(configuration), "-a", place.address, "-p", str(place.port)])

    def serve(self, place: Place, ready: Ready) -> None:
        async def answer(message: Any) -> None:
            await message.respond(message.data)

        async def main() -> None:
            connection = await _connected(place)
            await connection.subscribe("bench.echo", cb=answer)
            await connection.flush()
            ready()
            await asyncio.Event().wait()

        uvloop.run(main())

    async def async_echo(self, place: Place) -> AsyncIterator[AsyncEcho]:
        connection = await _connected(place)

        async def echo(payload: bytes) -> bytes:
            return (await connection.request("bench.echo", payload, timeout=30)).data  # type: ignore[no-any-return]

        yield echo

    def flood(self, place: Place) -> Iterator[Flood]:
        async def publish(payload: bytes, seconds: float) -> int:
            sent, end = 0, time.perf_counter() + seconds
            batch = max(1, min(_FLUSH_MESSAGES, _FLUSH_BYTES // len(payload)))
            while time.perf_counter() < end:
                for _ in range(batch):
                    await connection.publish(_SUBJECT, payload)
                await connection.flush(timeout=30)
                sent += batch
            return sent

        with asyncio.Runner(loop_factory=self.new_loop) as runner:
            connection = runner.run(_connected(place))
            yield lambda payload, seconds: runner.run(publish(payload, seconds))

    def subscribe(self, place: Place, handler: Handler, ready: Ready) -> None:
        async def handle(message: Any) -> None:
            handler(message.data)

        async def main() -> None:
            connection = await _connected(place)
            await connection.subscribe(_SUBJECT, cb=handle, pending_msgs_limit=-1, pending_bytes_limit=-1)
            await connection.flush()
            ready()
            await asyncio.Event().wait()

        uvloop.run(main())

    def new_loop(self) -> asyncio.AbstractEventLoop:
        loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        return loop


async def _connected(place: Place) -> Any:
    url = f"nats://{place.address}:{place.port}"
    options: dict[str, Any] = {"max_reconnect_attempts": 50, "reconnect_time_wait": 0.1, "ping_interval": 3600}
    return await nats.connect(url, skip_subject_validation=True, **options)


PEER = NATS()
