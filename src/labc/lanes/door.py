"""A listening socket behind which only those come who have passed the handshake of TLS, in a time and a number."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable

from labc.errors import HandshakeError, LabcError
from labc.lanes.crowd import Crowd, Notices

logger = logging.getLogger("labc.lanes")

_MAX_WAITING = 256
_MAX_WAITING_EACH = 32
"""From one address. A host whose programs all connect at once has more: they try again."""
_SAY_AGAIN = 600.0
"""Seconds until the same address is complained of again."""
_OUT_OF_FILES = 0.1
_HANDSHAKE = b"\x16"
"""With which each handshake of TLS begins."""
_GARBAGE = 1 << 16


class Door:
    """Takes connections on ``own``; ``enter()`` makes the protocol of one that has passed.

    Nothing of the others reaches a protocol. At most 256 are in their handshake at a time, 32 from one address, and for
    ``patience`` seconds: then the oldest is dropped.
    """

    def __init__(
        self,
        own: socket.socket,
        context: Callable[[], ssl.SSLContext],
        enter: Callable[[], asyncio.BaseProtocol],
        patience: float,
    ) -> None:
        self._own = own
        self._context = context
        self._enter = enter
        self._patience = patience
        self._crowd: Crowd[asyncio.Task[None]] = Crowd(_MAX_WAITING, _MAX_WAITING_EACH)
        self._notices = Notices(_SAY_AGAIN)
        self._shaking: set[asyncio.Task[None]] = set()
        self._accepting: asyncio.Task[None] | None = None
        self.refused = 0
        """Connections that did not pass."""

    def open(self) -> None:
        self._own.setblocking(False)
        self._accepting = asyncio.get_running_loop().create_task(self._accept(), name="labc door")

    def fileno(self) -> int:
        return self._own.fileno()

    def close(self) -> None:
        """At once; those in their handshake are dropped."""
        for task in (self._accepting, *self._shaking):
            if task is not None:
                task.cancel()
        self._own.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, peer = await loop.sock_accept(self._own)
            except OSError as error:  # it was gone before it was taken, or there are too many open files
                logger.debug("a connection can't be taken: %s", error)
                await asyncio.sleep(_OUT_OF_FILES)
                continue
            self._begin(connection, str(peer[0]))
            await asyncio.sleep(0)  # or who connects without end would keep the loop

    def _begin(self, connection: socket.socket, address: str) -> None:
        task = asyncio.get_running_loop().create_task(self._shake_hands(connection, address))
        if (out := self._crowd.enter(task, address)) is not None:
            out.cancel()

        def done(task: asyncio.Task[None]) -> None:
            self._crowd.leave(task, address)
            self._shaking.discard(task)
            if task.cancelled():
                connection.close()

        self._shaking.add(task)
        task.add_done_callback(done)

    async def _shake_hands(self, connection: socket.socket, address: str) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._patience):
                await _wait_for_tls(connection)
                await loop.connect_accepted_socket(self._enter, connection, ssl=self._context())
        except (OSError, TimeoutError, LabcError) as error:  # SSLError is an OSError
            connection.close()
            self.refused += 1
            if isinstance(error, ConnectionError) and not isinstance(
                error, LabcError
            ):  # a member as well does so, who found another way faster
                logger.debug("a connection from %s broke off in its handshake: %s", address, error)
            elif self._notices.is_due(address, loop.time()):
                logger.warning("a connection from %s was refused: %s", address, _reason(error))


async def _wait_for_tls(connection: socket.socket) -> None:
    """Returns when it begins to speak TLS, which takes time and memory, and so is not for who says nothing or garbage.

    Raises HandshakeError: it says something else; ConnectionError: it has gone.
    """
    loop = asyncio.get_running_loop()
    connection.setblocking(False)
    while True:
        try:
            first = connection.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            readable = loop.create_future()
            loop.add_reader(connection, _done, readable)
            try:
                await readable
            finally:
                loop.remove_reader(connection)
            continue
        if first == _HANDSHAKE:
            return
        if not first:
            raise ConnectionResetError("it said nothing")
        connection.recv(_GARBAGE)  # or it would be told of a broken connection, instead of a closed one
        raise HandshakeError("it talks something else")


def _done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _reason(error: Exception) -> str:
    if isinstance(error, HandshakeError):
        return f"it is no member of this network: {error}"
    if isinstance(error, LabcError):
        return f"this node can't show that it is a member itself ({error})"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not one of a member of this network ({error.verify_message})"
    if isinstance(error, ssl.SSLError):
        return f"it is no member of this network, or talks something else ({error.reason})"
    if isinstance(error, TimeoutError):
        return "it took too long to say who it is"
    return f"it broke off ({error})"
