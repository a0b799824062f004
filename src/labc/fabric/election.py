"""PURE. How a node gets its place on the fabric: as a client of its host's root, or as the root itself.

The root is whoever holds the root port. A node without a link tries to become a client; where nobody answers, it
tries to take the port. A port that is held by a process that does not answer (stopped, or not labc at all) is
passed over for the next of the range.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Step = Literal["connect", "listen"]

REFUSED_WITHIN = 0.5
"""A connection attempt that failed faster than this many seconds was refused: nobody holds the ports.
Slower, and somebody accepted it and said nothing."""

OPEN_WITHIN = 1.0
"""Seconds that a port which accepts a connection may take to answer as a root."""

TRIES = 4
"""A port that is held, and where no root answers, is tried so often: its holder may be a root that has just begun, or
something that is not labc."""


@dataclass(slots=True)
class Election:
    """One search for a place. Ask :meth:`step`, do it, tell the outcome, until one succeeds."""

    ports: tuple[int, ...]
    listen_first: bool = False
    """For a node whose root has just died: the port is free now, and the link comes back by itself."""

    patient: bool = field(default=False, init=False)
    """Give whoever holds the port more time for an answer, once: many nodes may be starting."""
    _was_patient: bool = field(default=False, init=False)
    _silent: bool = field(default=False, init=False)
    _refusals: int = field(default=0, init=False)
    """How often in a row the port could not be taken, and no root answered there."""
    _next: Step = field(default="connect", init=False)
    _index: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.listen_first:
            self._next = "listen"

    def step(self) -> tuple[Step, int]:
        """What to do next, and for "listen" on which port."""
        return self._next, self.ports[self._index]

    def link_within(self) -> float:
        """Seconds in which a session that goes through the ports by itself reaches a root on the one that is next,
        when all before it are held in silence."""
        return REFUSED_WITHIN + self._index * OPEN_WITHIN

    def connect_failed(self, seconds: float) -> None:
        """No root was reached, and this is how long the attempt took."""
        silent = seconds >= REFUSED_WITHIN
        self.patient = silent and not self.listen_first and not self._was_patient
        if self.patient:
            self._was_patient = True
            return
        self._silent = silent
        self._next = "listen"

    def listen_failed(self) -> None:
        """Somebody holds the port: look if it is a root; if that was tried in vain, pass the port over."""
        self._refusals += 1
        if self._silent or self._refusals == TRIES:
            self._refusals = 0
            self._silent = False
            self._index = (self._index + 1) % len(self.ports)
            self._next = "listen" if self._index else "connect"  # once round: start again by connecting
        else:
            self._next = "connect"
