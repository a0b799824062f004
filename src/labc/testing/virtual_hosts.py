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
"""Of the first Ethernet; the next is 10.213.1.0/24, and so on. The hosts are ``.1``, ``.2`` and so on. Every lab has
the same: nothing of it reaches the machine's network."""

_MAX_HOSTS = 250
_NEIGHBOURS = Path("/proc/sys/net/ipv4/neigh/default/gc_thresh3")
_MAX_NEIGHBOURS = 65536
_GATEWAY = 254
"""The last number of the addresses of the host between several Ethernets."""
_labs = itertools.count(1)


class VirtualHosts:
    """Hosts ``h1``, ``h2``, ... on one Ethernet or several, from the beginning of a ``with`` statement to its end.

    Each has its own interfaces, addresses, routes, firewall and host name; the file system is the machine's.
    What a killed test run has left behind is removed when the next one makes hosts. Until the machine starts anew, it
    may know 65536 neighbours (``net.ipv4.neigh.default.gc_thresh3``): all its virtual hosts together, where each real
    host may know 1024, mostly.

    Args:
        counts: how many on each Ethernet, at most 250 in all.

    Attributes:
        hosts: all of them.
        lans: the hosts of each Ethernet.
        between: where there are several, one more host, with a cable in each of them; it forwards nothing, unless
            :meth:`forward` says so.

    Raises:
        RuntimeError: on entering, where :func:`~labc.testing.can_make_hosts` says no.
    """

    def __init__(self, *counts: int) -> None:
        if not counts or min(counts) < 1 or sum(counts) > _MAX_HOSTS:
            given = ", ".join(map(repr, counts))
            raise ValueError(f"VirtualHosts({given}): expected 1 to {_MAX_HOSTS} hosts")
        lab, numbers = next(_labs), itertools.count(1)
        self._switches = [new_name(lab, "switch" + (str(lan) if lan else "")) for lan in range(len(counts))]
        self.lans = tuple(
            tuple(
                VirtualHost(f"h{n}", f"{_network(lan)}{i}", namespace=new_name(lab, f"h{n}"), switch=switch)
                for i, n in zip(range(1, count + 1), numbers, strict=False)
            )
            for lan, (count, switch) in enumerate(zip(counts, self._switches, strict=True))
        )
        self.hosts = tuple(host for lan in self.lans for host in lan)
        self._between: VirtualHost | None = None
        if len(counts) > 1:
            addresses = [f"{_network(lan)}{_GATEWAY}" for lan in range(len(counts))]
            self._between = VirtualHost(
                "between", *addresses, namespace=new_name(lab, "between"), switch=self._switches[0]
            )

    @property
    def between(self) -> VirtualHost:
        if self._between is None:
            raise ValueError("there is one Ethernet, and nothing between")
        return self._between

    def forward(self, only_to: int | None = None) -> None:
        """Let the host between the Ethernets forward from any of them to any other.

        Args:
            only_to: the number of an Ethernet, from 0, to whose hosts alone connections can be opened from the others,
                as to a server outside.
        """
        for lan in self.lans:
            for host in lan:
                gateway = host.address.rpartition(".")[0] + f".{_GATEWAY}"
                command("ip", "-n", host.namespace, "route", "replace", "default", "via", gateway)
        in_namespace(self.between.namespace, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        if only_to is not None:
            rules = f"""
                add table inet between
                add chain inet between forward {{ type filter hook forward priority 0; policy drop; }}
                add rule inet between forward ct state established,related accept
                add rule inet between forward oifname eth{only_to} accept"""
            in_namespace(self.between.namespace, "nft", "-f", "-", stdin=rules)

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
            for host in self._all:
                host.end_processes()
        finally:
            self._remove()

    @property
    def _all(self) -> list[VirtualHost]:
        return [*self.hosts, *([self._between] if self._between else [])]

    def _build(self) -> None:
        _allow_many_neighbours()
        for switch in self._switches:
            add(switch)
            _set_ipv6(switch, "disable_ipv6", 1)  # the switch is to have no voice of its own
            command("ip", "-n", switch, "-batch", "-", stdin=_SWITCH)
        for host in self._all:
            add(host.namespace)
            _set_ipv6(host.namespace, "accept_dad", 0)  # addresses are ready at once
        for switch, lan in zip(self._switches, self.lans, strict=True):
            for host in lan:
                _plug_in(host, switch, host.address, INTERFACE)
        if self._between:
            for number, (switch, address) in enumerate(zip(self._switches, self._between.addresses, strict=True)):
                _plug_in(self._between, switch, address, f"eth{number}")

    def _remove(self) -> None:
        names = [host.namespace for host in self._all] + self._switches
        kill_processes_in(names)
        for name in names:
            remove(name)


def _network(lan: int) -> str:
    first, second, third = SUBNET.split(".")[:3]
    return f"{first}.{second}.{int(third) + lan}."


def _plug_in(host: VirtualHost, switch: str, address: str, interface: str) -> None:
    cable = f"link add {host.name} type veth peer name {interface} netns {host.namespace}"
    port = f"link set {host.name} master {BRIDGE} up"
    command("ip", "-n", switch, "-batch", "-", stdin=f"{cable}\n{port}")
    settings = _HOST.format(address=address, interface=interface)
    command("ip", "-n", host.namespace, "-batch", "-", stdin=settings)


# Without snooping the bridge gives multicast to every port; without the route it has no way out of a host.
_SWITCH = f"""\
link set lo up
link add {BRIDGE} type bridge mcast_snooping 0
link set {BRIDGE} up
"""
_HOST = """\
link set lo up
address add {address}/24 dev {interface}
link set {interface} up
route append 224.0.0.0/4 dev {interface}
"""


def _allow_many_neighbours() -> None:
    with suppress(OSError):  # it is not for us to say
        if int(_NEIGHBOURS.read_text()) < _MAX_NEIGHBOURS:
            _NEIGHBOURS.write_text(str(_MAX_NEIGHBOURS))


def _set_ipv6(namespace: str, key: str, value: int) -> None:
    """Set an IPv6 default for the interfaces that come later; nothing to do where IPv6 is off."""
    files = f"/proc/sys/net/ipv6/conf/all/{key} /proc/sys/net/ipv6/conf/default/{key}"
    in_namespace(namespace, "sh", "-c", f"for f in {files}; do [ ! -e $f ] || echo {value} > $f; done")
