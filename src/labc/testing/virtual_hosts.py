"""Several hosts on one machine: a network namespace each, joined by a switch in a namespace of its own."""

from __future__ import annotations

import itertools
from contextlib import suppress
from pathlib import Path
from typing import Self

from labc.testing.namespaces import (
    add,
    can_make_hosts,
    command,
    in_namespace,
    kill_processes_in,
    new_name,
    remove,
    remove_leftovers,
)
from labc.testing.virtual_host import BRIDGE, INTERFACE, VirtualHost

SUBNET = "10.213.0.0/24"
"""The hosts are ``.1``, ``.2`` and so on. Every lab has the same: nothing of it reaches the machine's network."""

_MAX_HOSTS = 250
_NEIGHBOURS = Path("/proc/sys/net/ipv4/neigh/default/gc_thresh3")
_MAX_NEIGHBOURS = 65536
_labs = itertools.count(1)


class VirtualHosts:
    """Hosts ``h1``, ``h2``, ... on one Ethernet, from the beginning of a ``with`` statement to its end.

    Each has its own interfaces, addresses, routes, firewall and host name; the file system is the machine's.
    What a killed test run has left behind is removed when the next one makes hosts. Until the machine starts anew, it
    may know 65536 neighbours (``net.ipv4.neigh.default.gc_thresh3``): all its virtual hosts together, where each real
    host may know 1024, mostly.

    Args:
        count: how many, at most 250.

    Raises:
        RuntimeError: on entering, where :func:`~labc.testing.can_make_hosts` says no.
    """

    def __init__(self, count: int) -> None:
        if not 1 <= count <= _MAX_HOSTS:
            raise ValueError(f"count={count!r}: expected 1 to {_MAX_HOSTS} hosts")
        lab = next(_labs)
        self._switch = new_name(lab, "switch")
        network = SUBNET.removesuffix("0/24")
        self.hosts = tuple(
            VirtualHost(f"h{i}", f"{network}{i}", namespace=new_name(lab, f"h{i}"), switch=self._switch)
            for i in range(1, count + 1)
        )

    def cut(self, *hosts: VirtualHost, link_down: bool = False) -> None:
        """Cut the cables of these hosts; see :meth:`VirtualHost.cut`."""
        for host in hosts:
            host.cut(link_down=link_down)

    def mend(self, *hosts: VirtualHost) -> None:
        """Make the cables of these hosts whole again."""
        for host in hosts:
            host.mend()

    def __enter__(self) -> Self:
        if problem := can_make_hosts():
            raise RuntimeError(problem)
        remove_leftovers()
        try:
            self._build()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            for host in self.hosts:
                host.end_processes()
        finally:
            self._remove()

    def _build(self) -> None:
        _allow_many_neighbours()
        add(self._switch)
        _set_ipv6(self._switch, "disable_ipv6", 1)  # the switch is to have no voice of its own
        command("ip", "-n", self._switch, "-batch", "-", stdin=_SWITCH)
        for host in self.hosts:
            add(host.namespace)
            _set_ipv6(host.namespace, "accept_dad", 0)  # addresses are ready at once
            cable = f"link add {host.name} type veth peer name {INTERFACE} netns {host.namespace}"
            port = f"link set {host.name} master {BRIDGE} up"
            command("ip", "-n", self._switch, "-batch", "-", stdin=f"{cable}\n{port}")
            command("ip", "-n", host.namespace, "-batch", "-", stdin=_HOST.format(address=host.address))

    def _remove(self) -> None:
        names = [host.namespace for host in self.hosts] + [self._switch]
        kill_processes_in(names)
        for name in names:
            remove(name)


# Without snooping the bridge gives multicast to every port; without the route it has no way out of a host.
_SWITCH = f"""\
link set lo up
link add {BRIDGE} type bridge mcast_snooping 0
link set {BRIDGE} up
"""
_HOST = f"""\
link set lo up
address add {{address}}/24 dev {INTERFACE}
link set {INTERFACE} up
route add 224.0.0.0/4 dev {INTERFACE}
"""


def _allow_many_neighbours() -> None:
    with suppress(OSError):  # it is not for us to say
        if int(_NEIGHBOURS.read_text()) < _MAX_NEIGHBOURS:
            _NEIGHBOURS.write_text(str(_MAX_NEIGHBOURS))


def _set_ipv6(namespace: str, key: str, value: int) -> None:
    """Set an IPv6 default for the interfaces that come later; nothing to do where IPv6 is off."""
    files = f"/proc/sys/net/ipv6/conf/all/{key} /proc/sys/net/ipv6/conf/default/{key}"
    in_namespace(namespace, "sh", "-c", f"for f in {files}; do [ ! -e $f ] || echo {value} > $f; done")
