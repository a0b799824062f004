"""PURE. When to ask whom: often after a start or a change, then every few seconds for ever."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass
from typing import NamedTuple

QUICK = (0.0, 0.25, 1.0, 2.0, 4.0)
"""Seconds after a start or a change at which is asked; see also `PERIOD`."""
PERIOD = 5.0
"""Seconds between two asks of the same from then on, when nobody answers. Two islands are to be one 10 s after they can
reach each other; in this is a lost datagram, too."""
_SPREAD = 0.1
"""Each period is shorter by up to this share, at random, so that hosts do not always ask together."""

EVERYBODY = ""
"""The address of an ask that goes by multicast."""
LOOPBACK = "127.0.0.1"
NEIGHBOURS = "this host"
"""The method by which a root finds others of its network on its own host."""


class Ask(NamedTuple):
    method: str
    address: str
    port: int


@dataclass(slots=True)
class _Rhythm:
    """Of one address."""

    started: float
    step: int = 0
    due: float = 0.0

    def __post_init__(self) -> None:
        self.due = self.started

    def restart(self, now: float) -> None:
        self.started = now
        self.step = 0
        self.due = min(self.due, now)

    def asked(self, now: float, shorter: float) -> None:
        """What was missed (the host slept) is not made up for."""
        while self.step < len(QUICK) - 1:
            self.step += 1
            if (due := self.started + QUICK[self.step]) > now:
                self.due = due
                return
        self.due = now + PERIOD * (1 - _SPREAD * shorter)


class Asking:
    """Whom to ask of the methods that name their addresses, and by multicast. ``now`` is in monotonic seconds."""

    def __init__(self, *, multicast: bool, now: float, chance: Callable[[], float] = random.random) -> None:
        self._chance = chance
        self._places: dict[str, tuple[tuple[str, int], ...]] = {}
        self._ports: dict[tuple[str, str], list[int]] = {}
        """By method and address."""
        self._own: Set[str] = frozenset()
        self._rhythms: dict[tuple[str, str], _Rhythm] = {}
        self._multicast = _Rhythm(now) if multicast else None

    def restart(self, now: float) -> None:
        """Ask everybody quickly again, from ``now`` on, which may lie ahead. Nobody is asked later than without it."""
        if self._multicast:
            self._multicast.restart(now)
        for rhythm in self._rhythms.values():
            rhythm.restart(now)

    def set_places(self, method: str, places: Iterable[tuple[str, int]], now: float) -> None:
        """The addresses and ports of a method, instead of those before. New addresses are asked at once."""
        wanted = tuple(dict.fromkeys(places))
        if self._places.get(method) == wanted:
            return
        self._places[method] = wanted
        self._ports = {key: ports for key, ports in self._ports.items() if key[0] != method}
        for address, port in wanted:
            self._ports.setdefault((method, address), []).append(port)
            self._rhythms.setdefault((method, address), _Rhythm(now))
        self._rhythms = {key: rhythm for key, rhythm in self._rhythms.items() if key in self._ports}

    def set_own(self, addresses: Set[str]) -> None:
        """The addresses of this host, without loopback: nobody is asked there."""
        self._own = addresses

    def due(self, now: float, linked: Set[str]) -> list[Ask]:
        """Whom to ask now; it counts as done. Nobody at the addresses of those that are linked."""
        asks = []
        if self._multicast and self._multicast.due <= now:
            self._multicast.asked(now, self._chance())
            asks.append(Ask("multicast", EVERYBODY, 0))
        for (method, address), rhythm in self._rhythms.items():
            if rhythm.due > now:
                continue
            rhythm.asked(now, self._chance())
            if address not in linked and address not in self._own:
                asks += [Ask(method, address, port) for port in self._ports[method, address]]
        return asks

    def next_due(self) -> float:
        """When to look again; infinity: never."""
        rhythms = [*self._rhythms.values(), *([self._multicast] if self._multicast else [])]
        return min((rhythm.due for rhythm in rhythms), default=float("inf"))
