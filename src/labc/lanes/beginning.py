"""Connections that just begin: from a socket to a transport, and through the handshake of TLS."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress


class Beginning:
    """One of them. It is never cancelled in the middle, where event loops lose track of connections: libuv's does not
    tell the protocol that there will be none, and both leave one open whose handshake has not begun. What is given up
    ends by itself.

    ``create()`` hands the socket to the loop, as ``create_connection(sock=...)`` does. If that fails, it is closed.
    ``task`` ends when the protocol has its transport, or there will be none, and has the error.

    Raises OSError: too many files are open; the socket is closed.
    """

    def __init__(self, connection: socket.socket, create: Callable[[], Awaitable[object]], *, encrypted: bool) -> None:
        try:
            self._second = connection.dup() if encrypted else None  # as the first one will be the loop's
        except OSError:
            connection.close()
            raise
        self.task = asyncio.get_running_loop().create_task(_hand_over(connection, create), name="labc connection")
        self.task.add_done_callback(self._ended)

    def give_up(self) -> None:
        """Nobody wants it any more: let no handshake wait for the other end."""
        if self._second is not None:
            with suppress(OSError):  # the other end was faster
                self._second.shutdown(socket.SHUT_RDWR)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if self._second is not None:
            self._second.close()
        if not task.cancelled():
            task.exception()  # it is no surprise, even if nobody waits for it any more


async def _hand_over(connection: socket.socket, create: Callable[[], Awaitable[object]]) -> None:
    python_loop = isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop)
    try:
        await create()
    except BaseException:
        if python_loop:
            connection.close()
        raise
    finally:
        if not python_loop:
            # The number is libuv's now. It has closed it, and somebody else may have it, if the peer was gone.
            connection.detach()
