"""PURE. Where the roots of a network listen, and where they look for each other.

Each network has ports and a multicast port of its own, worked out from its name alone, so that networks on one
host have roots of their own, and all hosts agree without asking. (Should two names fall on the same ports, the
networks share roots; their keys still keep them apart.)
"""

from __future__ import annotations

import zlib

DEFAULT_NETWORK = "labc"
DEFAULT_ROOT_PORT = 55555
RANGE = 4
"""Ports a root may take on a host: the first, and spares for when its holder does not answer."""

_MULTICAST_GROUP = "224.0.0.224"
_MULTICAST_PORT = 7446
_SLOTS = 2400
"""Networks with ports of their own, up to 65158. Two of the same slot on one host share a root, and nothing else."""


def root_ports(network: str, root_port: int = 0) -> tuple[int, ...]:
    """The ports a root of this network may hold, in the order in which they are tried."""
    first = root_port or DEFAULT_ROOT_PORT + RANGE * _slot(network)
    return tuple(range(first, first + RANGE))


def scouting_address(network: str) -> str:
    """The multicast address at which the roots of this network find each other."""
    return f"{_MULTICAST_GROUP}:{_MULTICAST_PORT + _slot(network)}"


def every_first_port() -> range:
    """The first port of each network that has no other ``root_port``."""
    return range(DEFAULT_ROOT_PORT, DEFAULT_ROOT_PORT + RANGE * (_SLOTS + 1), RANGE)


def every_multicast_port() -> range:
    """Where the roots of all networks find each other."""
    return range(_MULTICAST_PORT, _MULTICAST_PORT + _SLOTS + 1)


def router_id_prefix(network: str) -> str:
    """With what the engine's ids of the roots of this network begin, in hexadecimal digits: others can take part, too,
    or have the same multicast address by chance."""
    return f"1abc{zlib.crc32(network.encode()):08x}"


def _slot(network: str) -> int:
    """0 for the default network, else 1 to 2400, the same everywhere (Python's own hash is not)."""
    return 0 if network == DEFAULT_NETWORK else 1 + zlib.crc32(network.encode()) % _SLOTS
