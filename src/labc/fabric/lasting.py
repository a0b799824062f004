"""A medium whose session comes late, or is opened anew: what is declared waits for it, and is declared again."""

from __future__ import annotations

import asyncio
import logging
import threading
from abc import abstractmethod
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import zenoh

from labc.directory import NodeRecord
from labc.errors import ClosedError, FabricError
from labc.fabric.keys import Keys
from labc.fabric.medium import Declare, Declared, Get, Medium, TokenEvent
from labc.fabric.worker import Worker

logger = logging.getLogger("labc.fabric")


def _close(session: zenoh.Session) -> None:
    session.close()  # type: ignore[no-untyped-call]


class LateSession:
    """A session that is opened and closed again and again, off the loop. ``session``: None, if there is none now."""

    def __init__(self, worker: Worker, close: Callable[[zenoh.Session], None] | None = None) -> None:
        self._worker = worker
        self._close = close or _close
        self._lock = threading.Lock()
        self._opened: list[zenoh.Session] = []
        """What is opened is kept at once, as who waits for it may be cancelled."""
        self._closings = 0
        self.session: zenoh.Session | None = None

    async def open(self, make: Callable[[], zenoh.Session]) -> zenoh.Session:
        """Raises zenoh.ZError; ClosedError: it was closed meanwhile."""
        closings = self._closings

        def make_and_keep() -> zenoh.Session:
            session = make()
            with self._lock:
                if closings == self._closings:
                    self._opened.append(session)
                    return session
            self._close(session)
            raise ClosedError("the session was closed before it was open")

        self.session = session = await self._worker.run(make_and_keep)
        return session

    async def close(self) -> None:
        """There is none from now on, and what is being opened is closed when it is there. It returns when that is done
        for one that was open; the next one need not wait for it, as the engine may take ten seconds."""
        self.session = None
        with self._lock:
            self._closings += 1
            opened, self._opened = self._opened, []
        if opened:
            closing = Worker("labc link closes")
            jobs = [closing.submit(partial(self._close, session)) for session in opened]
            closing.close()
            for job in jobs:
                await job

    def engine_objects(self) -> list[Any]:
        return list(self._opened)


class _Watch:
    """Knows which tokens are there, so that they can vanish with the session."""

    def __init__(self, consume: Callable[[list[TokenEvent]], None]) -> None:
        self._consume = consume
        self._there: dict[str, None] = {}
        self.is_over: Callable[[], bool] = lambda: False

    def take(self, events: list[TokenEvent]) -> None:
        for event in events:
            if event.appeared:
                self._there[event.key] = None
            else:
                self._there.pop(event.key, None)
        self._consume(events)

    def vanish(self) -> None:
        there, self._there = self._there, {}
        self._consume([TokenEvent(key, appeared=False) for key in there])


class LastingMedium(Medium):
    """Say :meth:`declare_all` when there is a new session, and :meth:`forget_things` when the old one is closed.

    Those below say in ``_renew`` how they close the one and open the other.
    """

    def __init__(self, here: NodeRecord, keys: Keys, worker: Worker, open_link: Callable[[], zenoh.Session]) -> None:
        super().__init__(here, keys, worker, open_link)
        self._wishes: list[tuple[Declare, Declared]] = []
        self._declaring = asyncio.Lock()
        self._watches: list[_Watch] = []
        self._stale = self._leaving = False
        self._renewing: asyncio.Task[None] | None = None

    def renew(self) -> None:
        """Drop all links, and make those again that are still good, as when whom the network trusts has changed.

        Said again meanwhile, it is done once more afterwards.
        """
        self._stale = True
        if not self._leaving and (self._renewing is None or self._renewing.done()):
            self._renewing = self._loop.create_task(self._keep_fresh(), name="labc starts afresh")

    async def leave(self, close_place: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._leaving = True
        if self._renewing is not None:
            self._renewing.cancel()
        await super().leave(close_place)

    async def _keep_fresh(self) -> None:
        try:
            while self._stale:
                self._stale = False
                await self._renew()
        except ClosedError:
            pass
        except FabricError as error:
            logger.warning("what was declared to a router can't be told to it again: %s", error)

    @abstractmethod
    async def _renew(self) -> None: ...

    async def _declare(self, declare: Declare) -> Declared:
        declared = Declared(self, None)
        self._wishes = [wish for wish in self._wishes if not wish[1].closed]
        self._wishes.append((declare, declared))
        try:
            await self._fulfil([(declare, declared)])
        except BaseException:
            declared.closed = True  # nobody will close it
            raise
        return declared

    async def watch_tokens(self, key: str, consume: Callable[[list[TokenEvent]], None]) -> Declared:
        watch = _Watch(consume)
        declared = await super().watch_tokens(key, watch.take)
        self._watches = [each for each in self._watches if not each.is_over()]
        watch.is_over = lambda: declared.closed
        self._watches.append(watch)
        return declared

    async def show_presence(self) -> None:
        self._presence_wanted = True
        if (session := self.session) is not None:
            with self._unless_gone(session):
                await super().show_presence()

    async def hide_presence(self) -> None:
        """Take this node's own token away."""
        self._presence_wanted = False
        if (session := self.session) is not None:
            with self._unless_gone(session):
                await self._run(self.withdraw_presence)

    async def undeclare(self, thing: Any) -> None:
        if (session := self.session) is None:
            self._things.discard(thing)
            return
        with self._unless_gone(session):
            await super().undeclare(thing)

    async def declare_all(self) -> None:
        """All that was declared and not closed. Raises FabricError, ClosedError."""
        await self._fulfil(self._wishes)
        if self._presence_wanted:
            await self.show_presence()

    def forget_things(self) -> None:
        """They ended with their session, and with it all tokens that were watched."""
        for watch in self._watches:
            if not watch.is_over():
                watch.vanish()
        for _, declared in self._wishes:
            declared.lose()
        self._things.clear()
        self._publishing.renew()
        self._presence = None

    async def _collect(self, get: Get, take: Callable[[Any], None], timeout: float) -> None:
        """Nobody answers while there is no link."""
        if self.linked and (session := self.session) is not None:
            with self._unless_gone(session):
                await super()._collect(get, take, timeout)

    async def _fulfil(self, wishes: list[tuple[Declare, Declared]]) -> None:
        async with self._declaring:
            for declare, declared in wishes:
                session = self.session
                if session is None or declared.closed or declared.is_there:
                    continue
                with self._unless_gone(session):
                    thing = await self._new_thing(session, declare)
                    if session is self.session:
                        await declared.give(thing)

    @contextmanager
    def _unless_gone(self, session: zenoh.Session) -> Iterator[None]:
        """What fails since this session has gone meanwhile is no failure: the next one is told of everything anew."""
        try:
            yield
        except (ClosedError, FabricError):
            if session is self.session:
                raise
