"""gRPC, after its "Performance best practices" for Python: asyncio servers, unary calls (streams are slower in Python),
stubs and channels kept, a Unix socket within a host. The methods take bytes as they are: nothing is generated."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc

from benchmarks.peers.common import ArrayEcho, AsyncEcho, Echo, Peer, Place, Ready, Values

_OPTIONS = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
_METHOD = "/bench/echo"
_VALUES = "/bench/values"


async def _echo(request: bytes, _: Any) -> bytes:
    return request


async def _values(request: bytes, _: Any) -> AsyncIterator[bytes]:
    count, size = map(int, request.split())
    for number in range(count):
        yield bytes(size) if size else b"%d" % number


class GRPC(Peer):
    def serve(self, place: Place, ready: Ready) -> None:
        async def main() -> None:
            server = grpc.aio.server(options=_OPTIONS)
            handlers = {
                "echo": grpc.unary_unary_rpc_method_handler(_echo),
                "values": grpc.unary_stream_rpc_method_handler(_values),
            }
            server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("bench", handlers)])
            server.add_insecure_port(_target(place))
            await server.start()
            ready()
            await server.wait_for_termination()

        asyncio.run(main())

    def echo(self, place: Place) -> Iterator[Echo]:
        with grpc.insecure_channel(_target(place), options=_OPTIONS) as channel:
            grpc.channel_ready_future(channel).result(10)
            echo: Echo = channel.unary_unary(_METHOD)
            yield echo

    def values(self, place: Place) -> Iterator[Values]:
        with grpc.insecure_channel(_target(place), options=_OPTIONS) as channel:
            grpc.channel_ready_future(channel).result(10)
            method = channel.unary_stream(_VALUES)

            def read(count: int, size: int) -> int:
                return sum(1 for _ in method(b"%d %d" % (count, size)))

            yield read

    async def async_echo(self, place: Place) -> AsyncIterator[AsyncEcho]:
        async with grpc.aio.insecure_channel(_target(place), options=_OPTIONS) as channel:
            await asyncio.wait_for(channel.channel_ready(), 10)
            echo: AsyncEcho = channel.unary_unary(_METHOD)
            yield echo

    def array_echo(self, place: Place) -> Iterator[ArrayEcho]:
        import numpy as np

        for echo in self.echo(place):

            def echo_array(array: Any, echo: Echo = echo) -> Any:
                return np.frombuffer(echo(array.tobytes()), np.uint8)

            yield echo_array


def _target(place: Place) -> str:
    return f"unix:{place.path}" if place.path else f"{place.address}:{place.port}"


PEER = GRPC()
