"""MQTT: mosquitto from Debian, without limits on what it keeps and without Nagle's delay, and aiomqtt, QoS 0."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import aiomqtt

from benchmarks.environment import mosquitto
from benchmarks.peers.common import Flood, Handler, Peer, Place, Ready

_TOPIC = "bench/flood"
_CONFIGURATION = """\
listener {port} {address}
allow_anonymous true
persistence false
set_tcp_nodelay true
max_queued_messages 0
max_inflight_messages 0
log_type error
"""
_BATCH = 64


class MQTT(Peer):
    def broker(self, place: Place, ready: Ready) -> None:
        program = mosquitto()
        if program is None:
            raise FileNotFoundError("mosquitto is not installed (Debian: apt-get install mosquitto)")
        configuration = Path(tempfile.mkdtemp(dir=os.environ.get("BENCH_DIRECTORY")), "mosquitto.conf")
        configuration.write_text(_CONFIGURATION.format(port=place.port, address=place.address))
        ready()
        os.execv(program, [program, "-c", str(configuration)])

    def flood(self, place: Place) -> Iterator[Flood]:
        async def publish(payload: bytes, seconds: float) -> int:
            sent, end = 0, time.perf_counter() + seconds
            while time.perf_counter() < end:
                for _ in range(_BATCH):
                    await client.publish(_TOPIC, payload)
                sent += _BATCH
            return sent

        with asyncio.Runner(loop_factory=self.new_loop) as runner:
            client = runner.run(_entered(place))
            yield lambda payload, seconds: runner.run(publish(payload, seconds))

    def subscribe(self, place: Place, handler: Handler, ready: Ready) -> None:
        async def main() -> None:
            client = await _entered(place)
            await client.subscribe(_TOPIC)
            ready()
            async for message in client.messages:
                assert isinstance(message.payload, bytes)
                handler(message.payload)

        with asyncio.Runner(loop_factory=self.new_loop) as runner:
            runner.run(main())


async def _entered(place: Place) -> aiomqtt.Client:
    for _ in range(100):
        client = aiomqtt.Client(place.address, place.port, keepalive=3600)
        try:
            await client.__aenter__()
        except aiomqtt.MqttError:
            await asyncio.sleep(0.1)
        else:
            return client
    raise TimeoutError("mosquitto does not answer")


PEER = MQTT()
