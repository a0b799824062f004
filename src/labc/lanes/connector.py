"""How a lane to another node comes about: every address it may have, raced, and the relay when none is good."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Protocol

from labc.directory import NodeRecord
from labc.errors import HandshakeError, LabcError, PeerLostError
from labc.lanes.addresses import ABSTRACT_SOCKETS, reachable, tcp_endpoint, unix_address, unix_path
from labc.lanes.beginning import Beginning
from labc.lanes.lane import Lane
from labc.lanes.race import race
from labc.lanes.relays import Relays
from labc.lanes.tls import Tls, is_same_user
from labc.lanes.ways import Ways
from labc.settings import Settings

logger = logging.getLogger("labc.lanes")

_ASK_AGAIN = 0.1
_RELAY_ANSWERS_WITHIN = 0.7


class Surroundings(Protocol):
    """What the pool needs to know of the network, and tells it."""

    async def addresses_of(self, node: NodeRecord) -> list[str]:
        """Where a node of another host listens, by its own word."""

    def is_present(self, node_id: str) -> bool:
        """Whether the network vouches for the node now."""

    def doubt(self, node_id: str) -> None:
        """A lane found the node silent for too long, or unreachable."""

    def doubted(self, node_id: str) -> NodeRecord | None:
        """The node, if that is still all that is known of it, and it is not gone."""

    def quiet(self, node_id: str) -> None:
        """The node lets a question for a sign of life unanswered just now. Told again while it does."""

    def heard(self, node_id: str) -> None:
        """A lane with the node has come up, or the node answers again on one."""

    def relay(self, node_id: str, relay_id: str, piece: bytes, away: bool) -> None:
        """Carry a piece of a relayed lane to the node, in order, without blocking; ``away``: over a router."""

    def is_of_this_site(self, node_id: str) -> bool:
        """Whether the node is known without a router."""


class Connector:
    """Opens the lanes of one node to others. ``new_lane`` makes one to a node, which is not connected yet."""

    def __init__(
        self,
        host_id: str,
        settings: Settings,
        surroundings: Surroundings,
        relays: Relays,
        new_lane: Callable[[NodeRecord], Lane],
        tls: Tls | None,
        ways: Ways,
    ) -> None:
        self._host_id = host_id
        self._settings = settings
        self._surroundings = surroundings
        self._relays = relays
        self._new_lane = new_lane
        self._tls = tls
        self._ways = ways
        self._loop = asyncio.get_running_loop()
        self._beginning: set[Beginning] = set()
        self.reached_at: dict[str, str] = {}
        """By node: an address at which it was reached."""

    async def connect(self, node: NodeRecord) -> Lane:
        """Direct ways first; the relay beside them when they take long, or have all failed.

        Raises:
            PeerLostError: no way leads there; what was tried is in its reason.
        """
        direct = self._loop.create_task(self._direct(node))
        direct.add_done_callback(_retrieve)
        relay: asyncio.Task[Lane] | None = None
        try:
            async with asyncio.timeout(self._settings.connect_timeout):
                await asyncio.wait([direct], timeout=self._settings.relay_after)
                if direct.done() and not direct.exception():
                    return direct.result()
                if node.host_id == self._host_id or not self._surroundings.is_present(node.id):
                    return await direct
                if direct.done():
                    self._surroundings.doubt(node.id)  # so that it is lost as soon as its presence vanishes
                relay = self._loop.create_task(self._relayed(node))
                relay.add_done_callback(_retrieve)
                return await race([lambda: direct, lambda: relay], _lose, stagger=0)
        except TimeoutError:
            reason = f"no way to it within {self._settings.connect_timeout:g} s"
            if direct.done() and not direct.cancelled() and (error := direct.exception()):
                reason += f" ({error})"
            raise self._unreachable(node, reason) from None
        except ExceptionGroup as group:
            raise self._unreachable(node, "; ".join(map(_brief, group.exceptions))) from None
        except (OSError, LabcError) as error:
            raise self._unreachable(node, _brief(error)) from None
        finally:
            for task in (direct, relay):
                if task is not None and not task.done():
                    task.cancel()

    def _unreachable(self, node: NodeRecord, reason: str) -> PeerLostError:
        self._surroundings.doubt(node.id)
        return PeerLostError(str(node), reason, ran="no")

    async def connect_directly(self, node: NodeRecord) -> Lane:
        """Without the relay. Raises LabcError, OSError, TimeoutError: no way leads there."""
        async with asyncio.timeout(self._settings.connect_timeout):
            return await self._direct(node)

    async def _direct(self, node: NodeRecord) -> Lane:
        same_host = node.host_id == self._host_id
        if same_host and ABSTRACT_SOCKETS:
            try:
                return await self._at(unix_address(node.id), node)
            except OSError as error:
                if self._tls is None or isinstance(error.__cause__, ConnectionRefusedError):
                    raise
                # In a keyed network it may be another user's, and wants to see a certificate.
        while not (addresses := await self._surroundings.addresses_of(node)):  # noqa: ASYNC110
            # A change of root: the question or its answer was lost, and nothing tells when the next will not be.
            await asyncio.sleep(_ASK_AGAIN)
        attempts = [_attempt(self._at, address, node) for address in reachable(addresses, same_host)]
        if not attempts:
            raise ConnectionError("it has no address that others can reach")
        try:
            return await race(attempts, _lose)
        except ExceptionGroup as group:
            raise ConnectionError("; ".join(map(_brief, group.exceptions))) from None

    async def _at(self, address: str, node: NodeRecord) -> Lane:
        lane = self._new_lane(node)
        try:
            context = self._tls.client() if self._tls is not None and unix_path(address) is None else None
            connection = await self._connected(address)
            await self._begin(lane, connection, context)
            await lane.greeting()
        except OSError as error:
            lane.close()
            if isinstance(error, LabcError):
                raise
            raise ConnectionError(f"{address}: {error.strerror or error}") from error
        except BaseException:
            lane.close()
            raise
        self.reached_at[node.id] = address
        return lane

    async def _connected(self, address: str) -> socket.socket:
        """A socket of our own: libuv's loop can't connect to a Unix name that is no file.

        Raises OSError: nobody takes connections there.
        """
        path, endpoint = unix_path(address), tcp_endpoint(address, "tls" if self._tls else "tcp")
        if path is None and endpoint is None:
            raise ConnectionError(f"{address}: not an address this version knows")
        if not self._ways.lead_to(address):
            raise ConnectionError("the way there is over an interface that the setting interfaces does not use")
        family = socket.AF_UNIX if path else socket.AF_INET6 if endpoint and ":" in endpoint[0] else socket.AF_INET
        connection = socket.socket(family)
        try:
            connection.setblocking(False)
            if path is not None:
                # At once or not at all. Event loops wait where there is no room, and take that for success.
                connection.connect(path)
                if self._tls is not None and not is_same_user(connection, os.getuid):
                    raise ConnectionError("it is a program of another user")
            elif endpoint is not None:
                await self._loop.sock_connect(connection, endpoint)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except BaseException:
            connection.close()
            raise
        return connection

    async def _begin(self, lane: Lane, connection: socket.socket, context: ssl.SSLContext | None) -> None:
        """Let the lane talk on this socket. Cancelling leaves that to end by itself, as a lane that is closed does."""
        unix = connection.family == getattr(socket, "AF_UNIX", None)
        create = self._loop.create_unix_connection if unix else self._loop.create_connection
        options: dict[str, Any] = {}
        if context is not None:
            # No name to look for in the certificate: hosts change theirs, and what counts is who made it.
            options = {"ssl": context, "server_hostname": ""}
            options["ssl_handshake_timeout"] = self._settings.connect_timeout
        beginning = Beginning(
            connection, lambda: create(lambda: lane, sock=connection, **options), encrypted=context is not None
        )
        self._beginning.add(beginning)
        beginning.task.add_done_callback(lambda _: self._beginning.discard(beginning))
        try:
            await asyncio.shield(beginning.task)
        except asyncio.CancelledError:
            beginning.give_up()
            raise

    async def _relayed(self, node: NodeRecord) -> Lane:
        while True:
            lane = self._new_lane(node)
            try:
                async with asyncio.timeout(_RELAY_ANSWERS_WITHIN):
                    self._relays.connect(lane, node.id, os.urandom(8).hex(), node.away)
                    await lane.greeting()
            except TimeoutError:
                lane.close()  # a change of root: a piece was lost
            except BaseException:
                lane.close()
                raise
            else:
                logger.info("the lane to %s is relayed over the fabric: no direct connection could be made", node)
                return lane


def _attempt(connect: Callable[..., Awaitable[Lane]], *args: Any) -> Callable[[], Awaitable[Lane]]:
    return lambda: connect(*args)


def _lose(lane: Lane) -> None:
    with suppress(Exception):
        lane.close("another way to this node was faster")


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Its error is no surprise, even if nobody waits for it any more."""
    if not task.cancelled():
        task.exception()


def _brief(error: BaseException) -> str:
    if isinstance(error, HandshakeError):
        return str(error)
    return error.reason if isinstance(error, PeerLostError) else str(error)
