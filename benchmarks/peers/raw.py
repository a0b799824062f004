"""The limit: a ping-pong of plain Python sockets, one thread at each end."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

from benchmarks.peers.common import ArrayEcho, Echo, Peer, Place, Ready, Values, patiently

_LARGEST = 16 << 20


class Raw(Peer):
    """``way``: "unix" or "tcp"; for arrays also "tcp new", where each that comes is a new array, as in a library."""

    def serve(self, place: Place, ready: Ready) -> None:
        listener = _listen(place)
        ready()
        while True:
            connection = _tuned(listener.accept()[0])
            while data := connection.recv(65536):
                connection.sendall(data)

    def serve_arrays(self, place: Place, ready: Ready) -> None:
        listener = _listen(place)
        ready()
        kept = memoryview(bytearray(_LARGEST))
        while True:
            connection = _tuned(listener.accept()[0])
            size = bytearray(8)
            while _receive_into(connection, memoryview(size)):
                count = int.from_bytes(size, "little")
                buffer = memoryview(bytearray(count)) if place.way == "tcp new" else kept[:count]
                _receive_into(connection, buffer)
                connection.sendall(size)
                connection.sendall(buffer)

    def serve_values(self, place: Place, ready: Ready) -> None:
        listener = _listen(place)
        ready()
        kept = memoryview(bytearray(_LARGEST))
        while True:
            connection = _tuned(listener.accept()[0])
            asked = bytearray(16)
            while _receive_into(connection, memoryview(asked)):
                count, size = int.from_bytes(asked[:8], "little"), int.from_bytes(asked[8:], "little")
                for _ in range(count):
                    connection.sendall(asked[8:])
                    connection.sendall(kept[:size])

    def values(self, place: Place) -> Iterator[Values]:
        connection = patiently(lambda: _connect(place))
        kept, head = memoryview(bytearray(_LARGEST)), bytearray(8)

        def read(count: int, size: int) -> int:
            connection.sendall(count.to_bytes(8, "little") + size.to_bytes(8, "little"))
            came = 0
            for _ in range(count):
                _receive_into(connection, memoryview(head))
                length = int.from_bytes(head, "little")
                came += _receive_into(
                    connection, memoryview(bytearray(length)) if place.way == "tcp new" else kept[:length]
                )
            return came

        yield read

    def echo(self, place: Place) -> Iterator[Echo]:
        connection = patiently(lambda: _connect(place))

        def echo(payload: bytes) -> bytes:
            connection.sendall(payload)
            return connection.recv(65536)  # type: ignore[no-any-return]

        yield echo

    def array_echo(self, place: Place) -> Iterator[ArrayEcho]:
        import numpy as np

        connection = patiently(lambda: _connect(place))
        kept = np.empty(_LARGEST, np.uint8)

        def echo(array: Any) -> Any:
            size = array.nbytes.to_bytes(8, "little")
            connection.sendall(size)
            connection.sendall(array)
            answer: Any = np.empty_like(array) if place.way == "tcp new" else kept[: array.nbytes]
            _receive_into(connection, memoryview(bytearray(8)))
            _receive_into(connection, memoryview(answer))
            return answer

        yield echo


def _listen(place: Place) -> socket.socket:
    if place.way == "unix":
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(place.path)
        listener.listen()
        return listener
    return socket.create_server((place.address, place.port))


def _connect(place: Place) -> socket.socket:
    if place.way == "unix":
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(place.path)
        return connection
    return _tuned(socket.create_connection((place.address, place.port)))


def _tuned(connection: socket.socket) -> socket.socket:
    if connection.family != socket.AF_UNIX:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _receive_into(connection: socket.socket, buffer: memoryview) -> bool:
    """Fill the buffer; False when the connection has ended."""
    while buffer:
        count = connection.recv_into(buffer)
        if not count:
            return False
        buffer = buffer[count:]
    return True


PEER = Raw()
