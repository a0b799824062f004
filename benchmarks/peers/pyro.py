"""Pyro5, after the pages "Tips & tricks" and "Configuration" of its documents.

Proxies are kept; a Unix socket within a host; "marshal" is the fastest of its serializers and takes bytes; TCP without
Nagle's delay; arrays travel as annotations, which are not serialized. The default server, with
threads, is faster than the multiplexing one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import Pyro5.api
from Pyro5.callcontext import current_context

from benchmarks.peers.common import ArrayEcho, Echo, Peer, Place, Ready

Pyro5.config.SERIALIZER = "marshal"
Pyro5.config.SOCK_NODELAY = True


class EchoServer:
    def echo(self, payload: bytes) -> bytes:
        return payload

    def echo_array(self) -> None:
        current_context.response_annotations = {"DATA": current_context.annotations["DATA"]}


class Pyro(Peer):
    def serve(self, place: Place, ready: Ready) -> None:
        where = {"unixsocket": place.path} if place.path else {"host": place.address, "port": place.port}
        with Pyro5.api.Daemon(**where) as daemon:
            daemon.register(Pyro5.api.expose(EchoServer), "echo")
            ready()
            daemon.requestLoop()

    def echo(self, place: Place) -> Iterator[Echo]:
        with _proxy(place) as proxy:
            echo: Echo = proxy.echo
            yield echo

    def array_echo(self, place: Place) -> Iterator[ArrayEcho]:
        import numpy as np

        with _proxy(place) as proxy:

            def echo(array: Any) -> Any:
                current_context.annotations = {"DATA": memoryview(array)}
                proxy.echo_array()
                return np.frombuffer(current_context.response_annotations["DATA"], np.uint8)

            yield echo


def _proxy(place: Place) -> Any:
    where = f"./u:{place.path}" if place.path else f"{place.address}:{place.port}"
    return Pyro5.api.Proxy(f"PYRO:echo@{where}")


PEER = Pyro()
