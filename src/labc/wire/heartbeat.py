"""When to ask a silent peer for a sign of life, and when to give it up."""

from __future__ import annotations

from typing import NamedTuple

SHORTEST_WAIT = 0.01
"""Seconds between two looks at least, whatever the settings say."""


class Action(NamedTuple):
    """What to do now."""

    at: float
    """When to call `Heartbeat.next` again, on the caller's clock."""

    ping: bool
    """Send a PING now."""

    quiet: bool
    """The peer lets a PING unanswered for an interval or longer: others are to be preferred."""

    lost: bool
    """The peer was silent for longer than the timeout."""


class Heartbeat:
    """Watches the silence of one peer. All times are seconds on the caller's monotonic clock.

    A peer that falls silent is given up within ``timeout + interval``. If the clock jumps further than one
    ``interval`` beyond the time for which `next` had asked, this process itself was stopped, asleep or starved:
    what the peer sent meanwhile has not been read yet, so the silence is counted afresh.
    """

    def __init__(self, interval: float, timeout: float, now: float) -> None:
        self._interval = max(interval, SHORTEST_WAIT)
        self._timeout = timeout
        self._heard = now
        self._pinged = now
        self._due = now
        self._asked = False
        """It was sent a PING, and not heard since."""
        self._quiet = False

    @property
    def waiting(self) -> bool:
        """Whether a PING is not answered yet."""
        return self._asked

    def heard(self, now: float) -> None:
        """Something arrived from the peer, whatever it was."""
        self._heard = now
        self._asked = self._quiet = False

    def next(self, now: float) -> Action:
        """What to do now, and when to look again."""
        overslept = now - self._due > self._interval
        if overslept:
            self._heard = max(self._heard, now)
            self._asked = False
        silence = now - self._heard
        lost = silence >= self._timeout
        ping = not lost and (overslept or now >= max(self._heard, self._pinged) + self._interval)
        if ping:
            self._quiet, self._asked = self._asked, True
            self._pinged = now
        ping_at = max(self._heard, self._pinged) + self._interval
        self._due = max(min(ping_at, self._heard + self._timeout), now + SHORTEST_WAIT)
        return Action(self._due, ping, self._quiet or lost, lost)
