"""What every node offers by itself: ``core.ping``, ``core.info`` and so on, as plain data."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict
from typing import Any

from labc.directory import CORE, Directory, NodeRecord, check_scope, reaches
from labc.fabric import Fabric
from labc.functions import Provider, Registration, current_call
from labc.lanes import Pool
from labc.lanes.addresses import endpoints, reachable
from labc.lanes.knocking import best, knock
from labc.registry import Registry
from labc.settings import Settings
from labc.topics import Topics
from labc.version import __version__

_KNOCK_WITHIN = 1.0
_MAX_KNOCKS = 16

Offered = Callable[[], Iterable[Registration[..., Any]]]


class Core:
    """``functions``: by name."""

    def __init__(
        self,
        here: NodeRecord,
        settings: Settings,
        offered: Offered,
        provider: Provider,
        topics: Topics,
        directory: Directory,
        pool: Pool,
        fabric: Fabric,
        unsent: Callable[[], int],
        addresses_of: Callable[[NodeRecord], Awaitable[list[str]]],
    ) -> None:
        self._here = here
        self._settings = settings
        self._offered = offered
        self._provider = provider
        self._topics = topics
        self._directory = directory
        self._pool = pool
        self._fabric = fabric
        self._unsent = unsent
        self._addresses_of = addresses_of
        self._started = time.time()
        own = (
            self._ping,
            self._info,
            self._functions,
            self._subscriptions,
            self._nodes,
            self._stats,
            self._heard,
            self._knock,
        )
        names = ("ping", "info", "functions", "topics", "nodes", "stats", "heard", "knock")
        none: Registry[Registration[..., Any]] = Registry()
        self.functions: dict[str, Registration[..., Any]] = {
            CORE + name: Registration[..., Any](none, function, CORE + name, "loop", scope="wan")
            for name, function in zip(names, own, strict=True)
        }

    async def _ping(self) -> float:
        """The time here, in seconds since 1970."""
        return time.time()

    async def _info(self) -> dict[str, Any]:
        """Who and where this node is."""
        here = self._here
        return {
            "name": here.name,
            "host": here.host,
            "id": here.id,
            "host_id": here.host_id,
            "network": self._settings.network,
            "version": __version__,
            "python": platform.python_version(),
            "system": sys.platform,
            "pid": os.getpid(),
            "started": self._started,
            "root_port": self._fabric.root_port,
            "addresses": self._pool.listener.addresses(),
        }

    async def _functions(self) -> list[dict[str, Any]]:
        """The functions that the caller can find here."""
        return self.functions_for(self._caller())

    async def _subscriptions(self) -> list[dict[str, Any]]:
        """The subscriptions that the caller may know of, with what became of their messages."""
        return self.topics_for(self._caller())

    async def _nodes(self) -> list[dict[str, Any]]:
        """The nodes that this one knows; to other sites it tells of itself alone."""
        caller = self._caller()
        if caller is not None and caller.away:
            return [self._row(self._here, suspect=False)]
        records = [node for node in self._directory.nodes() if node.id != self._here.id]
        doubtful = {c.node.id for c in self._directory.everybody() if c.doubtful}
        return [self._row(record, record.id in doubtful) for record in [*records, self._here]]

    def _row(self, record: NodeRecord, suspect: bool) -> dict[str, Any]:
        return {
            "name": record.name,
            "host": record.host,
            "id": record.id,
            "host_id": record.host_id,
            "suspect": suspect,
        }

    async def _stats(self) -> dict[str, Any]:
        """Counters since the node started. Times are seconds."""
        rows = self._topics.statistics()
        return {
            "uptime": time.time() - self._started,
            "calls": {**asdict(self._provider.counts), "running": self._provider.running},
            "topics": {
                "published": self._topics.published,
                "handled": sum(row["handled"] for row in rows),
                "failed": sum(row["failed"] for row in rows),
                "waiting": sum(row["waiting"] for row in rows),
                "dropped": sum(row["dropped"] for row in rows),
                "held_back": sum(row["held_back"] for row in rows),
                "unsent": self._unsent(),
                "untold": self._topics.untold,
                "undecodable": self._topics.undecodable,
                "refused": self._topics.refused,
            },
            "lanes": len(self._pool.lanes()),
        }

    async def _heard(self) -> list[dict[str, Any]]:
        """If this node is its host's root: the roots of other hosts that it heard, by which methods of discovery, and
        how many seconds ago."""
        return [
            {"root": each.root_id, "address": each.address, "methods": each.methods, "linked": each.linked}
            for each in self._fabric.heard()
        ]

    async def _knock(self) -> str | None:
        """What connections from here to the caller meet at the best of its addresses: "open", "refused", "silent" or
        "no way". None: it has none."""
        caller, node = self._caller(), self._directory.node(current_call().node_id)
        if caller is None or node is None:
            return None
        addresses = await self._addresses_of(node)
        places = endpoints(reachable(addresses, caller.host_id == self._here.host_id))
        return best(list((await knock(places[:_MAX_KNOCKS], _KNOCK_WITHIN)).values()))

    def functions_for(self, caller: NodeRecord | None) -> list[dict[str, Any]]:
        """Those that are listed for this caller; None: for this node itself."""
        return [
            {"name": r.name, "signature": str(r.signature), "doc": r.summary, "scope": r.scope}
            for r in sorted(self._offered(), key=lambda r: r.name)
            if r.listed and self._provider.sees(caller, r)
        ]

    def topics_for(self, caller: NodeRecord | None) -> list[dict[str, Any]]:
        """Those of which this caller may know; None: this node itself."""
        return [
            row
            for row in self._topics.statistics()
            if caller is None
            or (row["scope"] != "node" and reaches(check_scope(row["scope"], "subscribe"), self._here, caller))
        ]

    def _caller(self) -> NodeRecord | None:
        """None: this node itself."""
        caller = current_call().caller
        return None if caller is self._here else caller
