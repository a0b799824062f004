"""This node's place on the fabric: its link to the host's root, and the root itself when it holds the port.

The shell around :mod:`labc.fabric.election`.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import zenoh

from labc.directory import NodeRecord
from labc.errors import ClosedError, FabricError
from labc.fabric.election import Election
from labc.fabric.engine import callback, close_router, linked_routers, open_client, open_router, strangers
from labc.fabric.handover import Handover
from labc.fabric.keyed import realm
from labc.fabric.keys import Keys
from labc.fabric.ports import root_ports, scouting_address
from labc.fabric.worker import Worker
from labc.security import Credentials
from labc.settings import Settings

if TYPE_CHECKING:
    from labc.discovery import Carrier, Heard

logger = logging.getLogger("labc.fabric")

_OPEN_WITHIN = 20.0
_JITTER = 0.03
"""Orphans of a root wait up to this long before they reach for its port, so that one is clearly first."""
_ROUND = 0.05
"""At most this long between two looks at a port that another process holds."""
_AFTER_RESUME = 0.3
"""By then a root that was stopped has noticed which of its links have expired."""
LOOK_AROUND = 0.5
"""Seconds after which a new root has met the others, and knows what is declared there (measured: 0.1 s and four round
trips; there is no telling how many others there are)."""
_AFTER_LOSS = 0.15
"""Seconds between the end of a root and the opening of the next one on the host. The roots of other hosts take up to
0.1 s to work the end of the first into their routes; one that links within that time may never be told of anything they
know, see `strangers`."""
_LOOK_AGAIN = 1.0
"""Seconds after which a root to which another one has told nothing is sure that this will not come."""
_AFRESH_AGAIN = 5.0
"""Seconds in which a root starts afresh for that reason once at most; twice as long after each time."""


class Seat:
    """``session`` is the client session; ``on_link(up)`` is told on the loop when its link goes and comes."""

    def __init__(
        self,
        settings: Settings,
        here: NodeRecord,
        worker: Worker,
        on_link: Callable[[bool], None],
        credentials: Credentials | None,
    ) -> None:
        self._settings = settings
        self._credentials = credentials
        self._realm = realm(settings, credentials)
        self._keys = Keys(settings.network)
        self._here = here
        self._worker = worker
        self._on_link = on_link
        self.ports = root_ports(self._realm, settings.root_port)
        """Those that this host's root may hold."""
        self._linked = asyncio.Event()
        self._lost = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._router: zenoh.Session | None = None
        self._carrier: Carrier | None = None
        """What finds other roots for this one."""
        self._listener: Any = None
        self._root_things: list[Any] = []
        self._looking_around: asyncio.Task[None] | None = None
        self._may_start_afresh = 0.0
        """When this root, to which others tell nothing, may do so next (monotonic)."""
        self._afresh_again = _AFRESH_AGAIN
        self._root_link_lost = 0.0
        """When this root last lost its link to another (monotonic)."""
        self.root_port: int | None = None
        """The port on which this node is the root; None if it is not."""
        self.session: zenoh.Session | None = None
        self.on_root_change: Callable[[], None] = lambda: None
        """Called on the loop when ``root_port`` may have changed."""

    @property
    def linked(self) -> bool:
        return self._linked.is_set()

    async def open(self) -> None:
        """Become a client of the root, or the root and its first client.

        Raises:
            FabricError: neither succeeded within 20 s or a little more.
        """
        election = Election(self.ports)
        deadline = time.monotonic() + _OPEN_WITHIN
        while self.session is None:
            if time.monotonic() > deadline:
                raise FabricError(
                    f"no root of network {self._settings.network!r} answers on this host, and none of its ports "
                    f"{self.ports[0]}-{self.ports[-1]} can be opened: something else may hold them (set root_port)"
                )
            step, port = election.step()
            if step == "connect":
                await self._connect(election)
            elif not await self._listen(port):
                election.listen_failed()
                await asyncio.sleep(random.uniform(0.5, 1) * _ROUND)
            else:
                election = Election(self.ports)
        self._keeper = asyncio.create_task(self._keep(), name="labc root election")

    async def close(self) -> None:
        """Leave: the link first, then the root's router, whose clients then elect another."""
        if self._keeper:
            self._keeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeper
        if self._looking_around:
            self._looking_around.cancel()
        await self._worker.run(lambda: None)  # behind what was begun
        had_router = self._router is not None
        session, self.session, self._listener = self.session, None, None
        jobs = [session.close] if session is not None else []
        jobs.append(self._give_root_up())
        await asyncio.gather(*map(self._worker.submit, jobs))  # the second, too, if the first fails
        if had_router:
            _root_ended()

    def resumed(self) -> None:
        """This process seems to have been stopped for longer than the lease, and goes on."""
        asyncio.get_running_loop().call_later(_AFTER_RESUME, self._start_afresh)

    def renew(self) -> None:
        """Whom the network trusts has changed: if this is the root, drop all links, and take only those again that are
        still good. Others of this host may be first to take its place, which do the same."""
        if self._router is not None:
            self._end_root()

    def _end_root(self) -> None:
        """Without waiting for it, as the next root needs not: the engine may take ten seconds to close a router."""
        beside = self.root_port is not None  # else it is being furnished
        worker = Worker("labc root ends") if beside else self._worker
        ending = worker.submit(self._give_root_up())
        ending.add_done_callback(lambda done: done.cancelled() or done.exception())
        if beside:
            worker.close()

    def _start_afresh(self) -> None:
        """A root whose links to other roots were dropped while it was stopped gives its place up, and takes it anew.

        Its links come back at once, too early for the routes (see ``_AFTER_LOSS``), and without this some of what it
        knows would never be told to the others.
        """
        if self._router is None or time.monotonic() - self._root_link_lost > 2 * _AFTER_RESUME:
            return
        self._end_root()

    def _root_link_event(self, event: Any) -> None:
        """On the engine's thread."""
        if event.kind == zenoh.SampleKind.DELETE and event.transport.whatami == zenoh.WhatAmI.ROUTER:
            self._root_link_lost = time.monotonic()

    def heard(self) -> list[Heard]:
        """Which roots of other hosts this root heard, by which method and when; none, if this node is no root."""
        carrier = self._carrier
        return [] if carrier is None else carrier.heard()

    def abandon(self) -> None:
        """After fork, in the child."""
        if self._carrier is not None:
            self._carrier.abandon()

    def engine_objects(self) -> list[Any]:
        things = (self.session, self._router, self._listener, *self._root_things)
        return [thing for thing in things if thing is not None]

    async def _connect(self, election: Election) -> None:
        started = time.monotonic()
        try:
            session = await self._worker.run(lambda: self._open_client(election.patient))
        except zenoh.ZError:
            election.connect_failed(time.monotonic() - started)
            return
        inbox = Handover[bool](asyncio.get_running_loop(), self._link_events)
        info = session.info
        handler = callback(lambda event: inbox.put(event.kind == zenoh.SampleKind.PUT))
        self._listener = await self._worker.run(lambda: info.declare_transport_events_listener(handler, history=True))

    async def _listen(self, port: int) -> bool:
        await asyncio.sleep(_last_end + _AFTER_LOSS - time.monotonic())
        if self.linked:
            return False  # another node was first
        try:
            router = await self._worker.run(lambda: self._open_router(port))
        except zenoh.ZError as error:
            logger.debug("port %d is taken: %s", port, error)
            return False
        try:
            await self._worker.run(lambda: self._furnish_root(router))
        except zenoh.ZError as error:
            logger.warning("the root of this host can't be opened: %s", error)
            await self._worker.run(self._give_root_up())
            return False
        self._looking_around = asyncio.create_task(self._look_around(router), name="labc root looks around")
        self.root_port = port
        self.on_root_change()
        logger.info("this node is the root of its host, on port %d", port)
        return True

    # What is opened is kept at once, as who waits for it may be cancelled.

    def _open_client(self, patient: bool) -> zenoh.Session:
        self.session = open_client(self._settings, self._credentials, patient=patient)
        return self.session

    def _open_router(self, port: int) -> zenoh.Session:
        carrier = self._open_carrier(port)
        try:
            self._router = open_router(
                self._settings, port, carrier.scouting_address if carrier else None, self._credentials
            )
        except zenoh.ZError:
            if carrier:
                carrier.close()
            raise
        self._carrier = carrier
        return self._router

    def _open_carrier(self, port: int) -> Carrier | None:
        from labc.discovery import Carrier  # what only roots need

        group_port = int(scouting_address(self._realm).rpartition(":")[2])
        try:
            return Carrier(self._settings, self.ports, port, group_port, self._here.host, self._credentials)
        except OSError as error:
            how = "not looked for" if self._credentials or self._settings.interfaces else "looked for by multicast only"
            logger.warning("other hosts are %s, as discovery can't start: %s", how, error)
            return None

    def _furnish_root(self, router: zenoh.Session) -> None:
        things = self._root_things
        things.append(router.liveliness().declare_token(self._keys.router(str(router.info.zid()))))
        things.append(router.info.declare_transport_events_listener(callback(self._root_link_event)))
        things.append(router.declare_queryable(self._keys.roots, callback(lambda query: query.drop()), complete=True))
        if self._carrier is not None:
            self._carrier.start(str(router.info.zid()), lambda: linked_routers(router))

    async def _look_around(self, router: zenoh.Session) -> None:
        """For the life of a root: tell when it has met the others, and see to it that they tell it what they know."""
        try:
            await asyncio.sleep(LOOK_AROUND)
            things, key = self._root_things, self._keys.root(self._here.host_id)
            await self._worker.run(lambda: things.append(router.liveliness().declare_token(key)))
            pause = _LOOK_AGAIN
            while silent := await self._silent_roots(router):
                await asyncio.sleep(random.uniform(1, 1.5) * pause)
                if silent & await self._silent_roots(router) and time.monotonic() >= self._may_start_afresh:
                    break
                pause = min(2 * pause, _AFRESH_AGAIN)
            else:
                return
            level = logging.INFO if self._afresh_again == _AFRESH_AGAIN else logging.WARNING  # it did not help
            logger.log(level, "%d other roots tell the root of this host nothing: it starts afresh", len(silent))
            self._may_start_afresh = time.monotonic() + self._afresh_again
            self._afresh_again *= 2
            self._looking_around = None  # or giving up would cancel this
            await self._worker.run(self._give_root_up())
        except (zenoh.ZError, ClosedError) as error:
            logger.warning("the root of this host can't look after its links: %s", error)

    async def _silent_roots(self, router: zenoh.Session) -> set[str]:
        return await self._worker.run(lambda: strangers(router, self._settings.network, self._realm))

    def _give_root_up(self) -> Callable[[], None]:
        """What ends the root that was here until now.

        It undeclares all that is its own first. Otherwise its threads may look after it while the router is taken
        apart, and panic (Zenoh 1.10.2, with three other roots or more: most times, measured): harmless by then, and
        nothing that a user should have to read.
        """
        router, self._router, self.root_port = self._router, None, None
        carrier, self._carrier = self._carrier, None
        things, self._root_things = self._root_things, []
        if self._looking_around:
            self._looking_around.cancel()
        self.on_root_change()

        def end() -> None:
            if carrier is not None:
                carrier.close()
            if router is not None:
                try:
                    for thing in things:
                        thing.undeclare()
                finally:
                    close_router(router)

        return end

    def _link_events(self, ups: list[bool]) -> None:
        for up in ups:  # also the engine's own "lost" with its "there again" at once: what was declared went meanwhile
            if up:
                self._linked.set()
            else:
                _root_ended()
                self._linked.clear()
                self._lost.set()
            self._on_link(up)

    async def _keep(self) -> None:
        """Whenever the link is lost, see to it that the host has a root; the session links to it by itself."""
        while True:
            await self._lost.wait()
            self._lost.clear()
            await self.wait_linked(random.uniform(0, _JITTER))
            election = Election(self.ports, listen_first=True)
            while not self.linked:
                step, port = election.step()
                if step == "connect" or self._router:
                    patience = election.link_within()
                    if not await self.wait_linked(patience):
                        election.connect_failed(patience)
                elif await self._listen(port):
                    await self.wait_linked(2.0)
                else:
                    election.listen_failed()

    async def wait_linked(self, timeout: float) -> bool:
        """Whether this node has a link to a root, now or within ``timeout`` seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._linked.wait()
        return self.linked


_last_end = 0.0
"""When this process last saw a root of its host end, its own or another (monotonic)."""


def _root_ended() -> None:
    global _last_end
    _last_end = time.monotonic()
