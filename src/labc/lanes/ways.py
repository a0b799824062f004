"""Over which of this host's interfaces the lanes of a node may go: the setting ``interfaces``, and what is there."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterable

from labc.lanes.addresses import interface_addresses, tcp_endpoint, usable_ips
from labc.settings import InterfaceAddress, Interfaces

logger = logging.getLogger("labc.lanes")

_BELIEVED = 2.0
"""Seconds for which it is believed which interface has an address."""


class Ways:
    """``entries``: those of the setting. For any thread."""

    def __init__(self, entries: Iterable[str]) -> None:
        self._interfaces = Interfaces(entries)
        self._present: list[InterfaceAddress] = []
        self._believed_until = 0.0

    def __bool__(self) -> bool:
        """Whether any are not allowed."""
        return bool(self._interfaces)

    def remark(self) -> None:
        """Log what of the setting does not fit this host as it is now."""
        if self._interfaces:
            for sentence, matters in self._interfaces.remarks(interface_addresses()):
                logger.log(logging.WARNING if matters else logging.INFO, "%s", sentence)

    def own_ips(self) -> list[str]:
        """The addresses of this host under which others may reach it, now; see :func:`usable_ips`."""
        return usable_ips(
            each.address for each in interface_addresses() if each.address and self._interfaces.use(*each)
        )

    def allow(self, own: str) -> bool:
        """Whether a lane may have this address at its end here."""
        if not self._interfaces:
            return True
        own = own.partition("%")[0]
        if time.monotonic() > self._believed_until or not self._interfaces_of(own):
            self._present = interface_addresses()
            self._believed_until = time.monotonic() + _BELIEVED
        return any(self._interfaces.use(name, own) for name in self._interfaces_of(own) or [""])

    def lead_to(self, address: str) -> bool:
        """Whether a connection to this address (in the form of :mod:`labc.lanes.addresses`) would be allowed; also if
        there can be none, which connecting will tell."""
        endpoint = tcp_endpoint(address) or tcp_endpoint(address, "tls")
        if endpoint is None or not self._interfaces:
            return True
        with socket.socket(socket.AF_INET6 if ":" in endpoint[0] else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect(endpoint)  # sends nothing
            except OSError:
                return True
            return self.allow(probe.getsockname()[0])

    def _interfaces_of(self, own: str) -> list[str]:
        return [each.interface for each in self._present if each.address.partition("%")[0] == own]
