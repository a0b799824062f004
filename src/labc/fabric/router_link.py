"""The link of one node to a router, over which other sites are reached: made in the background, and made again.

Every node has its own, as a client of the router. Were the roots linked with it instead, as the routers that they are,
each would believe that others which it can't reach any more are still there behind it, with all that they offer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import zenoh

from labc.errors import ClosedError, SettingsError
from labc.fabric.engine import callback, open_router_link
from labc.fabric.handover import Handover
from labc.fabric.keyed import protocol
from labc.fabric.lasting import LateSession
from labc.fabric.worker import Worker
from labc.security import Credentials
from labc.settings import RouterPlace, Settings, router_place

logger = logging.getLogger("labc.fabric")

_ANSWERS_WITHIN = 1.0
"""Seconds that a router may take to accept a connection."""
_TRY_AGAIN = 0.2
_TRY_AGAIN_AT_MOST = 2.0


def endpoint(place: RouterPlace, settings: Settings, credentials: Credentials | None, where: str) -> str:
    """For the engine. ``where``: from where the place is, for the error.

    Raises:
        SettingsError: the network has a key and the place is said to be without, or the other way round.
    """
    right = protocol(credentials)
    if place.protocol not in (None, right):
        what = (
            "has a key, so that its routers speak tls" if credentials else "has no key, so that its routers speak tcp"
        )
        raise SettingsError(
            f"{where} {place.protocol}/{place.host}:{place.port}: the network {settings.network!r} {what}; "
            f"expected {right}/{place.host}:{place.port}"
        )
    return f"{right}/{place.host}:{place.port}"


def router_endpoints(settings: Settings, credentials: Credentials | None) -> list[str]:
    """Those of the setting ``routers``. Raises SettingsError: see :func:`endpoint`."""
    return [endpoint(router_place(text), settings, credentials, "routers:") for text in settings.routers]


class RouterLink:
    """``on_open`` is called on the loop when there is a session at last, and ``on_link(up)`` when its link goes and
    comes."""

    def __init__(
        self,
        settings: Settings,
        credentials: Credentials | None,
        worker: Worker,
        on_open: Callable[[], None],
        on_link: Callable[[bool], None],
    ) -> None:
        self._settings = settings
        self._credentials = credentials
        self._places = [router_place(text) for text in settings.routers]
        self._endpoints = router_endpoints(settings, credentials)
        self._worker = worker
        self._probing: Worker | None = None
        self._on_open = on_open
        self._on_link = on_link
        self._linked = asyncio.Event()
        self._opening: asyncio.Task[None] | None = None
        self._listener: Any = None
        self._late = LateSession(worker)

    @property
    def session(self) -> zenoh.Session | None:
        return self._late.session

    @property
    def linked(self) -> bool:
        return self._linked.is_set()

    async def wait_linked(self, within: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._linked.wait()
        return self.linked

    def open(self) -> None:
        """Begin; it goes on until there is a link."""
        self._opening = asyncio.create_task(self._open(), name="labc router link")

    def prefer_another(self) -> None:
        """Next time try the one that was first last."""
        self._places = [*self._places[1:], self._places[0]]
        self._endpoints = [*self._endpoints[1:], self._endpoints[0]]

    async def close(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
        if self._probing is not None:
            self._probing.close()
        self._linked.clear()
        self._listener = None
        await self._late.close()

    def engine_objects(self) -> list[Any]:
        return [*self._late.engine_objects(), *([] if self._listener is None else [self._listener])]

    async def _open(self) -> None:
        from labc.discovery.probe import takes_connections  # what needs no router does without

        self._probing = probing = Worker("labc router probe")
        pause, complained = _TRY_AGAIN, False
        try:
            while True:
                found = []
                for place, there in zip(self._places, self._endpoints, strict=True):
                    where = place.host, place.port, _ANSWERS_WITHIN
                    if await probing.run(lambda where=where: takes_connections(*where)):  # type: ignore[misc]
                        found.append(there)
                if found and await self._link(found):
                    return
                if not complained:
                    complained = True
                    why = "no labc router of this network" if found else "nobody takes connections"
                    logger.warning("other sites are not reached: %s at %s (routers)", why, self._all)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _TRY_AGAIN_AT_MOST)
        except ClosedError:
            pass
        finally:
            probing.close()

    @property
    def _all(self) -> str:
        return " or ".join(self._endpoints)

    async def _link(self, found: Sequence[str]) -> bool:
        """``found``: those that take connections now."""
        first = [*found, *(each for each in self._endpoints if each not in found)]
        try:
            session = await self._late.open(lambda: open_router_link(self._settings, self._credentials, first))
            self._on_open()  # before it is told of the link
            inbox = Handover[bool](asyncio.get_running_loop(), lambda ups: self._link_events(session, ups))
            info, handler = session.info, callback(lambda event: inbox.put(event.kind == zenoh.SampleKind.PUT))
            self._listener = await self._worker.run(
                lambda: info.declare_transport_events_listener(handler, history=True)
            )
        except zenoh.ZError as error:
            logger.debug("no link to a router: %s", error)
            await self._late.close()
            return False
        return True

    def _link_events(self, session: zenoh.Session, ups: list[bool]) -> None:
        for up in ups:  # a link that was lost in between is not what it was
            if session is self.session and up != self.linked:
                (self._linked.set if up else self._linked.clear)()
                logger.info("the link to a router is %s", "up" if up else "down")
                self._on_link(up)
