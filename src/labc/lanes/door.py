"""A listening socket behind which only those come who have passed the handshake of TLS, in a time and a number."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import Callable

from labc.errors import HandshakeError, LabcError
from labc.lanes.beginning import Beginning
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
    """Takes connections on ``own``, at those addresses of this host that ``allow`` says yes to; ``enter()`` makes the
    protocol of one that has passed.

    Nothing of the others reaches a protocol. At most 256 are in their handshake at a time, 32 from one address, and for
    ``patience`` seconds: then the oldest is dropped.
    """

    def __init__(
        self,
        own: socket.socket,
        context: Callable[[], ssl.SSLContext],
        enter: Callable[[], asyncio.BaseProtocol],
        patience: float,
        allow: Callable[[str], bool] = lambda own: True,
    ) -> None:
        self._own = own
        self._context = context
        self._enter = enter
        self._patience = patience
        self._allow = allow
        self._crowd: Crowd[Beginning] = Crowd(_MAX_WAITING, _MAX_WAITING_EACH)
        self._notices = Notices(_SAY_AGAIN)
        self._shaking: set[Beginning] = set()
        self._loop = asyncio.get_running_loop()
        self._accepting: asyncio.Task[None] | None = None
        self._pause: asyncio.TimerHandle | None = None
        """Until there may be fewer open files."""
        self.refused = 0
        """Connections that did not pass."""

    def open(self) -> None:
        self._own.setblocking(False)
        self._watch()

    def fileno(self) -> int:
        return self._own.fileno()

    def close(self) -> None:
        """At once; those in their handshake are dropped."""
        if self._accepting is not None:
            self._accepting.cancel()
        elif self._pause is not None:
            self._pause.cancel()
        elif self._own.fileno() >= 0:
            self._loop.remove_reader(self._own)
        for beginning in self._shaking:
            beginning.give_up()
        self._own.close()

    async def wait_closed(self) -> None:
        """Returns when they are gone; no sooner may the loop end."""
        if self._shaking:
            await asyncio.wait([beginning.task for beginning in self._shaking])

    def _watch(self) -> None:
        self._pause = None
        try:
            self._loop.add_reader(self._own, self._take)
        except NotImplementedError:  # by the loop of Windows
            self._accepting = self._loop.create_task(self._accept(), name="labc door")

    def _take(self) -> None:
        """One for each turn of the loop, or who connects without end would keep it."""
        try:
            connection, peer = self._own.accept()
        except (BlockingIOError, InterruptedError, ConnectionError):  # it was gone before it was taken
            return
        except OSError as error:  # too many files are open
            logger.debug("a connection can't be taken: %s", error)
            self._loop.remove_reader(self._own)
            self._pause = self._loop.call_later(_OUT_OF_FILES, self._watch)
            return
        connection.setblocking(False)
        self._begin(connection, str(peer[0]))

    async def _accept(self) -> None:
        """The same where sockets can't be watched. What is taken while it is cancelled is lost, so that is the second
        choice."""
        while True:
            try:
                connection, peer = await self._loop.sock_accept(self._own)
            except OSError as error:
                logger.debug("a connection can't be taken: %s", error)
                await asyncio.sleep(_OUT_OF_FILES)
                continue
            self._begin(connection, str(peer[0]))
            await asyncio.sleep(0)

    def _is_allowed(self, connection: socket.socket) -> bool:
        try:
            return self._allow(connection.getsockname()[0])
        except OSError:  # it is gone again
            return False

    def _begin(self, connection: socket.socket, address: str) -> None:
        if not self._is_allowed(connection):
            connection.close()
            return
        try:
            beginning = Beginning(connection, lambda: self._let_in(connection), encrypted=True)
        except OSError as error:
            self._refuse(address, error)
            return
        self._shaking.add(beginning)
        if (out := self._crowd.enter(beginning, address)) is not None:
            out.give_up()
        beginning.task.add_done_callback(lambda _: self._done(beginning, address))

    async def _let_in(self, connection: socket.socket) -> None:
        try:
            async with asyncio.timeout(self._patience):
                await _wait_for_tls(connection)
            context = self._context()
        except BaseException:
            connection.close()
            raise
        await self._loop.connect_accepted_socket(
            self._enter, connection, ssl=context, ssl_handshake_timeout=self._patience
        )

    def _done(self, beginning: Beginning, address: str) -> None:
        self._crowd.leave(beginning, address)
        self._shaking.discard(beginning)
        if not beginning.task.cancelled() and (error := beginning.task.exception()) is not None:
            self._refuse(address, error)

    def _refuse(self, address: str, error: BaseException) -> None:
        self.refused += 1
        if isinstance(error, ConnectionError) and not isinstance(error, (LabcError, ConnectionAbortedError)):
            # A member as well does so, who found another way faster.
            logger.debug("a connection from %s broke off in its handshake: %s", address, error)
        elif self._notices.is_due(address, time.monotonic()):
            logger.warning("a connection from %s was refused: %s", address, _reason(error))


async def _wait_for_tls(connection: socket.socket) -> None:
    """Returns when it begins to speak TLS, which takes time and memory, and so is not for who says nothing or garbage.

    Raises HandshakeError: it says something else; ConnectionError: it has gone.
    """
    loop = asyncio.get_running_loop()
    while True:
        try:
            first = connection.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            readable = loop.create_future()
            try:
                loop.add_reader(connection, _tell, readable)
            except NotImplementedError:  # by the loop of Windows
                return
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


def _tell(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _reason(error: BaseException) -> str:
    if isinstance(error, HandshakeError):
        return f"it is no member of this network: {error}"
    if isinstance(error, LabcError):
        return f"this node can't show that it is a member itself ({error})"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not one of a member of this network ({error.verify_message})"
    if isinstance(error, ssl.SSLError):
        return f"it is no member of this network, or talks something else ({error.reason})"
    if isinstance(error, (TimeoutError, ConnectionAbortedError)):  # the second is how event loops say so
        return "it took too long to say who it is"
    return f"it broke off ({error})"
