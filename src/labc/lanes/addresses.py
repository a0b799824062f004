"""Where a node can be reached for a lane: ``unix/@labc-…``, ``tcp/192.168.1.5:40112``, ``tcp/[fd00::1]:40112``.

In a keyed network ``tls/…`` takes the place of ``tcp/…``.
"""

from __future__ import annotations

import ipaddress
import socket
import sys
from collections.abc import Iterable

from labc.settings import InterfaceAddress

ABSTRACT_SOCKETS = sys.platform == "linux"
"""Linux has Unix sockets with no file, whose names belong to the network namespace as the host's identity does."""

LOOPBACK = "127.0.0.1"
LOOPBACKS = ("127.0.0.1", "::1")
"""From where nobody but this host itself can come: what arrives from elsewhere with them is dropped by the system."""


def unix_address(node_id: str) -> str:
    """The address, for nodes of the same host, of the node with this id."""
    return f"unix/@labc-{node_id}"


def unix_path(address: str) -> str | None:
    """The path to connect to (with a leading NUL: abstract), if it is the address of a Unix socket."""
    kind, _, path = address.partition("/")
    if kind != "unix":
        return None
    return "\0" + path[1:] if path.startswith("@") else path


def tcp_address(host: str, port: int, kind: str = "tcp") -> str:
    return f"{kind}/[{host}]:{port}" if ":" in host else f"{kind}/{host}:{port}"


def tcp_endpoint(address: str, wanted: str = "tcp") -> tuple[str, int] | None:
    """Host and port, if it is the address of a TCP socket that can be understood; of TLS with ``wanted="tls"``."""
    kind, _, rest = address.partition("/")
    host, _, port = rest.rpartition(":")
    host = host.strip("[]")
    if kind != wanted or not _is_ip(host) or not port.isdecimal() or not 0 < int(port) < 65536:
        return None
    return host, int(port)


def _is_ip(text: str) -> bool:
    """A name would have to be looked up."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def reachable(addresses: Iterable[str], same_host: bool) -> list[str]:
    """PURE. Those of a node's addresses that lead to it: on its own host over loopback, from others by the rest."""
    return [
        address
        for address in addresses
        if (endpoint := tcp_endpoint(address) or tcp_endpoint(address, "tls")) is None
        or (endpoint[0] == LOOPBACK) == same_host
    ]


def endpoints(addresses: Iterable[str]) -> list[tuple[str, int]]:
    """PURE. Hosts and ports of those that are of TCP, encrypted or not."""
    found = (tcp_endpoint(address) or tcp_endpoint(address, "tls") for address in addresses)
    return [each for each in found if each is not None]


def interface_addresses() -> list[InterfaceAddress]:
    """The addresses of this host's interfaces that are up, now, and the other interfaces with an empty one."""
    import psutil  # takes 20 ms that a program without lanes need not spend

    stats = psutil.net_if_stats()
    found = []
    for name, addresses in psutil.net_if_addrs().items():
        up = name in stats and stats[name].isup
        ips = [a.address for a in addresses if up and a.family in (socket.AF_INET, socket.AF_INET6)]
        found += [InterfaceAddress(name, ip) for ip in ips or [""]]
    return found


def ips_of(host: str) -> list[str]:
    """The addresses of a host by its name. Blocks for as long as the system likes. Raises OSError."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[4][0]) for address in found))


def usable_ips(ips: Iterable[str]) -> list[str]:
    """PURE. Those under which another host may reach this one, IPv4 first, without loopback and link-local."""
    good = []
    for text in ips:
        try:
            ip = ipaddress.ip_address(text)
        except ValueError:  # a scoped link-local address
            continue
        if not (ip.is_loopback or ip.is_link_local or ip.is_unspecified or ip.is_multicast):
            good.append(ip)
    return [str(ip) for ip in sorted(set(good), key=lambda ip: (ip.version, int(ip)))]
