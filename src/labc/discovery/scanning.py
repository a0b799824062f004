"""PURE. The exhaustive search: every address of some ranges is asked, at a bounded rate, again and again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set

from labc.discovery.asking import PERIOD, Ask
from labc.settings import AddressRange

_BURST = 0.05
"""Seconds whose asks may go at once, where that is one or more."""
_ROUNDING = 1e-6


class Scan:
    """One pass asks each address at the root's port and at one of its spares; the next pass takes the next spare.

    A pass begins 5 s after the one before began, or when that has ended. ``rate`` is in asks a second, ``now`` in
    monotonic seconds.
    """

    def __init__(self, ports: Sequence[int], rate: float, now: float) -> None:
        self._ports = tuple(ports)
        self._rate = rate
        self._burst = max(_BURST, 1 / rate)
        self._ranges: tuple[AddressRange, ...] = ()
        self._pass = 0
        self._left: Iterator[Ask] = iter(())
        self._running = False
        self._pass_began = now
        self._counted = now
        """Until when the rate has been used up."""

    def set_ranges(self, ranges: Sequence[AddressRange], now: float) -> None:
        """Search these instead of those before; if they are others, at once."""
        if tuple(ranges) != self._ranges:
            self._ranges = tuple(ranges)
            self._running = False
            self.restart(now)

    def restart(self, now: float) -> None:
        """Begin a pass at ``now``, which may lie ahead, or when the one that runs has ended."""
        self._pass_began = min(self._pass_began, now - PERIOD)

    def due(self, now: float, spared: Set[str]) -> list[Ask]:
        """Whom to ask now; it counts as done. ``spared`` are addresses that need not be asked."""
        if not self._ranges:
            return []
        if not self._running:
            if now < self._pass_began + PERIOD:
                return []
            self._begin(now)
        self._counted = max(self._counted, now - self._burst)
        asks: list[Ask] = []
        for _ in range(int((now - self._counted) * self._rate + _ROUNDING)):
            ask = next(self._left, None)
            if ask is None:
                self._running = False
                break
            self._counted += 1 / self._rate
            if ask.address not in spared:
                asks.append(ask)
        return asks

    def next_due(self) -> float:
        if not self._ranges:
            return float("inf")
        return self._counted + max(_BURST / 2, 1 / self._rate) if self._running else self._pass_began + PERIOD

    def _begin(self, now: float) -> None:
        spares = self._ports[1:]
        ports = (self._ports[0], *spares[self._pass % len(spares) :][:1]) if spares else self._ports
        self._pass += 1
        # One address after the other: of how many one asks in a second, the system has to look for as many neighbours.
        self._left = (
            Ask("scan", address, port)
            for place in self._ranges
            for address in place.addresses()
            for port in (ports if place.port is None else (place.port,))
        )
        self._running = True
        self._pass_began = now
        self._counted = max(self._counted, now - self._burst)
