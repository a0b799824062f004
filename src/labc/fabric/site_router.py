"""A router between sites: it passes what has the scope "wan" from one to the others, and nothing else."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

import zenoh

from labc.directory import NodeRecord
from labc.errors import FabricError
from labc.fabric.engine import close_router, open_router_link, open_site_router
from labc.fabric.keys import Keys
from labc.fabric.lasting import LastingMedium, LateSession
from labc.fabric.medium import CLOSE_WITHIN
from labc.fabric.router_link import endpoint, router_endpoints
from labc.fabric.worker import Worker
from labc.security import Credentials
from labc.settings import RouterPlace, Settings

logger = logging.getLogger("labc.fabric")

_TAKE_AGAIN = 0.2
"""Seconds until the port is tried again, when whom to trust has changed."""


class SiteRouter(LastingMedium):
    """``listen``: where it takes links. It is a medium itself, for what routers have to say and to hear.

    Raises:
        SettingsError: ``listen`` or the setting ``routers`` does not fit the network.
    """

    def __init__(
        self, settings: Settings, here: NodeRecord, listen: RouterPlace, credentials: Credentials | None
    ) -> None:
        self._settings = settings
        self._credentials = credentials
        self.address = endpoint(listen, settings, credentials, "--listen")
        self._others = router_endpoints(settings, credentials)
        keys = Keys(settings.network, "wan")
        worker = Worker("labc router")
        super().__init__(
            here, keys, worker, lambda: open_router_link(settings, credentials, [self._for_itself(listen)])
        )
        self._router = LateSession(worker, close_router)

    @property
    def linked(self) -> bool:
        return self.session is not None

    @property
    def session(self) -> zenoh.Session | None:
        return self._router.session

    @property
    def root_port(self) -> int | None:
        """It speaks for its host, as a root does."""
        return 0 if self.session is not None else None

    async def open(self) -> None:
        """Raises FabricError: it can't take links there."""
        try:
            await self._open_router()
        except zenoh.ZError as error:
            logger.debug("the engine says: %s", error)
            raise FabricError(
                f"nothing can listen on {self.address}: the port is in use, or this computer has no such address "
                "(choose another one with --listen)"
            ) from None
        await self.answer(self.keys.roots, self._is_there)

    async def close(self) -> None:
        """Takes at most 0.6 s."""
        await self.leave(self._router.close)

    # Within.

    async def _is_there(self, _: bytes) -> bytes:
        return self.address.encode()

    def _for_itself(self, listen: RouterPlace) -> str:
        host = "127.0.0.1" if listen.host == "0.0.0.0" else listen.host
        return f"{self.address.partition('/')[0]}/{host}:{listen.port}"

    async def _open_router(self) -> None:
        await self._router.open(
            lambda: open_site_router(self._settings, self._credentials, [self.address], self._others)
        )

    async def _renew(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_WITHIN):
                await self._router.close()
        self.forget_things()
        complained = False
        while self.session is None:
            try:
                await self._open_router()
            except zenoh.ZError as error:
                level = logging.DEBUG if complained else logging.WARNING
                complained = True
                logger.log(level, "the router can't listen again on %s yet: %s", self.address, error)
                await asyncio.sleep(_TAKE_AGAIN)
        await self.declare_all()
