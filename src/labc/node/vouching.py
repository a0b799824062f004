"""A node of a keyed network keeps to the newest edition of whom its members trust, and tells it to the others."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from labc.errors import LabcError
from labc.fabric.worker import Worker
from labc.security import Credentials
from labc.security.gossip import Gossip
from labc.security.trust import MAX_BYTES

if TYPE_CHECKING:
    from labc.fabric import Fabric, Publication, SiteRouter, Wide

logger = logging.getLogger("labc.security")

_LOOK_EVERY = 0.5
"""Seconds between two looks at the file: `labc network revoke` and the other programs of this user write to it."""
_LET_OTHERS = 1.0
"""Seconds that a node which is no root leaves to that of its host to keep a new edition, which is the same file."""
_SPREADS_WITHIN = 0.3
"""Seconds for which a root that has sent a new edition leaves its links up."""
_MAX_WAITING = 64


class _Told(msgspec.Struct, array_like=True):
    number: int
    text: str
    """The edition, or nothing: then it is only told which one is here."""


class Vouching:
    """Opened and closed with its node, on its loop. ``close_lanes`` closes those to all but these seats.

    ``others``: what else tells of newer editions, and hears of them.
    """

    def __init__(
        self,
        credentials: Credentials,
        first: Fabric | SiteRouter,
        others: Sequence[Wide],
        close_lanes: Callable[[frozenset[int]], None],
    ) -> None:
        self._credentials = credentials
        self._first = first
        self._media: list[Fabric | SiteRouter | Wide] = [first, *others]
        self._close_lanes = close_lanes
        self._gossip = Gossip()
        self._trust = credentials.read_trust()
        self._file: object = None
        self._newer: dict[int, str] = {}
        """What came and is not kept yet, by number: the newest."""
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._complained = False
        self.refused = 0
        """Editions that came, and were not signed by the authority."""

    async def open(self) -> None:
        for medium in self._media:
            await medium.subscribe(medium.keys.trust, self._arrived, _MAX_WAITING)
        self._task = asyncio.create_task(self._keep(), name="labc vouching")

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def link_changed(self) -> None:
        """This node has a link to a root anew, which may know more."""
        self._gossip.hurry()
        self._wake.set()

    @property
    def _is_root(self) -> bool:
        """Whether it speaks for its host."""
        return self._first.root_port is not None

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                await self._take_newer()
                await self._look()
                if self._is_root and self._gossip.announces(loop.time()):
                    self._tell("")
                self._complained = False
            except (LabcError, OSError) as error:  # as when this user has left the network
                level = logging.DEBUG if self._complained else logging.WARNING
                self._complained = True
                logger.log(level, "whom to trust in %r can't be kept up to date: %s", self._credentials.network, error)
                await asyncio.sleep(_LOOK_EVERY)
            self._wake.clear()
            try:
                async with asyncio.timeout(_LOOK_EVERY):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _look(self) -> None:
        """Has the file changed?"""
        status = self._credentials.trust.stat()
        file = status.st_mtime_ns, status.st_ino
        if file == self._file:
            return
        newer, self._file = self._credentials.read_trust(), file
        if newer.number <= self._trust.number:
            return
        self._trust = newer
        logger.info("the network %r trusts by edition %d now", self._credentials.network, newer.number)
        if self._credentials.about.seat not in newer.seats:
            logger.error("this host's membership of the network %r was revoked", self._credentials.network)
        self._close_lanes(newer.seats)
        if self._is_root:
            if self._gossip.sends(newer.number, asyncio.get_running_loop().time()):
                self._tell(newer.text())
            await asyncio.sleep(_SPREADS_WITHIN)
        for medium in self._media:
            medium.renew()

    def _tell(self, text: str) -> None:
        told = msgspec.msgpack.encode(_Told(self._trust.number, text))
        for medium in self._media:
            medium.publish_reliably(medium.keys.trust, told)

    def _arrived(self, publications: list[Publication]) -> None:
        now = asyncio.get_running_loop().time()
        for publication in publications:
            if len(publication.payload) > MAX_BYTES:
                continue
            try:
                told = msgspec.msgpack.decode(publication.payload, type=_Told)
            except msgspec.MsgspecError:
                continue
            act = self._gossip.heard(told.number, bool(told.text), self._trust.number, now)
            if act == "take":
                self._newer = {told.number: told.text, **self._newer}
                self._newer = dict([max(self._newer.items())])
                self._wake.set()
            elif act == "send" and self._is_root:
                self._tell(self._trust.text())

    async def _take_newer(self) -> None:
        newer, self._newer = self._newer, {}
        for number, text in newer.items():
            if not self._is_root:
                await asyncio.sleep(random.uniform(1, 1.5) * _LET_OTHERS)
            if number > self._credentials.read_trust().number:
                try:
                    await self._adopt(text)
                except LabcError as error:
                    self.refused += 1
                    logger.warning("an edition of whom to trust was not taken: %s", error)

    async def _adopt(self, text: str) -> None:
        """In a thread: the library takes its time to load."""

        def check_and_keep() -> None:
            from labc.security.authority import adopt

            adopt(self._credentials, text)

        worker = Worker("labc vouching")
        try:
            await worker.run(check_and_keep)
        finally:
            worker.close()
