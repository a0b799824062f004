"""A medium whose session comes late, or is opened anew: what is declared waits for it, and is declared again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import zenoh

from labc.directory import NodeRecord
from labc.fabric.keys import Keys
from labc.fabric.medium import Declared, Medium, TokenEvent
from labc.fabric.worker import Worker


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
    """Say :meth:`declare_all` when there is a new session, and :meth:`forget_things` when the old one is closed."""

    def __init__(self, here: NodeRecord, keys: Keys, worker: Worker, open_link: Callable[[], zenoh.Session]) -> None:
        super().__init__(here, keys, worker, open_link)
        self._wishes: list[tuple[Callable[[], Any], Declared]] = []
        self._declaring = asyncio.Lock()
        self._watches: list[_Watch] = []

    async def _declare(self, declare: Callable[[], Any]) -> Declared:
        declared = Declared(self, None)
        self._wishes = [wish for wish in self._wishes if not wish[1].closed]
        self._wishes.append((declare, declared))
        await self._fulfil([(declare, declared)])
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
        if self.session is not None:
            await super().show_presence()

    async def hide_presence(self) -> None:
        """Take this node's own token away."""
        self._presence_wanted = False
        if self.session is not None:
            await self._run(self.withdraw_presence)

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

    async def _fulfil(self, wishes: list[tuple[Callable[[], Any], Declared]]) -> None:
        async with self._declaring:
            for declare, declared in wishes:
                if self.session is not None and not (declared.closed or declared.is_there):
                    await declared.give(await self._new_thing(declare))
