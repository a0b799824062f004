"""A node of a keyed network keeps to the newest edition of whom its members trust, and tells it to the others."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from labc.errors import LabcError, MembershipError
from labc.fabric.worker import Worker
from labc.security import Credentials
from labc.security.gossip import LET_OTHERS, Gossip
from labc.security.trust import MAX_BYTES

if TYPE_CHECKING:
    from labc.fabric import Fabric, Publication, SiteRouter, Wide

logger = logging.getLogger("labc.security")

_LOOK_EVERY = 0.5
"""Seconds between two looks at the file: `labc network revoke` and the other programs of this user write to it."""
_SPREADS_WITHIN = 0.3
"""Seconds for which a root that has sent a new edition leaves its links up."""
_AFTER_FAILURE = 10.0
_MAX_WAITING = 64
_MAX_NEWER = 32
"""Checked in a row. Who sends more than that hides a true one for a while; it is told again every 10 s."""


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
        self._newer: list[tuple[int, str]] = []
        """What came with higher numbers than this node's, and is not kept yet. Any member can make such up, so none
        takes the place of another."""
        self._wanted = 0
        """The highest number of which was told without the edition itself."""
        self._last_text = ""
        """The edition that came last."""
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
                self._do_what_nobody_did(loop.time())
                self._complained = False
            except (LabcError, OSError) as error:  # as when this user has left the network
                level = logging.DEBUG if self._complained else logging.WARNING
                self._complained = True
                logger.log(level, "whom to trust in %r can't be kept up to date: %s", self._credentials.network, error)
                await asyncio.sleep(_LOOK_EVERY)
            except Exception:  # as of a library that was replaced under this program
                logger.exception("whom to trust in %r can't be kept up to date", self._credentials.network)
                await asyncio.sleep(_AFTER_FAILURE)
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
        else:
            self._gossip.postpone("send", _later())
        for medium in self._media:
            medium.renew()

    def _do_what_nobody_did(self, now: float) -> None:
        """The root of this host may be another user's: it has not got this user's file, nor writes to it."""
        if self._gossip.is_due("send", now) and self._last_text != (text := self._trust.text()):
            self._tell(text)
        if self._gossip.is_due("want", now) and self._wanted > self._trust.number:
            self._wanted = 0
            if self._gossip.announces(now):
                self._tell("")

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
            except ValueError:
                continue
            self._last_text = told.text or self._last_text
            act = self._gossip.heard(told.number, bool(told.text), self._trust.number, now)
            if act == "take":
                if len(self._newer) < _MAX_NEWER and (told.number, told.text) not in self._newer:
                    self._newer.append((told.number, told.text))
                self._wake.set()
            elif act == "want":
                self._wanted = max(self._wanted, told.number)
                self._gossip.postpone("want", _later())
            elif act == "send" and self._is_root:
                self._tell(self._trust.text())
            elif act == "send":
                self._last_text = ""  # what comes from here on counts
                self._gossip.postpone("send", _later())

    async def _take_newer(self) -> None:
        if self._newer and not self._is_root:
            await asyncio.sleep(random.uniform(1, 1.5) * LET_OTHERS)
        newer, self._newer = self._newer, []
        refused = self.refused
        for number, text in newer:
            if number > self._credentials.read_trust().number:
                try:
                    await self._adopt(text)
                except MembershipError as error:
                    self.refused += 1
                    problem = error
        if self.refused > refused:
            logger.warning("%d editions of whom to trust were not taken: %s", self.refused - refused, problem)

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


def _later() -> float:
    """Not all at once."""
    return asyncio.get_running_loop().time() + random.uniform(1, 1.5) * LET_OTHERS
