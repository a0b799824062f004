"""PURE. Addresses and ports as they stand in settings: ``10.0.0.5``, ``lab3:55555``, ``10.0.0.0/24``,
``10.0.0.5-10.0.0.40``, ``50000-50100``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

ROUTER_PORT = 55554
"""Of a router for which none is given: none that a root takes."""
_HOST = re.compile(r"(?=.{1,253}$)[^\s/:,;\[\]]+$")


class HostPlace(NamedTuple):
    """A host by its name or IPv4 address."""

    host: str
    port: int | None
    """None: those of the network's roots."""


class RouterPlace(NamedTuple):
    """Where a router takes links."""

    protocol: Literal["tcp", "tls"] | None
    """None: whatever the network is."""
    host: str
    port: int


class AddressRange(NamedTuple):
    """IPv4 addresses from the first to the last, as numbers."""

    first: int
    last: int
    port: int | None = None
    """None: those of the network's roots."""

    @property
    def size(self) -> int:
        return self.last - self.first + 1

    def addresses(self) -> Iterator[str]:
        for number in range(self.first, self.last + 1):
            yield address_text(number)


def host_place(text: str) -> HostPlace:
    """Raises ValueError: it is no host name or IPv4 address, with a port or without."""
    host, port = _split_port(text.strip())
    if not _HOST.match(host) or host.startswith("-"):
        raise ValueError
    if re.fullmatch(r"[0-9.]+", host):
        host = address_text(address_number(host))
    return HostPlace(host, port)


def router_place(text: str) -> RouterPlace:
    """Raises ValueError: it is none of the forms ``server``, ``server:55554``, ``tcp/server:55554``, ``tls/...``."""
    protocol, slash, place = text.strip().rpartition("/")
    if slash and protocol not in ("tcp", "tls"):
        raise ValueError
    host, port = host_place(place)
    return RouterPlace("tls" if protocol == "tls" else "tcp" if slash else None, host, port or ROUTER_PORT)


def address_range(text: str) -> AddressRange:
    """Of a network, the addresses that hosts can have. Raises ValueError: it is none of the forms."""
    place, port = _split_port(text.strip())
    if "/" in place:
        address, _, prefix = place.partition("/")
        if not re.fullmatch(r"[0-9]{1,2}", prefix) or int(prefix) > 32:
            raise ValueError
        return subnet(address, int(prefix))._replace(port=port)
    begin, dash, end = place.partition("-")
    first = address_number(begin.strip())
    last = address_number(end.strip()) if dash else first
    if last < first:
        raise ValueError
    return AddressRange(first, last, port)


def port_range(text: str) -> range | None:
    """None: any port, as the text is empty. Raises ValueError: it is neither a port nor a first and a last one."""
    if not text.strip():
        return None
    first, dash, last = text.partition("-")
    low = _port(first.strip())
    high = _port(last.strip()) if dash else low
    if high < low:
        raise ValueError
    return range(low, high + 1)


def subnet(address: str, prefix: int) -> AddressRange:
    """The addresses that hosts can have in the network of this address."""
    size = 1 << (32 - prefix)
    first = address_number(address) // size * size
    inner = 1 if size > 2 else 0  # neither the network's own address nor that of everybody
    return AddressRange(first + inner, first + size - 1 - inner)


def address_number(text: str) -> int:
    """Raises ValueError: it is no IPv4 address."""
    parts = text.split(".")
    if len(parts) != 4 or not all(re.fullmatch(r"[0-9]{1,3}", part) and int(part) < 256 for part in parts):
        raise ValueError
    return int.from_bytes(map(int, parts), "big")


def address_text(number: int) -> str:
    return ".".join(map(str, number.to_bytes(4, "big")))


def _split_port(text: str) -> tuple[str, int | None]:
    place, colon, port = text.partition(":")
    if not colon:
        return place, None
    return place, _port(port)


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 0 < int(text) < 65536:
        raise ValueError
    return int(text)
