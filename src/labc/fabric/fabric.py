"""The fabric of a site: this node's link to the root of its host, and what roots need."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import zenoh

from labc.directory import NodeRecord
from labc.errors import ClosedError, FabricError
from labc.fabric.engine import open_client
from labc.fabric.keys import Keys
from labc.fabric.medium import Medium
from labc.fabric.seat import LOOK_AROUND, Seat
from labc.fabric.worker import Worker
from labc.security import Credentials
from labc.settings import Settings

if TYPE_CHECKING:
    from labc.discovery import Heard

_SPREAD_WITHIN = 1.0
_GOODBYE_WITHIN = 0.25
"""Seconds. A root that has just ended is replaced in less, mostly."""


class Fabric(Medium):
    """One node's part of it. All its methods are for the node's loop, unless they say otherwise."""

    def __init__(
        self,
        settings: Settings,
        here: NodeRecord,
        on_link: Callable[[bool], None],
        credentials: Credentials | None,
    ) -> None:
        worker = Worker("labc fabric")
        super().__init__(here, Keys(settings.network), worker, lambda: open_client(settings, credentials))
        self._seat = Seat(settings, here, worker, on_link, credentials)
        self._looks_around_until = 0.0

    @property
    def session(self) -> zenoh.Session | None:
        return self._seat.session

    @property
    def linked(self) -> bool:
        """Whether this node has a link to its host's root now."""
        return self._seat.linked

    @property
    def root_port(self) -> int | None:
        """The port on which this node is its host's root; None if another node is."""
        return self._seat.root_port

    @property
    def root_ports(self) -> tuple[int, ...]:
        """Those that this host's root may hold."""
        return self._seat.ports

    def tell_root_changes(self, changed: Callable[[], None]) -> None:
        """Call this on the loop whenever :attr:`root_port` may have changed."""
        self._seat.on_root_change = changed

    def heard(self) -> list[Heard]:
        """Which roots of other hosts were heard, by which discovery method and when, if this node is its host's root.
        From any thread."""
        return self._seat.heard()

    async def open(self) -> None:
        """Raises FabricError: no place on the fabric within 20 s or a little more."""
        await self._seat.open()
        if not await self.list_tokens(self.keys.root(self.here.host_id), LOOK_AROUND):
            self._looks_around_until = self._loop.time() + LOOK_AROUND
            self._publishing.hold_until(self._looks_around_until)

    async def close(self) -> None:
        """Leave. Takes at most 0.6 s; what is stuck by then is left to the end of the process.

        What was published while the root looked around is sent first, for which this may take half a second more.
        """
        if self._publishing.held:
            await self.looked_around()
        await self.leave(self._seat.close)

    @property
    def looks_around(self) -> bool:
        """Whether this host's root has just opened, and may not have found the other hosts yet. From any thread."""
        return self._looks_around_until > time.monotonic()  # the loop's own time takes longer

    async def looked_around(self) -> None:
        """Returns when who is in the network can be known, half a second after its host's root opened."""
        await asyncio.sleep(self._looks_around_until - self._loop.time())
        self._publishing.release()

    async def spread(self) -> None:
        """Returns when every root knows what this node has declared until now: after one round trip.

        So what is published from now on, on whatever host, reaches who subscribed here, and who looks for a function
        finds it. A root that does not answer is waited for at most a second.
        """
        if (declared := self._declared) > self._spread:
            await self._seat.wait_linked(_SPREAD_WITHIN)
            await self.ask(self.keys.roots, b"", _SPREAD_WITHIN)
            self._spread = max(self._spread, declared)

    def renew(self) -> None:
        """Whom the network trusts has changed; see :meth:`Seat.renew`."""
        self._seat.renew()

    def resumed(self) -> None:
        """The whole process was stopped for longer than the lease, and goes on."""
        self._seat.resumed()

    def abandon(self) -> None:
        """After fork, in the child."""
        self._seat.abandon()
        self.abandon_things(self._seat.engine_objects())

    async def say_goodbye(self) -> None:
        """Tell those who watch the nodes that this one is about to leave, so that the end of its token means no loss.

        It waits for a link, if there is none, and takes 0.25 s at most. Where it fails, this node is lost to them.
        """
        with suppress(TimeoutError, ClosedError, FabricError):
            async with asyncio.timeout(_GOODBYE_WITHIN):
                await self._seat.wait_linked(_GOODBYE_WITHIN)
                await self._put_goodbye()
