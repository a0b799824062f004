"""PURE. All that a root does to find others, joined: what it asks, what it makes of what it hears.

The shell around it is :mod:`labc.discovery.carrier`; nothing here touches a socket or a clock.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence, Set
from typing import NamedTuple

from labc.discovery.acquaintances import Acquaintances, Introduction
from labc.discovery.asking import LOOPBACK, NEIGHBOURS, Ask, Asking
from labc.discovery.datagrams import TOKEN_BYTES, Datagram, decode, encode, network_digest, opened, sealed
from labc.discovery.description import Description, asks_who_is_there, asks_who_you_are, described
from labc.discovery.scanning import Scan
from labc.discovery.subnets import Address, local_ranges
from labc.settings import MAX_SCANNED, Settings, address_range

ANSWERS_PER_SECOND = 1000
"""At most; what comes faster is not answered, and counted."""
_ANSWERS_BURST = 0.1
"""Seconds whose answers may go at once."""
WHILE_WAITING = 0.1
"""Seconds between two looks at whom to introduce, while somebody waits for that."""
SLEPT = 2.0
"""Seconds of delay after which this host, or this process, seems to have been stopped."""
AFTER_SLEEP = 0.5
"""Seconds until it asks then: what links it had must end first, see `acquaintances.SETTLE`."""


class Root(NamedTuple):
    """The root of this host, for which others are looked for."""

    network: str
    """Or what stands for it in a keyed one, where no two have the same."""
    ports: tuple[int, ...]
    """Those that a root of this network may hold."""
    port: int
    """The one that this root holds."""
    root_id: str
    secret: bytes | None = None
    """Of a keyed network: only who knows it is heard."""


class Plan:
    """``now`` is in monotonic seconds."""

    def __init__(self, settings: Settings, root: Root, now: float) -> None:
        self._root = root
        self._digest = network_digest(root.network)
        self._settings = settings
        methods = set(settings.discovery)
        self.multicast = "multicast" in methods
        self.acquaintances = Acquaintances(root.root_id)
        self._asking = Asking(multicast=self.multicast, now=now)
        neighbours = [(LOOPBACK, port) for port in root.ports if port != root.port]
        self._asking.set_places(NEIGHBOURS, neighbours, now)
        self._scan = Scan(root.ports, settings.scan_rate, now) if "scan" in methods else None
        self._tokens = {
            os.urandom(TOKEN_BYTES): method for method in ("multicast", "remembered", "hosts", "scan", NEIGHBOURS)
        }
        self._token_of = {method: token for token, method in self._tokens.items()}
        self._addresses: frozenset[Address] = frozenset()
        self._named: set[str] = set()
        """Of the setting `hosts`. In a keyed network an answer from there is good even if addresses are translated."""
        self._answers_until = now - _ANSWERS_BURST
        """Until when the rate of answers has been used up."""
        self.refused_ranges: list[Address] = []
        """Local subnets that are too large to search."""
        self.unanswered = 0
        """Asks that came faster than they may be answered."""
        self.foreign = 0
        """Datagrams that are no business of this network."""
        self.asked = 0
        """Datagrams that asked."""

    @property
    def root_id(self) -> str:
        return self._root.root_id

    # What changes around it.

    def see_addresses(self, addresses: frozenset[Address], now: float) -> bool:
        """The host's addresses now. Returns whether they have changed; then everybody is asked anew."""
        if addresses == self._addresses:
            return False
        self._addresses = addresses
        self._asking.set_own({each.address for each in addresses})
        self._asking.restart(now)
        if self._scan:
            if self._settings.scan_ranges:
                ranges = [address_range(text) for text in self._settings.scan_ranges]
            else:
                limit = None if self._settings.scan_large else MAX_SCANNED
                ranges, self.refused_ranges = local_ranges(addresses, limit)
            self._scan.set_ranges(ranges, now)
            self._scan.restart(now)
        return True

    def see_places(self, method: str, places: Sequence[tuple[str, int]], now: float) -> None:
        """The addresses and ports of "hosts" or "remembered", as they are known now."""
        if method == "hosts":
            self._named = {address for address, _ in places}
        self._asking.set_places(method, places, now)

    def see_linked(self, linked: Set[str], now: float) -> None:
        """The ids of the routers that are linked with this root now."""
        if self.acquaintances.see_linked(linked, now):
            self.restart(now + AFTER_SLEEP)

    def restart(self, now: float) -> None:
        """Ask everybody anew from ``now`` on, which may lie ahead."""
        self._asking.restart(now)
        if self._scan:
            self._scan.restart(now)

    # What it asks.

    def asks(self, now: float) -> list[Ask]:
        """Whom to ask now; it counts as done."""
        linked = self.acquaintances.linked_addresses()
        asks = self._asking.due(now, linked)
        self.asked += len(asks)
        return asks

    def searches(self, now: float) -> list[Ask]:
        """The same, of the exhaustive search."""
        if self._scan is None:
            return []
        spared = self.acquaintances.linked_addresses() | {each.address for each in self._addresses}
        asks = self._scan.due(now, spared)
        self.asked += len(asks)
        return asks

    def question(self, method: str) -> bytes:
        """To be passed through :meth:`sealed`, as what :meth:`take` returns."""
        return encode(Datagram(False, self._digest, self._root.port, self._token_of[method], self._root.root_id))

    @property
    def is_keyed(self) -> bool:
        return self._root.secret is not None

    def sealed(self, data: bytes, own_address: str) -> bytes:
        """As it is sent from this address of the host in a keyed network."""
        assert self._root.secret is not None
        return sealed(data, own_address, self._root.secret)

    # What it hears.

    def take(self, data: bytes, address: str, port: int, by_multicast: bool, now: float) -> bytes | None:
        """What arrived from there. Returns the answer to send back, if any."""
        sender = address
        if self._root.secret is not None:
            if (content := opened(data, self._root.secret)) is None:
                self.foreign += 1
                return None
            data, sender = content
        datagram = decode(data)
        if datagram is None or datagram.digest != self._digest:
            self.foreign += 1
            return None
        if datagram.root_id == self._root.root_id:
            return None
        ports = tuple(dict.fromkeys((datagram.port, port)))  # they differ where ports are forwarded
        if datagram.answer:
            method = self._tokens.get(datagram.token)
            if method is not None and (sender == address or address in self._named):  # else nobody asked for it
                self.acquaintances.heard(datagram.root_id, address, ports, method, now, answered=True)
            return None
        method = "multicast" if by_multicast else "asked from there"
        linked = self.acquaintances.is_linked(datagram.root_id)
        if not linked and not self.may_answer(now):  # first: whoever floods this makes up roots without end
            return None
        if sender == address:  # else somebody repeats what he heard, or translates addresses: then its root calls
            self.acquaintances.heard(datagram.root_id, address, ports[:1], method, now, answered=False)
        if linked and (by_multicast or not self.may_answer(now)):
            return None
        return encode(Datagram(True, self._digest, self._root.port, datagram.token, self._root.root_id))

    def tell_anybody(self, data: bytes, describe: Callable[[], Description], now: float) -> bytes | None:
        """The answer to who asks all there are, of whatever network, if this is such an ask. It is sent as it is."""
        if (token := asks_who_you_are(data)) is not None and self.may_answer(now):
            return described(token, describe())
        if (token := asks_who_is_there(data)) is not None and self.may_answer(now):
            return encode(Datagram(True, self._digest, self._root.port, token, self._root.root_id))
        return None

    @property
    def digest(self) -> bytes:
        """Of the network."""
        return self._digest

    def introductions(self, now: float) -> list[Introduction]:
        """Of whom the own root is to be told now; it counts as done."""
        return self.acquaintances.introductions(now)

    def next_due(self, now: float) -> float:
        """When to look again, if nothing arrives."""
        due = self._asking.next_due()
        return min(due, now + WHILE_WAITING) if self.acquaintances.waiting(now) else due

    def next_search(self) -> float:
        """When there are more :meth:`searches`."""
        return self._scan.next_due() if self._scan else float("inf")

    def may_answer(self, now: float) -> bool:
        """Whether one more answer can be sent now; it counts as sent, or as not answered."""
        used = max(self._answers_until, now - _ANSWERS_BURST)
        if used > now:
            self.unanswered += 1
            return False
        self._answers_until = used + 1 / ANSWERS_PER_SECOND
        return True


def locators(introduction: Introduction, protocol: str = "tcp") -> list[str]:
    """How the engine writes where a root can be reached; in a keyed network by the ``protocol`` "tls"."""
    # What a root connects to by its configuration (the spares of its own host) it does not connect to when it hears
    # of it, and goes by the text: so this one has a property more, which says what holds for both protocols.
    suffix = "?rel=1" if introduction.address == LOOPBACK else ""
    return [f"{protocol}/{introduction.address}:{port}{suffix}" for port in introduction.ports]
