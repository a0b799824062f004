"""The lanes of one node: one to each peer it talks to, opened when needed, in whatever way succeeds first."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from labc.directory import NodeRecord
from labc.errors import LabcError, PeerLostError
from labc.lanes.addresses import ABSTRACT_SOCKETS, unix_address, unix_path
from labc.lanes.awake import AwakeLoop
from labc.lanes.connector import Connector, Surroundings
from labc.lanes.direct import POSSIBLE as DIRECT_POSSIBLE
from labc.lanes.direct import DirectLane, check_it_is_the_sockets
from labc.lanes.directs import DirectLanes
from labc.lanes.improving import Improving
from labc.lanes.lane import Lane
from labc.lanes.listener import Listener
from labc.lanes.relays import Relays
from labc.lanes.tls import Tls, seat_of
from labc.lanes.ways import Ways
from labc.security import Credentials
from labc.settings import Settings
from labc.wire import AWAY, Greeting, Requested

logger = logging.getLogger("labc.lanes")

_TIDY_EVERY = 5.0
_OPENINGS = 8
"""How often a lane is opened anew that was closed before its caller's turn came."""

_REASSURE_AFTER = 0.2
"""Seconds after which a node whose lane was lost is asked whether it is there; then twice as long, and so on."""
_REASSURE_AGAIN = 10.0


class Calls(Protocol):
    """Who serves the requests that arrive on lanes."""

    def requested(self, lane: Lane, event: Requested) -> None: ...

    def cancelled(self, lane: Lane, call_id: int) -> None: ...

    def lane_closed(self, lane: Lane) -> None: ...


class Pool:
    """The lanes of the node ``here``, by peer."""

    def __init__(
        self,
        here: NodeRecord,
        settings: Settings,
        version: str,
        surroundings: Surroundings,
        credentials: Credentials | None,
        root_ports: Sequence[int] = (),
    ) -> None:
        self._here = here
        self._network = credentials.realm if credentials else settings.network
        self._tls = Tls(credentials) if credentials else None
        self._seats: frozenset[int] | None = None
        """Those of the members who are trusted, once that has changed."""
        self._settings = settings
        self._version = version
        self._surroundings = surroundings
        self._loop = asyncio.get_running_loop()
        self._lanes: dict[tuple[str, bool], Lane] = {}
        """By node, and whether the other end is on this host."""
        self._accepted: set[Lane] = set()
        self._one_way: set[Lane] = set()
        """Accepted, and used by one calling thread of the peer each: their number is not that of peers."""
        self._expected: dict[Lane, asyncio.TimerHandle] = {}
        """Those that were accepted and have not said who they are, and when they are given up."""
        self._awake = AwakeLoop(self._loop.call_soon, settings.stay_awake)
        self._all: set[Lane] = set()
        self._connecting: dict[str, asyncio.Task[Lane]] = {}
        self._reassuring: dict[str, asyncio.Task[None]] = {}
        self._closed = False
        self._relays = Relays(surroundings.relay, self._accept)
        ways = Ways(settings.interfaces)
        self._connector = Connector(here.host_id, settings, surroundings, self._relays, self._new_lane, self._tls, ways)
        self._improving = Improving(self._connector.connect_directly)
        self.direct = DirectLanes(
            settings,
            self._greeting,
            surroundings.is_present,
            self._direct_quiet,
            same_user=self._tls is not None,
            leads_to=ways.lead_to,
        )
        self._tidying: asyncio.TimerHandle | None = None
        self.listener = Listener(
            self._here.id, self._accept, self._tls, settings.connect_timeout, ways, settings.lane_ports, root_ports
        )
        self.calls: Calls | None = None

    async def open(self) -> None:
        await self.listener.open()
        self._tidy()

    def relay_arrived(self, node_id: str, relay_id: str, piece: bytes, away: bool) -> None:
        """The network carried a piece of a relayed lane of this node here; ``away``: over a router."""
        self._relays.arrived(node_id, relay_id, piece, away)

    def close(self) -> None:
        """Say goodbye on every lane, without waiting."""
        self.listener.close()
        self.direct.close()
        if self._tidying:
            self._tidying.cancel()
        self._closed = True
        self._improving.close()
        for task in (*self._connecting.values(), *self._reassuring.values()):
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
        return sum(lane.open_calls for lane in self._lanes_to(node_id)) + self.direct.busy(node_id)

    def lanes(self) -> list[Lane]:
        return [lane for lane in self._all if lane.usable]

    def ready_lane(self, node: NodeRecord) -> Lane | None:
        """The lane to this node, if there is one that takes a request now."""
        lane = self._lane_to(node)
        return lane if lane is not None and lane.usable and lane.has_room else None

    async def lane(self, node: NodeRecord) -> Lane:
        """The lane to this node, opened now if there is none.

        Raises:
            PeerLostError: no way leads there; what was tried is in its reason. Nothing was sent.
        """
        for _ in range(_OPENINGS):
            lane = await self._lane(node)
            if lane.usable:
                break  # otherwise it was closed while this task waited for its turn
        return lane

    async def _lane(self, node: NodeRecord) -> Lane:
        lane = self._lane_to(node)
        if lane is not None and lane.usable:
            return lane
        if self._closed:
            raise PeerLostError(str(node), "this node has left the network itself", ran="no")
        task = self._connecting.get(node.id)
        if task is None or task.done():  # done, and its lane closed already
            task = self._connecting[node.id] = self._loop.create_task(self._connector.connect(node))
            task.add_done_callback(lambda done: self._connected(node, done))
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
        reached_at = self._connector.reached_at
        address = reached_at.get(node.id)
        # In a keyed network a lane of the loop finds out first whether the node is of the same user.
        if address is None and ABSTRACT_SOCKETS and node.host_id == self._here.host_id and self._tls is None:
            address = reached_at[node.id] = unix_address(node.id)
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
        reached_at.pop(node.id, None)  # until the loop opens its lane anew
        return None

    def close_all_but(self, seats: frozenset[int]) -> None:
        """The lanes with members who are trusted no more. Their calls end with a PeerLostError."""
        self._seats = seats
        for lane in list(self._all):
            self._close_if_revoked(lane)

    def _close_if_revoked(self, lane: Lane) -> bool:
        if self._seats is None or (seat := seat_of(lane.transport)) is None or seat in self._seats:
            return False
        lane.close("its membership of the network was revoked")
        return True

    def direct_lane_lost(self, node_id: str) -> None:
        """The shared one may have broken with it, and only not know yet. From any thread."""

        def close_idle() -> None:
            for lane in self._lanes_to(node_id):
                if lane.idle:
                    lane.close("another lane to this node broke")

        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(close_idle)

    def _direct_quiet(self, node_id: str) -> None:
        """From any thread."""
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._surroundings.quiet, node_id)

    def reassure(self, node: NodeRecord) -> None:
        """Nothing is known but that a lane to the node was lost: find out, soon, whether it is there all the same."""
        task = self._reassuring.get(node.id)
        if (task is None or task.done()) and not self._closed:
            task = self._loop.create_task(self._reassure(node), name=f"labc reassures itself of {node}")
            self._reassuring[node.id] = task
            task.add_done_callback(lambda done: self._reassured(node.id, done))

    def _reassured(self, node_id: str, task: asyncio.Task[None]) -> None:
        if self._reassuring.get(node_id) is task:
            del self._reassuring[node_id]

    async def _reassure(self, node: NodeRecord) -> None:
        pause = _REASSURE_AFTER
        while True:
            await asyncio.sleep(random.uniform(1, 1.5) * pause)
            if not self._surroundings.doubted(node.id):
                return
            try:
                async with asyncio.timeout(self._settings.heartbeat_timeout):
                    lane = await self.lane(node)
                    await lane.ping()
            except (LabcError, TimeoutError):
                pass
            except Exception:
                logger.exception("%s can't be asked for a sign of life; this is tried again", node)
            else:
                self._surroundings.heard(node.id)
                return
            pause = min(2 * pause, _REASSURE_AGAIN)

    def node_lost(self, node: NodeRecord) -> None:
        """The directory gave it up: idle lanes to it are of no more use, and relayed ones have no other way than the
        fabric. Direct ones with calls have their heartbeats."""
        self._connector.reached_at.pop(node.id, None)
        self.direct.close_idle(node.id, 0.0)
        for lane in list(self._all):
            if lane.peer is not None and lane.peer.node_id == node.id and (lane.idle or lane.kind == "relay"):
                lane.close("it is not in the network any more")
        for task in (self._connecting.get(node.id), self._reassuring.get(node.id)):
            if task is not None:
                task.cancel()

    # LaneOwner

    def greeted(self, lane: Lane) -> None:
        assert lane.peer is not None
        self._greeting_came(lane)
        if self._close_if_revoked(lane):  # while it was in its handshake
            return
        lane.away = lane.away or AWAY in lane.peer.features
        self._surroundings.heard(lane.peer.node_id)
        if lane.one_way:
            self._count_one_way(lane)
            return
        key = lane.peer.node_id, lane.within_host
        current = self._lanes.get(key)
        if current is None or not current.usable or (current.kind == "relay" and lane.kind != "relay"):
            self._lanes[key] = lane

    def requested(self, lane: Lane, event: Requested) -> None:
        assert self.calls is not None
        self.calls.requested(lane, event)
        if lane.one_way:  # the caller waits for the answer, and may ask again at once
            now = time.perf_counter()
            self._awake.keep(now - lane.asked)
            lane.asked = now

    def cancelled(self, lane: Lane, call_id: int) -> None:
        assert self.calls is not None
        self.calls.cancelled(lane, call_id)

    def closed(self, lane: Lane) -> None:
        self._greeting_came(lane)
        self._all.discard(lane)
        self._accepted.discard(lane)
        self._one_way.discard(lane)
        if lane.peer is not None and not lane.one_way:
            key = lane.peer.node_id, lane.within_host
            if self._lanes.get(key) is lane:
                del self._lanes[key]
            if not self._lanes_to(lane.peer.node_id):
                self._surroundings.doubt(lane.peer.node_id)
        if self.calls is not None:
            self.calls.lane_closed(lane)

    def quiet(self, lane: Lane) -> None:
        assert lane.peer is not None
        if not lane.one_way:  # on which one thread of the peer is quiet
            self._surroundings.quiet(lane.peer.node_id)

    def heard(self, lane: Lane) -> None:
        assert lane.peer is not None
        self._surroundings.heard(lane.peer.node_id)

    def is_away(self, lane: Lane) -> bool:
        assert lane.peer is not None
        return not self._surroundings.is_of_this_site(lane.peer.node_id)

    def silent(self, lane: Lane) -> bool:
        assert lane.peer is not None
        present = self._surroundings.is_present(lane.peer.node_id) and not lane.is_cut
        if not lane.one_way:
            self._surroundings.doubt(lane.peer.node_id)
        return present

    # Within.

    def _lane_to(self, node: NodeRecord) -> Lane | None:
        """Who says that he is a node of this host, and has come from elsewhere, gets nothing that is for that node."""
        return self._lanes.get((node.id, node.host_id == self._here.host_id))

    def _lanes_to(self, node_id: str) -> list[Lane]:
        """At most two, if somebody lies. From any thread."""
        found = (self._lanes.get((node_id, within_host)) for within_host in (True, False))
        return [lane for lane in found if lane is not None]

    def _tidy(self) -> None:
        self.direct.close_idle()
        self._tidying = self._loop.call_later(_TIDY_EVERY, self._tidy)

    def _greeting_came(self, lane: Lane) -> None:
        if timer := self._expected.pop(lane, None):
            timer.cancel()

    def _connected(self, node: NodeRecord, task: asyncio.Task[Lane]) -> None:
        if self._connecting.get(node.id) is task:
            del self._connecting[node.id]
        if task.cancelled() or task.exception():  # those who wait see it
            return
        if task.result().kind == "relay" and not self._closed:
            self._improving.begin(node, task.result())

    def _accept(self) -> Lane:
        lane = self._new_lane()
        if len(self._accepted) >= self._settings.max_lanes:
            logger.warning("a lane was refused: %d are open (max_lanes)", len(self._accepted))
            lane.close("this node has too many lanes open (max_lanes)")  # before it takes a request
            return lane
        self._accepted.add(lane)
        patience = self._settings.connect_timeout * 2
        self._expected[lane] = self._loop.call_later(patience, lane.close, "no greeting came in time")
        return lane

    def _greeting(self, target: NodeRecord | None, features: Sequence[str] = ()) -> Greeting:
        return Greeting(
            network=self._network,
            node_id=self._here.id,
            node_name=self._here.name,
            host_id=self._here.host_id,
            host_name=self._here.host,
            group=self._here.group,
            labc_version=self._version,
            max_message_bytes=self._settings.max_message_bytes,
            target=target.id if target else "",
            features=[*features, AWAY] if target and target.away else list(features),
        )

    def _count_one_way(self, lane: Lane) -> None:
        self._accepted.discard(lane)
        if len(self._one_way) >= self._settings.max_lanes:
            lane.close("this node has too many lanes open (max_lanes)")  # its calls can share another
        else:
            self._one_way.add(lane)

    def _new_lane(self, target: NodeRecord | None = None) -> Lane:
        """One to the node ``target``; without: one that somebody opens to this node."""
        lane = Lane(self._greeting(target), self, self._settings, initiator=target is not None)
        lane.away = target is not None and target.away
        self._all.add(lane)
        return lane


def _being_cancelled() -> bool:
    """Whether it is this very task that somebody cancels, and not what it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
