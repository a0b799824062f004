"""RPyC, after "How to" and the comments in its source: a Unix socket within a host, TCP without Nagle's delay, no
compression, and for arrays their bytes (immutable values go by value, anything else would be a reference) in large
pieces."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import rpyc
from rpyc.core.channel import Channel
from rpyc.core.stream import SocketStream
from rpyc.utils.server import ThreadedServer

from benchmarks.peers.common import ArrayEcho, Echo, Peer, Place, Ready

Channel.COMPRESSION_THRESHOLD = 1 << 40
SocketStream.MAX_IO_CHUNK = 1 << 20


def _exposed_echo(_: object, payload: bytes) -> bytes:
    return payload


class RPyC(Peer):
    def serve(self, place: Place, ready: Ready) -> None:
        service = type("EchoService", (rpyc.Service,), {"exposed_echo": _exposed_echo})
        where = {"socket_path": place.path} if place.path else {"hostname": place.address, "port": place.port}
        server = ThreadedServer(service, **where)
        ready()
        server.start()

    def echo(self, place: Place) -> Iterator[Echo]:
        if place.path:
            stream = SocketStream.unix_connect(place.path)
        else:
            stream = SocketStream.connect(place.address, place.port, nodelay=True)
        connection = rpyc.utils.factory.connect_stream(stream)
        echo: Echo = connection.root.echo
        yield echo
        connection.close()

    def array_echo(self, place: Place) -> Iterator[ArrayEcho]:
        import numpy as np

        for echo in self.echo(place):

            def echo_array(array: Any, echo: Echo = echo) -> Any:
                return np.frombuffer(echo(array.tobytes()), np.uint8)

            yield echo_array


PEER = RPyC()
