"""The asking side of calls: find providers, choose one, ask it, and go on to the next when it is lost."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec

from labc.directory import (
    CORE,
    SCOPES,
    WIDEST,
    Addressing,
    Candidate,
    NodeRecord,
    Rule,
    Who,
    distance,
    equals_of_the_first,
    near_names,
    order_candidates,
)
from labc.errors import CallTimeoutError, LabcError, NotFoundError, PeerLostError, Ran, RemoteError
from labc.fabric import Fabric, Neighbourhood
from labc.functions.context import find_current_call
from labc.functions.options import Options
from labc.functions.provider import Provider
from labc.lanes import Answer, DeadlineError, Lane, Pool
from labc.settings import Settings
from labc.wire import Body, decode, encode_arguments

_NEAR_WITHIN = 2.0
"""Seconds in which the network is to tell which names there are, for "did you mean"."""
_BEREAVED_WAIT = 0.3
"""How long a call waits for a name whose last provider was lost, instead of ``find_timeout``: long enough for a
change of root, short enough to tell the caller at once."""

_ROOM_WAIT = 10.0
"""How long a call waits for room on a lane that takes nothing any more, however long it may take itself."""

_LOOK_AGAIN = 0.05
"""Seconds between two questions to a node for what it does not list."""

_MESSAGE_WITHIN = 5.0
"""How long those whom `call_publish` does not ask may take to take the message."""

_MAX_TURNS = 4096

_SETTLE_WAIT = 0.5
"""How long the network may take to tell who offers a name, even for a caller who waits for nobody to appear."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one node answered to ``call_all``: a value, or the error."""

    node: str
    host: str
    value: Any = None
    error: LabcError | None = None

    @property
    def ok(self) -> bool:
        return self.error is None


class Tries:
    """How often a call may still be lost, whom not to ask for it again, and what to say when nobody is left."""

    __slots__ = ("denied", "first", "left", "over", "problem", "ran")

    def __init__(self, retry: int) -> None:
        self.left = 1 + retry
        self.over: set[str] = set()
        self.ran: set[str] = set()
        """Those that were lost when it may have run there."""
        self.first: NodeRecord | None = None
        """Whose turn it is, if that is decided already."""
        self.denied: NotFoundError | None = None
        """What the one that was named says of it."""
        self.problem: PeerLostError | None = None
        """One after which the call may have run says more than one after which it has not."""

    def lost(self, error: PeerLostError) -> None:
        if error.ran != "no":
            self.left -= 1
        elif self.problem is not None and self.problem.ran != "no":
            return
        self.problem = error


class Detour(Exception):
    """A call can't go the direct way, or was lost on it: :meth:`Caller.call` has to go on."""

    def __init__(self, tries: Tries) -> None:
        self.tries = tries


class _Route(msgspec.Struct):
    """Equal providers that nobody doubts."""

    nodes: list[NodeRecord]
    rule: Rule
    turns: Iterator[int]


class Asked(msgspec.Struct, frozen=True, gc=False):
    """One call, checked and encoded once, however many are asked."""

    name: str
    arguments: Body
    options: Options
    timeout: float
    deadline: float
    for_whom: Callable[[Who], None] | None = None
    """Raises RefusedError: it is not for who is at the other end of that lane. Without: it is for whoever is there."""

    @property
    def remaining(self) -> float:
        return max(0.0, self.deadline - time.monotonic())


class Caller:
    """Calls functions by name, wherever they are."""

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

    def prepare(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Options) -> Asked:
        """A call, checked and encoded. From any thread.

        Raises:
            CarryError: an argument can't be carried.
        """
        timeout = self._settings.timeout if options.timeout is None else options.timeout
        context = find_current_call()
        if context is not None and context.remaining is not None:
            timeout = min(timeout, context.remaining)  # who called this function will not wait longer
        return Asked(name, encode_arguments(args, kwargs), options, timeout, time.monotonic() + timeout)

    async def call(self, asked: Asked, tries: Tries | None = None) -> Any:
        """The answer of one provider. ``tries``: what :meth:`call_directly` has tried."""
        return (await self._call(asked, tries or Tries(asked.options.retry)))[1]

    async def call_publish(self, asked: Asked, deliver: Callable[[NodeRecord], Awaitable[None]]) -> Any:
        """The answer of one provider, when all the others have been given the same with ``deliver``, which see to it
        that who answered after others had failed gets it once."""
        with self._neighbourhood.using(asked.name):
            await self._watch(asked, min(time.monotonic() + self._patience(asked.options), asked.deadline))
            tries = Tries(asked.options.retry)
            failed: RemoteError | None = None
            value: Any = None
            try:
                chosen, value = await self._call(asked, tries)
                tries.ran.add(chosen.id)
            except RemoteError as error:  # it ran, and this is the answer
                failed = error
            others = [c.node for c in self._candidates(asked) if c.node.id not in tries.ran]

        async def give(node: NodeRecord) -> None:
            with suppress(LabcError, TimeoutError):
                async with asyncio.timeout(_MESSAGE_WITHIN):
                    await deliver(node)

        await asyncio.gather(*map(give, others))
        if failed is not None:
            raise failed
        return value

    async def learn_endpoints(self, options: Options) -> None:
        """Before anything is looked up by an address or a port: these are known by asking."""
        now = time.monotonic()
        for host, node in ((options.host, options.node), (options.perspective, None)):
            if self._addressing.needs_endpoints(host, node, now, (each.id for each in self._directory.nodes())):
                await self._learn_endpoints()
                return

    async def _call(self, asked: Asked, tries: Tries) -> tuple[NodeRecord, Any]:
        await self.learn_endpoints(asked.options)
        patience = time.monotonic() + min(self._patience(asked.options), asked.remaining)
        while tries.left:
            try:
                node = await self._next(asked, tries)
            except NotFoundError as error:
                raise tries.problem or tries.denied or error from None
            try:
                return node, await self._ask(asked, node)
            except RemoteError:
                tries.ran.add(node.id)
                raise
            except NotFoundError as error:  # withdrawn a moment ago, or not listed and not there yet
                self._neighbourhood.deny(asked.name, node.id)
                if asked.options.names_one and time.monotonic() < patience:
                    await asyncio.sleep(_LOOK_AGAIN)
                    continue
                tries.over.add(node.id)
                tries.denied = error if asked.options.names_one else None
            except PeerLostError as error:
                tries.lost(error)
                if error.ran != "no":
                    tries.ran.add(node.id)
                elif node.id == self._here.id or self._directory.node(node.id):
                    # Otherwise it may come back, with a new root, while another provider is waited for.
                    tries.over.add(node.id)
                    if asked.options.find_timeout is None and not self._candidates(asked, tries.over):
                        break
        assert tries.problem is not None
        raise tries.problem from None

    def call_directly(self, asked: Asked) -> Any:
        """The same in the calling thread, by a lane of its own.

        Raises:
            Detour: :meth:`call` has to do it.
        """
        tries = Tries(asked.options.retry)
        if (node := self._near(asked)) is None or node is self._here or not asked.remaining:
            tries.first = node
            raise Detour(tries)
        lane = None
        try:
            if (lane := self._pool.direct_lane(node, asked.deadline)) is None:
                tries.first = node
                raise Detour(tries)
            try:
                answer = lane.call(asked.name, asked.arguments, asked.deadline)
            finally:
                self._pool.direct.give_back(lane)
        except PeerLostError as error:
            if error.ran != "no":
                tries.ran.add(node.id)
            if lane is None or not lane.usable:  # otherwise it is an answer: the process of a function died
                self._pool.direct_lane_lost(node.id)
            tries.lost(error)
            raise Detour(tries) from None
        except NotFoundError:
            raise Detour(tries) from None
        except DeadlineError:
            raise self._too_late(asked, node) from None
        return decode(answer.head, answer.buffers)

    def forget_routes(self) -> None:
        """Somebody came or went, or offers something else than before."""
        self._routes.clear()

    async def call_all(
        self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Options
    ) -> list[Outcome]:
        await self.learn_endpoints(options)
        asked = self.prepare(name, args, kwargs, options)
        patience = max(self._patience(options), _SETTLE_WAIT)
        with self._neighbourhood.using(name):
            await self._watch(asked, min(time.monotonic() + patience, asked.deadline))
            await self._find_one(asked, set())
            outcomes = await self._outcomes(asked)
            until = min(time.monotonic() + self._patience(options), asked.deadline)
            while not outcomes and options.names_one and time.monotonic() < until:  # not listed, and not there yet
                await asyncio.sleep(_LOOK_AGAIN)
                outcomes = await self._outcomes(asked)
            if not outcomes:
                raise await self._not_found(asked, None)
        return sorted(outcomes, key=lambda outcome: (outcome.host, outcome.node))

    async def call_node(
        self,
        node: NodeRecord,
        name: str,
        args: Sequence[Any],
        timeout: float | None = None,
        for_whom: Callable[[Who], None] | None = None,
    ) -> Any:
        """Call a function that this node is known to have, without looking for it. ``for_whom``: see `Asked`."""
        asked = self.prepare(name, args, {}, Options(timeout=timeout))
        return await self._ask(msgspec.structs.replace(asked, for_whom=for_whom), node)

    async def ping(self, node: NodeRecord, timeout: float) -> float:
        """Seconds for a question to the node's loop and back.

        Raises:
            PeerLostError, CallTimeoutError
        """
        if node.id == self._here.id:
            started = time.perf_counter()
            await asyncio.sleep(0)
            return time.perf_counter() - started
        try:
            async with asyncio.timeout(timeout):
                lane = await self._pool.lane(node)
                return await lane.ping()
        except TimeoutError:
            raise CallTimeoutError("ping", timeout, where=str(node), ran="no") from None

    # Finding.

    def _near(self, asked: Asked) -> NodeRecord | None:
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

    async def _next(self, asked: Asked, tries: Tries) -> NodeRecord:
        """Whom to ask now: another one than where it may have run already, if there is one that nobody doubts."""
        if (node := tries.first) is not None:
            tries.first = None
            return node
        if tries.ran:
            others = self._candidates(asked, tries.over | tries.ran)
            if others and not others[0].doubtful:
                return others[0].node
        return await self._find_one(asked, tries.over)

    async def _find_one(self, asked: Asked, tried: set[str]) -> NodeRecord:
        """The best provider that was not tried yet, as soon as there is one."""
        if not tried and (node := self._near(asked)) is not None:
            return node
        if candidates := self._candidates(asked, tried):
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
        patience = self._patience(asked.options)
        started = time.monotonic()
        await self._watch(asked, min(started + max(patience, _SETTLE_WAIT), asked.deadline))
        while True:
            if candidates := self._candidates(asked, tried):
                return self._chosen(asked, candidates, tried)
            lost = self._directory.last_lost(asked.name)
            wait = min(patience, _BEREAVED_WAIT) if lost and find_timeout is None else patience
            until = started + wait
            if time.monotonic() >= min(until, asked.deadline) or not await self._neighbourhood.changed(
                min(until, asked.deadline)
            ):
                if candidates := self._candidates(asked, tried):
                    return self._chosen(asked, candidates, tried)
                if time.monotonic() >= asked.deadline < until:
                    raise CallTimeoutError(asked.name, asked.timeout, ran="no")
                raise await self._not_found(asked, lost)

    def _patience(self, options: Options) -> float:
        return self._settings.find_timeout if options.find_timeout is None else options.find_timeout

    async def _watch(self, asked: Asked, until: float) -> None:
        """Returns when all who offer it by now are known, or it is too late for that."""
        if asked.name.startswith(CORE):
            return
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._neighbourhood.watch(asked.name)

    def _candidates(self, asked: Asked, tried: set[str] | None = None) -> list[Candidate]:
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

    async def _not_found(self, asked: Asked, lost: NodeRecord | None) -> NotFoundError:
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

    # Asking.

    async def _outcomes(self, asked: Asked) -> list[Outcome]:
        """Of those that have it."""
        nodes = [candidate.node for candidate in self._candidates(asked)]
        outcomes = await asyncio.gather(*(self._outcome(asked, node) for node in nodes))
        return [outcome for outcome in outcomes if outcome is not None]

    async def _outcome(self, asked: Asked, node: NodeRecord) -> Outcome | None:
        try:
            return Outcome(node.name, node.host, value=await self._ask(asked, node))
        except NotFoundError:  # withdrawn a moment ago
            self._neighbourhood.deny(asked.name, node.id)
            return None
        except LabcError as error:
            return Outcome(node.name, node.host, error=error)

    async def _ask(self, asked: Asked, node: NodeRecord) -> Any:
        if node.id == self._here.id:
            answer: Any = await self._call_here(asked)
        else:
            answer = await self._call_there(asked, node)
        return decode(answer.head, answer.buffers)

    async def _call_here(self, asked: Asked) -> Any:
        try:
            async with asyncio.timeout_at(asked.deadline):
                return await self._provider.call_here(asked.name, asked.arguments, asked.remaining)
        except LabcError:
            raise  # a function's own TimeoutError, too
        except TimeoutError:
            raise self._too_late(asked, self._here) from None

    async def _call_there(self, asked: Asked, node: NodeRecord) -> Answer:
        if not asked.remaining:
            raise self._too_late(asked, node, ran="no")
        if (lane := self._pool.ready_lane(node)) is not None:
            try:
                return await self._ask_lane(lane, asked, node)
            except PeerLostError as error:
                if error.ran != "no":
                    raise
        return await self._ask_lane(await self._lane(asked, node), asked, node)

    async def _lane(self, asked: Asked, node: NodeRecord) -> Lane:
        """A lane that takes a request now."""
        try:
            async with asyncio.timeout_at(asked.deadline):
                lane = await self._pool.lane(node)
                await lane.room(min(asked.remaining, _ROOM_WAIT))
                return lane
        except TimeoutError:
            raise self._too_late(asked, node, ran="no") from None

    async def _ask_lane(self, lane: Lane, asked: Asked, node: NodeRecord) -> Answer:
        if asked.for_whom is not None:
            asked.for_whom(lane.who)
        call_id, answer = lane.request(asked.name, asked.arguments, asked.deadline)
        try:
            return await answer
        except asyncio.CancelledError:
            lane.cancel(call_id)
            raise
        except DeadlineError:
            raise self._too_late(asked, node) from None

    def _too_late(self, asked: Asked, node: NodeRecord, ran: Ran = "maybe") -> CallTimeoutError:
        return CallTimeoutError(asked.name, asked.timeout, where=str(node), ran=ran)


def _is_wide(options: Options) -> bool:
    """Whether other sites count."""
    return (options.scope or WIDEST) == "wan"


def _count_hosts(nodes: Sequence[NodeRecord]) -> int:
    return len({node.host_id for node in nodes})
