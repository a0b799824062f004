"""The IPv4 addresses of this host, as they are now."""

from __future__ import annotations

import socket

from labc.discovery.subnets import Address, prefix_of


def addresses_now() -> frozenset[Address]:
    """Those of interfaces that are up, without loopback."""
    import psutil  # takes 20 ms that a program which is no root need not spend

    stats = psutil.net_if_stats()
    return frozenset(
        Address(name, each.address, prefix_of(each.netmask))
        for name, addresses in psutil.net_if_addrs().items()
        if name not in stats or stats[name].isup
        for each in addresses
        if each.family == socket.AF_INET and not each.address.startswith("127.")
    )
