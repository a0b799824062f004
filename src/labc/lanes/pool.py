"""The lanes of one node: one to each peer it talks to, opened when needed, in whatever way succeeds first."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from labc.directory import NodeRecord
from labc.errors import HandshakeError, LabcError, PeerLostError
from labc.lanes.addresses import ABSTRACT_SOCKETS, reachable, tcp_endpoint, unix_address, unix_path
from labc.lanes.direct import POSSIBLE as DIRECT_POSSIBLE
from labc.lanes.direct import DirectLane, check_it_is_the_sockets
from labc.lanes.directs import DirectLanes
from labc.lanes.lane import Lane
from labc.lanes.listener import Listener
from labc.lanes.race import race
from labc.lanes.relays import Relays
from labc.settings import Settings
from labc.wire import Greeting, Requested

logger = logging.getLogger("labc.lanes")

_ASK_AGAIN = 0.1
_RELAY_ANSWERS_WITHIN = 0.7
_TIDY_EVERY = 5.0


class Calls(Protocol):
    """Who serves the requests that arrive on lanes."""

    def requested(self, lane: Lane, event: Requested) -> None: ...

    def cancelled(self, lane: Lane, call_id: int) -> None: ...

    def lane_closed(self, lane: Lane) -> None: ...


class Surroundings(Protocol):
    """What the pool needs to know of the network, and tells it."""

    async def addresses_of(self, node: NodeRecord) -> list[str]:
        """Where a node of another host listens, by its own word."""

    def is_present(self, node_id: str) -> bool:
        """Whether the network vouches for the node now."""

    def doubt(self, node_id: str) -> None:
        """A lane found the node silent or unreachable."""

    def heard(self, node_id: str) -> None:
        """A lane with the node has come up."""

    def relay(self, node_id: str, relay_id: str, piece: bytes) -> None:
        """Carry a piece of a relayed lane to the node, in order, without blocking."""


class Pool:
    """The lanes of the node ``here``, by peer."""

    def __init__(self, here: NodeRecord, settings: Settings, version: str, surroundings: Surroundings) -> None:
        self._here = here
        self._settings = settings
        self._version = version
        self._surroundings = surroundings
        self._loop = asyncio.get_running_loop()
        self._lanes: dict[str, Lane] = {}
        self._accepted: set[Lane] = set()
        self._one_way: set[Lane] = set()
        """Accepted, and used by one calling thread of the peer each: their number is not that of peers."""
        self._expected: dict[Lane, asyncio.TimerHandle] = {}
        """Those that were accepted and have not said who they are, and when they are given up."""
        self._all: set[Lane] = set()
        self._connecting: dict[str, asyncio.Task[Lane]] = {}
        self._relays = Relays(surroundings.relay, self._accept)
        self._endpoints: dict[str, str] = {}
        """By node: an address at which it was reached."""
        self.direct = DirectLanes(settings, self._greeting, surroundings.is_present)
        self._tidying: asyncio.TimerHandle | None = None
        self.listener = Listener(self._here.id, self._accept)
        self.calls: Calls | None = None

    async def open(self) -> None:
        await self.listener.open()
        self._tidy()

    def relay_arrived(self, node_id: str, relay_id: str, piece: bytes) -> None:
        """The network carried a piece of a relayed lane of this node here."""
        self._relays.arrived(node_id, relay_id, piece)

    def close(self) -> None:
        """Say goodbye on every lane, without waiting."""
        self.listener.close()
        self.direct.close()
        if self._tidying:
            self._tidying.cancel()
        for task in self._connecting.values():
            task.cancel()
        for lane in list(self._all):
            lane.close(f"{self._here} left the network")

    def abandon(self) -> None:
        """After fork, in the child: hold no connection open whose other end waits for this to be closed.

        The numbers stay taken, as what is here believes them its own.
        """
        null = os.open(os.devnull, os.O_RDWR)
        for number in self.listener.file_numbers():
            os.dup2(null, number, inheritable=False)
        for lane in self._all:
            lane.abandon(null)
        self.direct.abandon(null)
        os.close(null)

    def busy(self, node_id: str) -> int:
        """Calls to this node that it has not answered yet."""
        lane = self._lanes.get(node_id)
        return (lane.open_calls if lane else 0) + self.direct.busy(node_id)

    def lanes(self) -> list[Lane]:
        return [lane for lane in self._all if lane.usable]

    def ready_lane(self, node_id: str) -> Lane | None:
        """The lane to this node, if there is one that takes a request now."""
        lane = self._lanes.get(node_id)
        return lane if lane is not None and lane.usable and lane.has_room else None

    async def lane(self, node: NodeRecord) -> Lane:
        """The lane to this node, opened now if there is none.

        Raises:
            PeerLostError: no way leads there; what was tried is in its reason. Nothing was sent.
        """
        lane = await self._lane(node)
        return lane if lane.usable else await self._lane(node)  # closed while this task waited for its turn

    async def _lane(self, node: NodeRecord) -> Lane:
        lane = self._lanes.get(node.id)
        if lane is not None and lane.usable:
            return lane
        task = self._connecting.get(node.id)
        if task is None or task.done():  # done, and its lane closed already
            task = self._connecting[node.id] = self._loop.create_task(self._connect(node))
            task.add_done_callback(lambda done: self._connected(node.id, done))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled() and not _being_cancelled():
                raise PeerLostError(str(node), "it left the network", ran="no") from None
            raise

    def direct_lane(self, node: NodeRecord, deadline: float) -> DirectLane | None:
        """For one call of the thread that asks; give it back to :attr:`direct`. None: take the way over the loop.

        Raises:
            PeerLostError: the node is on this host, and is not there any more.
        """
        address = self._endpoints.get(node.id)
        if address is None and ABSTRACT_SOCKETS and node.host_id == self._here.host_id:
            address = self._endpoints[node.id] = unix_address(node.id)
        if address is None or not DIRECT_POSSIBLE:
            return None
        try:
            return self.direct.take(node, address, deadline)
        except ConnectionRefusedError as error:
            if unix_path(address) is not None:
                raise PeerLostError(str(node), f"{address}: {error.strerror}", ran="no") from None
        except (OSError, LabcError) as error:
            if not isinstance(error, LabcError):  # which may be an OSError as well
                check_it_is_the_sockets(error)
            logger.debug("no direct lane to %s: %s", node, error)
        self._endpoints.pop(node.id, None)  # until the loop has found a way again
        return None

    def direct_lane_lost(self, node_id: str) -> None:
        """The shared one may have broken with it, and only not know yet. From any thread."""

        def close_idle() -> None:
            lane = self._lanes.get(node_id)
            if lane is not None and lane.idle:
                lane.close("another lane to this node broke")

        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(close_idle)

    def node_lost(self, node: NodeRecord) -> None:
        """The directory gave it up: idle lanes to it are of no more use, busy ones have their heartbeats."""
        self._endpoints.pop(node.id, None)
        self.direct.close_idle(node.id, 0.0)
        for lane in list(self._all):
            if lane.peer is not None and lane.peer.node_id == node.id and lane.idle:
                lane.close("it is not in the network any more")
        task = self._connecting.get(node.id)
        if task is not None:
            task.cancel()

    # LaneOwner

    def greeted(self, lane: Lane) -> None:
        assert lane.peer is not None
        self._greeting_came(lane)
        self._surroundings.heard(lane.peer.node_id)
        if lane.one_way:
            self._count_one_way(lane)
            return
        current = self._lanes.get(lane.peer.node_id)
        if current is None or not current.usable:
            self._lanes[lane.peer.node_id] = lane

    def requested(self, lane: Lane, event: Requested) -> None:
        assert self.calls is not None
        self.calls.requested(lane, event)

    def cancelled(self, lane: Lane, call_id: int) -> None:
        assert self.calls is not None
        self.calls.cancelled(lane, call_id)

    def closed(self, lane: Lane) -> None:
        self._greeting_came(lane)
        self._all.discard(lane)
        self._accepted.discard(lane)
        self._one_way.discard(lane)
        if lane.peer is not None and not lane.one_way:
            if self._lanes.get(lane.peer.node_id) is lane:
                del self._lanes[lane.peer.node_id]
            self._surroundings.doubt(lane.peer.node_id)
        if self.calls is not None:
            self.calls.lane_closed(lane)

    def silent(self, lane: Lane) -> bool:
        assert lane.peer is not None
        present = self._surroundings.is_present(lane.peer.node_id)
        self._surroundings.doubt(lane.peer.node_id)
        return present

    # Within.

    def _tidy(self) -> None:
        self.direct.close_idle()
        self._tidying = self._loop.call_later(_TIDY_EVERY, self._tidy)

    def _greeting_came(self, lane: Lane) -> None:
        if timer := self._expected.pop(lane, None):
            timer.cancel()

    def _connected(self, node_id: str, task: asyncio.Task[Lane]) -> None:
        if self._connecting.get(node_id) is task:
            del self._connecting[node_id]
        if not task.cancelled():
            task.exception()  # those who wait see it

    def _accept(self) -> Lane:
        lane = self._new_lane("", initiator=False)
        if len(self._accepted) >= self._settings.max_lanes:
            logger.warning("a lane was refused: %d are open (max_lanes)", len(self._accepted))
            lane.close("this node has too many lanes open (max_lanes)")  # before it takes a request
            return lane
        self._accepted.add(lane)
        patience = self._settings.connect_timeout * 2
        self._expected[lane] = self._loop.call_later(patience, lane.close, "no greeting came in time")
        return lane

    def _greeting(self, target: str, features: Sequence[str] = ()) -> Greeting:
        return Greeting(
            network=self._settings.network,
            node_id=self._here.id,
            node_name=self._here.name,
            host_id=self._here.host_id,
            host_name=self._here.host,
            labc_version=self._version,
            max_message_bytes=self._settings.max_message_bytes,
            target=target,
            features=list(features),
        )

    def _count_one_way(self, lane: Lane) -> None:
        self._accepted.discard(lane)
        if len(self._one_way) >= self._settings.max_lanes:
            lane.close("this node has too many lanes open (max_lanes)")  # its calls can share another
        else:
            self._one_way.add(lane)

    def _new_lane(self, target: str, *, initiator: bool) -> Lane:
        lane = Lane(self._greeting(target), self, self._settings, initiator=initiator)
        self._all.add(lane)
        return lane

    async def _connect(self, node: NodeRecord) -> Lane:
        """Direct ways first; the relay beside them when they take long, or have all failed."""
        direct = self._loop.create_task(self._connect_direct(node))
        direct.add_done_callback(_retrieve)
        relay: asyncio.Task[Lane] | None = None
        try:
            async with asyncio.timeout(self._settings.connect_timeout):
                await asyncio.wait([direct], timeout=self._settings.relay_after)
                if direct.done() and not direct.exception():
                    return direct.result()
                if node.host_id == self._here.host_id or not self._surroundings.is_present(node.id):
                    return await direct
                if direct.done():
                    self._surroundings.doubt(node.id)  # so that it is lost as soon as its presence vanishes
                relay = self._loop.create_task(self._connect_relay(node))
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

    async def _connect_direct(self, node: NodeRecord) -> Lane:
        same_host = node.host_id == self._here.host_id
        if same_host and ABSTRACT_SOCKETS:
            return await self._connect_to(unix_address(node.id), node.id)
        while not (addresses := await self._surroundings.addresses_of(node)):  # noqa: ASYNC110
            # A change of root: the question or its answer was lost, and nothing tells when the next will not be.
            await asyncio.sleep(_ASK_AGAIN)
        attempts = [_attempt(self._connect_to, address, node.id) for address in reachable(addresses, same_host)]
        if not attempts:
            raise ConnectionError("it has no address that others can reach")
        try:
            return await race(attempts, _lose)
        except ExceptionGroup as group:
            raise ConnectionError("; ".join(map(_brief, group.exceptions))) from None

    async def _connect_to(self, address: str, node_id: str) -> Lane:
        lane = self._new_lane(node_id, initiator=True)
        try:
            if (path := unix_path(address)) is not None:
                await self._connect_unix(lane, path)
            elif (endpoint := tcp_endpoint(address)) is not None:
                await self._loop.create_connection(lambda: lane, *endpoint)
            else:
                raise ConnectionError(f"{address}: not an address this version knows")
            await lane.greeting()
        except OSError as error:
            lane.close()
            if isinstance(error, LabcError):
                raise
            raise ConnectionError(f"{address}: {error.strerror or error}") from error
        except BaseException:
            lane.close()
            raise
        self._endpoints[node_id] = address
        return lane

    async def _connect_unix(self, lane: Lane, path: str) -> None:
        """With a socket of our own, as libuv's loop can't connect to a name that is no file."""
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.setblocking(False)
            await self._loop.sock_connect(connection, path)
            await self._loop.create_unix_connection(lambda: lane, sock=connection)
        except BaseException:
            connection.close()
            raise

    async def _connect_relay(self, node: NodeRecord) -> Lane:
        while True:
            lane = self._new_lane(node.id, initiator=True)
            try:
                async with asyncio.timeout(_RELAY_ANSWERS_WITHIN):
                    self._relays.connect(lane, node.id, os.urandom(8).hex())
                    await lane.greeting()
            except TimeoutError:
                lane.close()  # a change of root: a piece was lost
            except BaseException:
                lane.close()
                raise
            else:
                logger.info("the lane to %s is relayed over the fabric: no direct connection could be made", node)
                return lane


def _being_cancelled() -> bool:
    """Whether it is this very task that somebody cancels, and not what it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _attempt(connect: Callable[..., Awaitable[Lane]], *args: Any) -> Callable[[], Awaitable[Lane]]:
    return lambda: connect(*args)


def _lose(lane: Lane) -> None:
    with suppress(Exception):
        lane.close("another way to this node was faster")


def _retrieve(task: asyncio.Task[Lane]) -> None:
    """Its error is no surprise, even if nobody waits for it any more."""
    if not task.cancelled():
        task.exception()


def _brief(error: BaseException) -> str:
    if isinstance(error, HandshakeError):
        return str(error)
    return error.reason if isinstance(error, PeerLostError) else str(error)
