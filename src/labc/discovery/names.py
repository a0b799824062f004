"""The addresses of hosts that the settings name, looked up beside everything else, as that may take half a minute."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Sequence

from labc.discovery.asking import PERIOD
from labc.settings import HostPlace

logger = logging.getLogger("labc.discovery")

AGAIN = 60.0
"""Seconds after which a name is looked up again; after a failure sooner."""
MAX_ADDRESSES = 8
"""Of one name."""


def look_up(host: str) -> list[str]:
    """The IPv4 addresses of a host. Blocks for as long as the system likes. Raises OSError."""
    found = socket.getaddrinfo(host, None, family=socket.AF_INET, type=socket.SOCK_DGRAM)
    return list(dict.fromkeys(str(address[4][0]) for address in found))[:MAX_ADDRESSES]


class Names:
    """Knows the addresses of these hosts, old ones while a new search runs; ``on_change`` is called on any thread."""

    def __init__(
        self,
        hosts: Sequence[HostPlace],
        on_change: Callable[[], None],
        look_up: Callable[[str], list[str]] = look_up,
    ) -> None:
        self._hosts = hosts
        self._on_change = on_change
        self._look_up = look_up
        self._found: dict[str, list[str]] = {}
        self._failed: set[str] = set()
        self._looking: set[str] = set()
        self._due: dict[str, float] = {}
        for place in hosts:
            if place.host.replace(".", "").isdecimal():
                self._found[place.host] = [place.host]
            else:
                self._due[place.host] = float("-inf")

    def places(self, ports: Sequence[int]) -> list[tuple[str, int]]:
        """Addresses and ports, as far as they are known; these ports for hosts without one."""
        return [
            (address, port)
            for place in self._hosts
            for address in self._found.get(place.host, ())
            for port in ([place.port] if place.port else ports)
        ]

    def restart(self) -> None:
        """Look all names up again: the network has changed."""
        for host in self._due:
            self._due[host] = float("-inf")

    def look(self, now: float) -> None:
        """Begin what is due at ``now`` (monotonic seconds). One search for a name at a time, each in its own thread."""
        for host, due in self._due.items():
            if due <= now and host not in self._looking:
                self._looking.add(host)
                self._due[host] = now + (PERIOD if host not in self._found or host in self._failed else AGAIN)
                name = f"discovery looks up {host}"  # it can't be ended, nor need it be
                threading.Thread(target=self._search, args=(host,), name=name, daemon=True).start()

    def next_due(self) -> float:
        return min((due for host, due in self._due.items() if host not in self._looking), default=float("inf"))

    def _search(self, host: str) -> None:
        try:
            found = self._look_up(host)
        except (OSError, UnicodeError) as error:
            if host not in self._failed:
                logger.info("the address of %s (setting hosts) is not known: %s", host, error)
            self._failed.add(host)
        else:
            self._failed.discard(host)
            self._found[host] = found
        self._looking.discard(host)
        self._on_change()
