"""PURE. Which nodes a host and a node that somebody names are: by names, ids, aliases, addresses and ports."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping

from labc.directory.records import NodeRecord

_FRESH = 5.0
"""Seconds for which an address is believed: another computer may have it by then."""

Endpoint = tuple[str, int]
"""Address and port at which a node takes connections."""


class Addressing:
    """``now`` is any clock that only goes forward, in seconds."""

    def __init__(self, here: NodeRecord, aliases: Mapping[str, str]) -> None:
        self._here = here
        self._aliases = {alias.lower(): host for alias, host in aliases.items()}
        self._hosts: dict[str, frozenset[str]] = {}
        """By address: the ids of the hosts that have it."""
        self._ports: dict[str, frozenset[int]] = {}
        """By node id."""
        self._asked: frozenset[str] = frozenset()
        """The ids of the nodes that were asked, whether they answered or not."""
        self._learnt = float("-inf")

    def needs_endpoints(
        self, host: str | None, node: str | int | None, now: float, present: Iterable[str] = ()
    ) -> bool:
        """Whether one must ask the nodes for their endpoints, and :meth:`learn` them, to know who is meant.

        ``present``: the ids of those that are there.
        """
        return self.changes(host, node) and (now - self._learnt > _FRESH or not self._asked.issuperset(present))

    def changes(self, host: str | None, node: str | int | None) -> bool:
        """Whether it may be another one in a moment who is named so."""
        return isinstance(node, int) or (host is not None and is_address(self._unaliased(host)))

    def learn(self, endpoints: Mapping[str, Iterable[Endpoint]], host_ids: Mapping[str, str], now: float) -> None:
        """What the nodes told, each by its id; ``host_ids``: on which host each is that was asked."""
        hosts: dict[str, set[str]] = {}
        for node_id, told in endpoints.items():
            for address, _ in told:
                if node_id in host_ids:
                    hosts.setdefault(_plain(address), set()).add(host_ids[node_id])
        self._hosts = {address: frozenset(ids) for address, ids in hosts.items()}
        self._ports = {node_id: frozenset(port for _, port in told) for node_id, told in endpoints.items()}
        self._asked = frozenset(host_ids)
        self._learnt = now

    def is_at(self, record: NodeRecord, host: str | None, node: str | int | None) -> bool:
        """Whether this is a node of that host, and that node; None: of any, and any."""
        return (host is None or self._is_host(record, host)) and (node is None or self._is_node(record, node))

    def _is_host(self, record: NodeRecord, host: str) -> bool:
        host = self._unaliased(host)
        if host.lower() == "localhost" or (is_address(host) and ipaddress.ip_address(_plain(host)).is_loopback):
            return record.host_id == self._here.host_id
        if is_address(host):
            return record.host_id in self._hosts.get(_plain(host), ())
        return record.host.lower() == host.lower()

    def _is_node(self, record: NodeRecord, node: str | int) -> bool:
        if isinstance(node, int):
            return node in self._ports.get(record.id, ())
        return node in (record.name, record.id)

    def _unaliased(self, host: str) -> str:
        return self._aliases.get(host.lower(), host)


def is_address(host: str) -> bool:
    """Whether it is an IP address, and no name."""
    try:
        ipaddress.ip_address(_plain(host))
    except ValueError:
        return False
    return True


def _plain(address: str) -> str:
    """However it is written: ``[FD00:0::2]`` is ``fd00::2``, and ``::ffff:10.0.0.2`` is ``10.0.0.2``."""
    bare = address.strip("[]").lower()
    try:
        ip = ipaddress.ip_address(bare)
    except ValueError:
        return bare
    return str(getattr(ip, "ipv4_mapped", None) or ip)
