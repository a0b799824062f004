"""Who could be asked for a name, and which of them is."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress

import msgspec

from labc.directory import (
    CORE,
    SCOPES,
    WIDEST,
    Addressing,
    Candidate,
    NodeRecord,
    Rule,
    distance,
    equals_of_the_first,
    near_names,
    order_candidates,
)
from labc.errors import CallTimeoutError, NotFoundError
from labc.fabric import Fabric, Neighbourhood
from labc.functions.asked import Asked, Tries
from labc.functions.options import Options
from labc.functions.provider import Provider
from labc.lanes import Pool
from labc.settings import Settings

_NEAR_WITHIN = 2.0
"""Seconds in which the network is to tell which names there are, for "did you mean"."""

_BEREAVED_WAIT = 0.3
"""How long a call waits for a name whose last provider was lost, instead of ``find_timeout``: long enough for a
change of root, short enough to tell the caller at once."""

_MAX_TURNS = 4096

SETTLE_WAIT = 0.5
"""How long the network may take to tell who offers a name, even for a caller who waits for nobody to appear."""


class _Route(msgspec.Struct):
    """Equal providers that nobody doubts."""

    nodes: list[NodeRecord]
    rule: Rule
    turns: Iterator[int]


class Finder:
    """Finds providers by name, and chooses among them."""

    def __init__(
        self,
        here: NodeRecord,
        settings: Settings,
        fabric: Fabric,
        neighbourhood: Neighbourhood,
        pool: Pool,
        provider: Provider,
        addressing: Addressing,
        learn_endpoints: Callable[[], Awaitable[None]],
    ) -> None:
        self._here = here
        self._learn_endpoints = learn_endpoints
        self._addressing = addressing
        self._settings = settings
        self._fabric = fabric
        self._neighbourhood = neighbourhood
        self._directory = neighbourhood.directory
        self._pool = pool
        self._provider = provider
        self._routes: dict[tuple[str, tuple[object, ...]], _Route] = {}
        """By name, and all on which it depends who is asked. Emptied when anything changes."""
        self._turns: dict[tuple[str, tuple[object, ...]], Iterator[int]] = {}
        """The turns of "round-robin", which go on when somebody comes or goes."""
        neighbourhood.on_change = self.forget_routes

    def forget_routes(self) -> None:
        """Somebody came or went, or offers something else than before."""
        self._routes.clear()

    async def learn_endpoints(self, options: Options) -> None:
        """Before anything is looked up by an address or a port: these are known by asking."""
        now = time.monotonic()
        for host, node in ((options.host, options.node), (options.perspective, None)):
            if self._addressing.needs_endpoints(host, node, now, (each.id for each in self._directory.nodes())):
                await self._learn_endpoints()
                return

    def knows(self, node: NodeRecord) -> bool:
        """Whether it is this one, or is known to be there."""
        return node.id == self._here.id or self._directory.node(node.id) is not None

    def near(self, asked: Asked) -> NodeRecord | None:
        """The provider to ask by what earlier calls have found, if nothing has changed since. From any thread."""
        route = self._routes.get((asked.name, asked.options.route))
        if route is None:
            return None
        return self._pick(route)

    def _pick(self, route: _Route) -> NodeRecord:
        nodes = route.nodes
        if len(nodes) == 1:
            return nodes[0]
        match route.rule.resolve:
            case "random":
                return random.choice(nodes)
            case "round-robin":
                return nodes[next(route.turns) % len(nodes)]
        busy = self._pool.busy
        return min(nodes, key=lambda node: (busy(node.id), random.random()))

    async def next(self, asked: Asked, tries: Tries) -> NodeRecord:
        """Whom to ask now: another one than where it may have run already, if there is one that nobody doubts."""
        if (node := tries.first) is not None:
            tries.first = None
            return node
        if tries.ran:
            others = self.candidates(asked, tries.over | tries.ran)
            if others and not others[0].doubtful:
                return others[0].node
        return await self.find_one(asked, tries.over)

    async def find_one(self, asked: Asked, tried: set[str]) -> NodeRecord:
        """The best provider that was not tried yet, as soon as there is one."""
        if not tried and (node := self.near(asked)) is not None:
            return node
        if candidates := self.candidates(asked, tried):
            return self._chosen(asked, candidates, tried)
        with self._neighbourhood.using(asked.name):
            return await self._wait_for_one(asked, tried)

    def _chosen(self, asked: Asked, candidates: list[Candidate], tried: set[str]) -> NodeRecord:
        rule = self._rule(asked.options)
        if tried or not (nodes := equals_of_the_first(candidates, rule)):
            return candidates[0].node
        key = asked.name, asked.options.route
        if len(self._turns) >= _MAX_TURNS:
            self._turns.clear()
        route = _Route(nodes, rule, self._turns.setdefault(key, itertools.count()))
        options = asked.options
        if not (
            self._addressing.changes(options.host, options.node) or self._addressing.changes(options.perspective, None)
        ):
            self._routes[key] = route
        return self._pick(route)

    def _rule(self, options: Options) -> Rule:
        """How to choose. Raises NotFoundError: there is no such perspective."""
        place = self._here
        if (named := options.perspective) is not None:
            nodes = [self._here, *self._directory.nodes()]
            here = [n for n in nodes if self._addressing.is_at(n, named, None)]
            if here:  # a host, and none of its nodes
                place = NodeRecord("", here[0].host_id, here[0].host, "", away=here[0].away)
            elif found := [n for n in nodes if self._addressing.is_at(n, None, named)]:
                place = found[0]
            else:
                raise self.no_such_node(named)
        return Rule(place, options.resolve or "nearest", options.order or "bottom-up")

    def no_such_node(self, named: str) -> NotFoundError:
        """Nobody is there of that name, or on a host of that name."""
        nodes = self._directory.nodes()
        near = near_names(named, {name for node in nodes for name in (node.name, node.host)})
        return NotFoundError(named, near=near, nodes=len(nodes), hosts=_count_hosts(nodes), kind="node")

    async def _wait_for_one(self, asked: Asked, tried: set[str]) -> NodeRecord:
        find_timeout = asked.options.find_timeout
        patience = self.patience(asked.options)
        started = time.monotonic()
        await self.watch(asked, min(started + max(patience, SETTLE_WAIT), asked.deadline))
        while True:
            if candidates := self.candidates(asked, tried):
                return self._chosen(asked, candidates, tried)
            lost = self._directory.last_lost(asked.name)
            wait = min(patience, _BEREAVED_WAIT) if lost and find_timeout is None else patience
            until = started + wait
            if time.monotonic() >= min(until, asked.deadline) or not await self._neighbourhood.changed(
                min(until, asked.deadline)
            ):
                if candidates := self.candidates(asked, tried):
                    return self._chosen(asked, candidates, tried)
                if time.monotonic() >= asked.deadline < until:
                    raise CallTimeoutError(asked.name, asked.timeout, ran="no")
                raise await self.not_found(asked, lost)

    def patience(self, options: Options) -> float:
        return self._settings.find_timeout if options.find_timeout is None else options.find_timeout

    async def watch(self, asked: Asked, until: float) -> None:
        """Returns when all who offer it by now are known, or it is too late for that."""
        if asked.name.startswith(CORE):
            return
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._neighbourhood.watch(asked.name)

    def candidates(self, asked: Asked, tried: set[str] | None = None) -> list[Candidate]:
        """Who offers it, or is named and may offer it unlisted, in the order in which to ask them."""
        options, rule = asked.options, self._rule(asked.options)
        widest = SCOPES.index(options.scope or WIDEST)
        wanted = [
            c
            for c in self._offering(asked)
            if self._addressing.is_at(c.node, options.host, options.node)
            and distance(rule.place, c.node) <= widest
            and (not tried or c.node.id not in tried)
        ]
        return order_candidates(wanted, rule, random.random)

    def _offering(self, asked: Asked) -> list[Candidate]:
        name, here = asked.name, self._here
        if name.startswith(CORE):  # every node does, without saying so
            everybody = self._directory.everybody(self._pool.busy)
            return [c for c in everybody if c.node.id != here.id] + [Candidate(here)]
        found = {c.node.id: c for c in self._directory.candidates(name, self._pool.busy)}
        if asked.options.names_one:
            found = {c.node.id: c for c in self._directory.everybody(self._pool.busy)} | found
        found.pop(here.id, None)
        if self._provider.offers(name):
            found[here.id] = Candidate(here)
        return list(found.values())

    async def not_found(self, asked: Asked, lost: NodeRecord | None) -> NotFoundError:
        name, options = asked.name, asked.options
        nodes = self._directory.nodes()
        details = []
        if lost is not None:
            details.append(f"its last provider, {lost}, is gone")
        elsewhere = self._directory.candidates(name)
        if elsewhere and (options.host or options.node):
            node = None if options.node is None else str(options.node)
            wanted = " ".join(filter(None, (node, options.host and f"on host {options.host}")))
            details.append(f"not at {wanted}; it is offered by " + ", ".join(str(c.node) for c in elsewhere[:5]))
        near: list[str] = []
        if not elsewhere and lost is None:
            near = near_names(name, await self._neighbourhood.offered(_NEAR_WITHIN) | self._provider.listed())
        if not self._fabric.linked:
            details.append("this node has no link to the network just now")
        elif self._neighbourhood.has_no_router and _is_wide(options):
            details.append(
                "there is no link to a router just now (see the setting routers), so that other sites don't count"
            )
        elif options.scope not in (None, WIDEST, "network"):
            details.append(f"with scope {options.scope!r} only what is so near counts")
        elif _count_hosts(nodes) <= 1 and not (elsewhere or near or lost):
            details.append(
                "no other host was seen; if there should be one, multicast may be blocked, or it uses another network "
                f"name than {self._settings.network!r}: `labc doctor` finds out"
            )
        return NotFoundError(
            name,
            near=near,
            nodes=len(nodes),
            hosts=_count_hosts(nodes),
            detail="; ".join(details),
        )


def _is_wide(options: Options) -> bool:
    """Whether other sites count."""
    return (options.scope or WIDEST) == "wan"


def _count_hosts(nodes: Sequence[NodeRecord]) -> int:
    return len({node.host_id for node in nodes})
