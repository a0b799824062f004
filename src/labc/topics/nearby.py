"""Who subscribes for his host, or his group on it, alone. What they want is not said on the network: a token tells that
there is something, and who publishes on the same host asks."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from labc.directory import NodeRecord, Scope, matches, reaches
from labc.errors import LabcError
from labc.fabric import Declared, Fabric, TokenEvent

logger = logging.getLogger("labc.topics")

_ASK_AGAIN = 1.0
"""Seconds until one that was silent is asked again."""


class Near(NamedTuple):
    """A subscription of this node itself that is not for the whole network."""

    pattern: str
    scope: Scope
    holds: bool
    """Whether it holds publishers back."""
    sink: Any

    def wants(self, topic: str, here: NodeRecord, sender: NodeRecord) -> bool:
        return matches(self.pattern, topic) and reaches(self.scope, here, sender)


@dataclass(slots=True)
class _Taker:
    """A node of this host with such subscriptions."""

    numbers: set[str] = field(default_factory=set)
    """Of its tokens."""
    takes: list[tuple[str, bool]] | None = None
    """Patterns, and whether they hold publishers back; None: not known yet."""
    silent: bool = False
    """Whether it did not tell when it was asked: nobody waits for it again."""
    asking: asyncio.Task[None] | None = None
    asked_at: float = float("-inf")
    leaving: asyncio.TimerHandle | None = None


class Nearby:
    """``ask(node_id)`` asks another node for what :meth:`for_node` tells."""

    def __init__(
        self,
        here: NodeRecord,
        fabric: Fabric,
        ask: Callable[[str], Awaitable[Sequence[tuple[str, bool]]]],
        grace: float,
    ) -> None:
        self._here = here
        self._fabric = fabric
        self._ask = ask
        self._grace = grace
        self._loop = asyncio.get_running_loop()
        self._lock = asyncio.Lock()
        self._own: list[Near] = []
        self._number = 0
        self._token: Declared | None = None
        self._takers: dict[str, _Taker] = {}

    def __bool__(self) -> bool:
        """Whether there are any. From any thread."""
        return bool(self._own or self._takers)

    # Those of this node.

    async def add(self, near: Near) -> None:
        """In effect some milliseconds after the host's root knows of it: each publisher has to hear of it as well."""
        self._own = [*self._own, near]
        await self._announce(near)

    async def remove(self, sink: Any) -> None:
        for near in [near for near in self._own if near.sink is sink]:
            self._own = [other for other in self._own if other is not near]
            await self._announce(near)

    def own(self, topic: str, sender: NodeRecord) -> Iterator[Near]:
        """Those that take a message of this sender."""
        return (near for near in self._own if near.wants(topic, self._here, sender))

    def for_node(self, asker: NodeRecord) -> list[tuple[str, bool]]:
        """What another node may know of them: patterns, and whether they hold publishers back."""
        seen = [near for near in self._own if near.scope != "node" and reaches(near.scope, self._here, asker)]
        return sorted({(near.pattern, near.holds) for near in seen})

    async def _announce(self, change: Near) -> None:
        """A new token, whose number says that there is something new to ask for."""
        if change.scope == "node":
            return
        async with self._lock:
            old, self._token = self._token, None
            if any(near.scope != "node" for near in self._own):
                self._number += 1
                self._token = await self._fabric.declare_token(self._fabric.keys.near(self._here, self._number))
            if old is not None:
                await old.close()

    # Those of other nodes.

    def token(self, event: TokenEvent) -> None:
        if (parsed := self._fabric.keys.parse_near(event.key)) is None:
            return
        node_id, host_id, number = parsed
        if host_id != self._here.host_id or node_id == self._here.id:
            return
        if event.appeared:
            taker = self._takers.get(node_id) or _Taker()
            was_leaving, taker.leaving = taker.leaving, None
            if was_leaving:
                was_leaving.cancel()
            if number not in taker.numbers:
                taker.numbers = {number} if was_leaving else taker.numbers | {number}
                taker.takes, taker.silent, taker.asked_at = None, False, float("-inf")
            self._takers = {**self._takers, node_id: taker}
        elif node_id in self._takers:
            self._gone(node_id, self._takers[node_id], number)

    def takers(self, topic: str) -> list[str]:
        """The nodes to which a message on the topic is to be given, or may have to be: their ids, this one's among
        them. From any thread."""
        found = [self._here.id] if any(near.wants(topic, self._here, self._here) for near in self._own) else []
        for node_id, taker in self._takers.items():
            if taker.takes is None or any(matches(pattern, topic) for pattern, holds in taker.takes if not holds):
                found.append(node_id)
        return found

    @property
    def unknown(self) -> set[str]:
        """The nodes that have not told what they take. From any thread."""
        return {node_id for node_id, taker in self._takers.items() if taker.takes is None}

    def holders(self, topic: str) -> list[str]:
        """The nodes that want to be waited for. From any thread."""
        found = []
        if any(near.holds and near.wants(topic, self._here, self._here) for near in self._own):
            found.append(self._here.id)
        for node_id, taker in self._takers.items():
            if any(holds and matches(pattern, topic) for pattern, holds in taker.takes or ()):
                found.append(node_id)
        return found

    @property
    def known(self) -> bool:
        """Whether :meth:`learn` has nothing to do, for now. From any thread."""
        if not self._takers:  # mostly, and each publication asks
            return True
        due = time.monotonic() - _ASK_AGAIN
        return all(t.takes is not None or (t.silent and t.asked_at >= due) for t in self._takers.values())

    async def learn(self, within: float) -> None:
        """Ask those of whom it is not known what they take. Returns when they have told, or it takes too long."""
        deadline = self._loop.time() + within
        while asking := self._ask_unknown():
            if (left := deadline - self._loop.time()) <= 0:
                return
            await asyncio.wait(asking, timeout=left)

    def _ask_unknown(self) -> list[asyncio.Task[None]]:
        """What there is to wait for; again, when something new came while they were asked."""
        now = time.monotonic()
        for node_id, taker in self._takers.items():
            if taker.takes is None and taker.asking is None and now - taker.asked_at > _ASK_AGAIN:
                taker.asked_at = now
                taker.asking = self._loop.create_task(self._learn_of(node_id, taker), name="labc near subscribers")
        return [t.asking for t in self._takers.values() if t.asking is not None and not t.silent]

    def close(self) -> None:
        for taker in self._takers.values():
            if taker.asking is not None:
                taker.asking.cancel()
            if taker.leaving is not None:
                taker.leaving.cancel()

    async def _learn_of(self, node_id: str, taker: _Taker) -> None:
        numbers = set(taker.numbers)
        try:
            takes = [(pattern, holds) for pattern, holds in await self._ask(node_id)]
            if taker.numbers <= numbers:  # nothing new since
                taker.takes = takes
        except (LabcError, TimeoutError, ValueError, TypeError) as error:
            taker.silent = True
            logger.debug("the node %s does not tell what it takes: %s", node_id, error)
        finally:
            taker.asking = None

    def _gone(self, node_id: str, taker: _Taker, number: str) -> None:
        """A change of root takes the last token away for a moment."""
        if len(taker.numbers) > 1:
            taker.numbers.discard(number)
        elif number in taker.numbers and taker.leaving is None:
            taker.leaving = self._loop.call_later(self._grace, self._forget, node_id, taker)

    def _forget(self, node_id: str, taker: _Taker) -> None:
        taker.leaving = None
        if not self._fabric.linked:
            taker.leaving = self._loop.call_later(self._grace, self._forget, node_id, taker)
        elif self._takers.get(node_id) is taker:
            self._takers = {key: other for key, other in self._takers.items() if other is not taker}
