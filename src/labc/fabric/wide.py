"""The way over a router to the other sites, as one node uses it.

Before there is a link for the first time, what is declared waits for it, what is asked has no answers, and what is
published is for nobody.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

import zenoh

from labc.directory import NodeRecord
from labc.errors import ClosedError, FabricError
from labc.fabric.engine import open_router_link
from labc.fabric.keys import Keys
from labc.fabric.lasting import LastingMedium
from labc.fabric.medium import CLOSE_WITHIN
from labc.fabric.publishing import MSGPACK
from labc.fabric.router_link import RouterLink, router_endpoints
from labc.fabric.worker import Worker
from labc.security import Credentials
from labc.settings import Settings

logger = logging.getLogger("labc.fabric")

_LOOKS = ((1.0, 0.2), (1.0, 0.5), (3.0, 0.0))
"""Seconds in which a router is to say that it is there, and after which it is asked again: it may just have opened."""
_AFRESH_AFTER = 0.5
"""Seconds until a new link to a router that says nothing is given up; twice as long after each time. The first time it
may just be closing: only the second is told."""
_AFRESH_AFTER_AT_MOST = 60.0
_FIRST_LINK_WITHIN = 1.0
"""Seconds for which the first who looks around waits for a link to a router."""
_SPREAD_WITHIN = 1.0
_GOODBYE_WITHIN = 0.25


class Wide(LastingMedium):
    """All its methods are for the node's loop, unless they say otherwise.

    Raises:
        SettingsError: the setting ``routers`` does not fit the network.
    """

    def __init__(
        self,
        settings: Settings,
        here: NodeRecord,
        on_link: Callable[[bool], None],
        credentials: Credentials | None,
    ) -> None:
        worker, endpoints = Worker("labc wide"), router_endpoints(settings, credentials)
        keys = Keys(settings.network, "wan")
        super().__init__(here, keys, worker, lambda: open_router_link(settings, credentials, endpoints))
        self._link = RouterLink(settings, credentials, worker, self._opened, self._link_changed)
        self._first_look = True
        self._declaring_all: asyncio.Task[None] | None = None
        self._checking: asyncio.Task[None] | None = None
        self._silences = 0
        """How often in a row a router said nothing."""
        self._on_link = on_link
        self._network = settings.network

    @property
    def linked(self) -> bool:
        """Whether this node has a link to a router now."""
        return self._link.linked

    @property
    def session(self) -> zenoh.Session | None:
        return self._link.session

    def open(self) -> None:
        """Begin to look for a router."""
        self._link.open()

    async def close(self) -> None:
        """Leave. Takes at most 0.6 s; what is stuck by then is left to the end of the process."""
        for task in (self._declaring_all, self._checking):
            if task is not None:
                task.cancel()
        await self.leave(self._link.close)

    def abandon(self) -> None:
        """After fork, in the child."""
        self.abandon_things(self._link.engine_objects())

    @property
    def looks_around(self) -> bool:
        """Whether :meth:`looked_around` may have something to wait for. From any thread."""
        return self._first_look

    async def looked_around(self) -> None:
        """Returns when it can be known who is at other sites, or at the first time a second later."""
        if self._first_look:
            await self._link.wait_linked(_FIRST_LINK_WITHIN)
            if self._declaring_all is not None:
                await asyncio.wait([self._declaring_all])
            if self._first_look and self.linked:
                await self.list_tokens(self.keys.node(self.here), _FIRST_LINK_WITHIN)  # comes behind those of others
            self._first_look = False

    async def spread(self) -> None:
        """Returns when the router knows what this node has declared until now; at once, if there is no link."""
        if self.linked and (declared := self._declared) > self._spread:
            await self.ask(self.keys.roots, b"", _SPREAD_WITHIN)
            self._spread = max(self._spread, declared)

    async def say_goodbye(self) -> None:
        """As in :meth:`Fabric.say_goodbye`, if there is a link and this node is known at other sites."""
        if self.linked and self._presence is not None:
            with suppress(TimeoutError, ClosedError, FabricError):
                async with asyncio.timeout(_GOODBYE_WITHIN):
                    await self._put_goodbye()

    def publish(
        self,
        key: str,
        payload: bytes,
        attachment: bytes | None = None,
        encoding: str = MSGPACK,
        *,
        may_wait: bool = True,
    ) -> None:
        if self.linked and (session := self.session) is not None:
            with self._unless_gone(session):
                super().publish(key, payload, attachment, encoding, may_wait=may_wait)

    def publish_reliably(self, key: str, payload: bytes) -> None:
        if self.session is not None:
            super().publish_reliably(key, payload)

    # Within.

    def _opened(self) -> None:
        self._declaring_all = self._loop.create_task(self._declare_all(), name="labc wide declarations")

    async def _declare_all(self) -> None:
        """What waited for a session."""
        try:
            await self.declare_all()
        except ClosedError:
            pass
        except FabricError as error:
            logger.warning("what is offered to other sites can't be told to the router: %s", error)

    def _link_changed(self, up: bool) -> None:
        """The engine would take a lost link up again by itself, but sometimes in a way that not all passes it, or
        nothing (Zenoh 1.10.2, where a router was closed and opened anew): a new session does not."""
        if self._checking is not None:
            self._checking.cancel()
        if up:
            self._checking = self._loop.create_task(self._check(), name="labc wide check")
        else:
            self._on_link(False)
            self.renew()

    async def _check(self) -> None:
        """The link counts when the router says something. Otherwise start afresh, with another one if there is: it is
        one of another network, or was just being closed."""
        with suppress(ClosedError, FabricError):
            for within, pause in _LOOKS:
                if await self.ask(self.keys.roots, b"", within):
                    self._silences = 0
                    self._on_link(True)
                    return
                await asyncio.sleep(pause)
            self._silences += 1
            level = logging.WARNING if self._silences == 2 else logging.DEBUG
            logger.log(level, "the router says nothing: it may be one of another network than %r", self._network)
            await asyncio.sleep(min(_AFRESH_AFTER * 2 ** (self._silences - 1), _AFRESH_AFTER_AT_MOST))
            self._link.prefer_another()
            self.renew()

    async def _renew(self) -> None:
        if self._checking is not None:  # it is of the old link
            self._checking.cancel()
        if self.linked:
            self._on_link(False)
        try:
            async with asyncio.timeout(CLOSE_WITHIN):
                await self._link.close()
        except TimeoutError:
            logger.debug("the old link to a router is stuck")
        self.forget_things()
        self._link.open()
