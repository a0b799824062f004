"""Which nodes have subscribers that hold the publishers of a topic back, as a medium tells it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from labc.directory import matches
from labc.fabric import Declared, Medium, TokenEvent

_Holder = tuple[str, str]
"""Node id and pattern."""


class Holders:
    """Of one medium; ``here`` is the id of this node, ``grace`` the seconds for which one that vanished is kept."""

    def __init__(self, medium: Medium, here: str, grace: float) -> None:
        self._medium = medium
        self._here = here
        self._grace = grace
        self._own: dict[str, Declared] = {}
        """The token of each pattern for which publishers are held back here."""
        self._all: frozenset[_Holder] = frozenset()
        self._leaving: dict[_Holder, asyncio.TimerHandle] = {}

    @property
    def none(self) -> bool:
        """Whether there are none. From any thread."""
        return not self._all

    async def add(self, pattern: str) -> None:
        """Publishers are held back here, from now on."""
        if pattern not in self._own:
            self._own[pattern] = await self._medium.declare_token(self._medium.keys.hold(self._here, pattern))

    async def remove(self, pattern: str) -> None:
        if (token := self._own.pop(pattern, None)) is not None:
            await token.close()

    def of(self, topic: str) -> set[str]:
        """The ids of the nodes. From any thread."""
        return {node_id for node_id, pattern in self._all if matches(pattern, topic)}

    def tokens(self, events: Sequence[TokenEvent]) -> None:
        for event in events:
            if (holder := self._medium.keys.parse_hold(event.key)) is None:
                continue
            if timer := self._leaving.pop(holder, None):
                timer.cancel()
            if event.appeared:
                self._all |= {holder}
            else:
                self._forget_later(holder)

    def close(self) -> None:
        for timer in self._leaving.values():
            timer.cancel()

    def _forget_later(self, holder: _Holder) -> None:
        """A change of root takes the token away for a moment; a message to one that is gone does no harm."""
        loop = asyncio.get_running_loop()
        self._leaving[holder] = loop.call_later(self._grace, self._forget, holder)

    def _forget(self, holder: _Holder) -> None:
        if self._medium.linked:
            del self._leaving[holder]
            self._all -= {holder}
        else:
            self._forget_later(holder)
