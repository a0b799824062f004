"""PURE. The IPv4 subnets of this host, and what of them can be searched."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from labc.settings import AddressRange, subnet


class Address(NamedTuple):
    """Of an interface that is up."""

    interface: str
    address: str
    prefix: int
    """The length of its subnet's prefix in bits."""


def prefix_of(netmask: str | None) -> int:
    """``255.255.255.0`` -> 24; a host of its own, if it is not told."""
    if not netmask:
        return 32
    return sum(int(part).bit_count() for part in netmask.split("."))


def local_ranges(addresses: Iterable[Address], max_addresses: int | None) -> tuple[list[AddressRange], list[Address]]:
    """What can be searched around here, and where that would be more than so many addresses, each and in all.

    Subnets of addresses that a host gave itself (169.254.0.0/16) are none to search.
    """
    ranges: list[AddressRange] = []
    refused = []
    for each in sorted(set(addresses), key=lambda a: (-a.prefix, a.address)):
        if each.address.startswith("169.254.") or each.prefix == 32:
            continue
        place = subnet(each.address, each.prefix)
        if place in ranges:
            continue
        if max_addresses is not None and sum(r.size for r in ranges) + place.size > max_addresses:
            refused.append(each)
        else:
            ranges.append(place)
    return ranges, refused
