"""What one can see of the network. Everybody is asked, and whoever is silent is left out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

import msgspec

from labc.directory import CORE, SCOPES, WIDEST, Addressing, NodeRecord, check_scope, distance, is_narrow
from labc.errors import LabcError
from labc.fabric import Fabric, Medium, Neighbourhood, Wide
from labc.functions import Caller, Options
from labc.lanes.addresses import endpoints
from labc.node.core import Core
from labc.node.details import Catalogue, Details, FunctionDetails, FunctionInfo, NodeInfo, Question

_ASK_WITHIN = 5.0
_ASK_AGAIN = 0.1
"""Seconds until those who did not hear a question are asked again; then twice as long."""
_ENDPOINTS_WITHIN = 1.0
_NARROW_WITHIN = 2.0

Answer = TypeVar("Answer", Catalogue, Details)


class Listing:
    """What the node ``here`` sees."""

    def __init__(
        self,
        here: NodeRecord,
        fabric: Fabric,
        wide: Wide | None,
        neighbourhood: Neighbourhood,
        addressing: Addressing,
        caller: Caller,
        core: Core,
    ) -> None:
        self._here = here
        self._fabric = fabric
        self._wide = wide
        self._neighbourhood = neighbourhood
        self._addressing = addressing
        self._caller = caller
        self._core = core
        self._loop = asyncio.get_running_loop()

    def at(self, options: Options) -> list[NodeRecord]:
        """The nodes that the options name, or that are as near as they say. From any thread."""
        return [node for node in self._everybody() if self._is_at(node, options)]

    async def nodes(self, options: Options) -> list[NodeInfo]:
        """Every node of the network, with its details if it answers."""
        await self._looked_around(options)
        await self._caller.finder.learn_endpoints(options)
        details = await self._ask_all(Question.DETAILS, Details, options)
        infos = [
            NodeInfo.make(record, details.get(record.id), record.id == self._here.id) for record in self.at(options)
        ]
        return sorted(infos, key=lambda info: (info.host, info.name, info.id))

    async def functions(self, options: Options) -> list[FunctionInfo]:
        """Every function that is offered, with where."""
        await self._looked_around(options)
        await self._caller.finder.learn_endpoints(options)
        catalogues = await self._ask_all(Question.FUNCTIONS, Catalogue, options)
        near = await self._narrow_functions([r for r in self.at(options) if _has_narrow(catalogues.get(r.id))])
        infos = [
            FunctionInfo(
                function.name, function.signature, function.doc, record.host, record.name, record.id, function.scope
            )
            for record in self.at(options)
            for function in [
                *(catalogues[record.id].functions if record.id in catalogues else ()),
                *near.get(record.id, ()),
            ]
        ]
        return sorted(infos, key=lambda info: (info.name, info.host, info.node))

    async def ping(self, options: Options) -> dict[NodeRecord, float | LabcError]:
        """Round trips in seconds, or what prevented them, of the nodes that the options name.

        Without a name, of all others; none, where this is the only one.
        """
        await self._looked_around(options)
        timeout = 2.0 if options.timeout is None else options.timeout
        await self._caller.finder.learn_endpoints(options)
        named = options.node or options.host
        records = [r for r in self.at(options) if named or r.id != self._here.id]
        if named and not records:
            raise self._caller.finder.no_such_node(str(named))

        async def one(record: NodeRecord) -> float | LabcError:
            try:
                return await self._caller.ping(record, timeout)
            except LabcError as error:
                return error

        return dict(zip(records, await asyncio.gather(*map(one, records)), strict=True))

    async def learn_endpoints(self) -> None:
        """For what is looked up by an address or a port."""
        hosts = {node.id: node.host_id for node in self._everybody()}
        told = await self._ask_all(Question.DETAILS, Details, Options(timeout=_ENDPOINTS_WITHIN))
        places = {node_id: endpoints(each.addresses) for node_id, each in told.items()}
        self._addressing.learn(places, hosts, time.monotonic())

    # Within.

    async def _looked_around(self, options: Options) -> None:
        await self._fabric.looked_around()
        if self._wide is not None and _is_wide(options):
            await self._wide.looked_around()

    def _everybody(self) -> list[NodeRecord]:
        others = [node for node in self._neighbourhood.directory.nodes() if node.id != self._here.id]
        return [*others, self._here]

    def _is_at(self, node: NodeRecord, options: Options) -> bool:
        near = distance(self._here, node) <= SCOPES.index(options.scope or WIDEST)
        return near and self._addressing.is_at(node, options.host, options.node)

    async def _narrow_functions(self, nodes: Sequence[NodeRecord]) -> dict[str, list[FunctionDetails]]:
        """What is offered to this host or group alone, and so not told over the network; by node."""

        async def of(node: NodeRecord) -> list[FunctionDetails]:
            if node.id == self._here.id:
                rows = self._core.functions_for(None)
            elif distance(self._here, node) < SCOPES.index("network"):
                try:
                    rows = await self._caller.call_node(node, f"{CORE}functions", [], _NARROW_WITHIN)
                except LabcError:
                    return []
            else:
                return []
            return [
                FunctionDetails(r["name"], r["signature"], r["doc"], r["scope"])
                for r in rows
                if is_narrow(check_scope(r["scope"], "register"))
            ]

        found = await asyncio.gather(*map(of, nodes))
        return {node.id: functions for node, functions in zip(nodes, found, strict=True)}

    async def _ask_all(self, question: bytes, kind: type[Answer], options: Options) -> dict[str, Answer]:
        """What each node tells, by its id. Who was given up is not waited for when all others have told."""
        timeout = _ASK_WITHIN if options.timeout is None else options.timeout
        deadline = self._loop.time() + timeout
        found: dict[str, Answer] = {}

        def take(answers: list[bytes], of_this_site: bool) -> None:
            for answer in answers:
                with suppress(ValueError):
                    told = msgspec.msgpack.decode(answer, type=kind)
                    if of_this_site:
                        found[told.node_id] = told
                    elif not self._neighbourhood.is_of_this_site(told.node_id):
                        found.setdefault(told.node_id, told)
            self._neighbourhood.wake()

        def complete() -> bool:
            alive = self._neighbourhood.directory.alive()
            return self._fabric.linked and all(node.id in found for node in alive if self._is_at(node, options))

        pause = _ASK_AGAIN
        while (left := deadline - self._loop.time()) > 0:
            await self._ask_round(question, left, take, complete, _is_wide(options))
            if complete():
                break
            # Some did not hear the question: the root has just changed, and they come back one by one.
            until = min(deadline, self._loop.time() + pause)
            await asyncio.sleep(min(_ASK_AGAIN, until - self._loop.time()))
            await self._neighbourhood.changed(until)
            pause *= 2
        return found

    async def _ask_round(
        self,
        question: bytes,
        timeout: float,
        take: Callable[[list[bytes], bool], None],
        complete: Callable[[], bool],
        wide: bool,
    ) -> None:
        """Ask once. Returns when all who heard it have answered, or nobody is missing."""

        async def ask(medium: Medium, of_this_site: bool) -> None:
            key = medium.keys.ask_all
            await medium.ask_each(key, question, timeout, lambda answers: take(answers, of_this_site))

        async def ask_all() -> None:
            others = [ask(self._wide, False)] if wide and self._wide is not None else []
            await asyncio.gather(ask(self._fabric, True), *others)

        asking = self._loop.create_task(ask_all())
        asking.add_done_callback(lambda _: self._neighbourhood.wake())
        deadline = self._loop.time() + timeout
        try:
            while not (asking.done() or complete()):
                if not await self._neighbourhood.changed(deadline):
                    break
            if asking.done():
                asking.result()
        finally:
            asking.cancel()


def _is_wide(options: Options) -> bool:
    """Whether other sites count."""
    return (options.scope or WIDEST) == "wan"


def _has_narrow(catalogue: Catalogue | None) -> bool:
    return catalogue is not None and catalogue.narrow
