"""Looking again and again for what is about to come, instead of sleeping until it does.

A thread that sleeps on an idle processor takes longer to wake than a short call takes: a ping-pong over a Unix socket
takes three times as long with each end on a processor of its own as with both on one (``make bench ONLY=calls``). So
who waits for something that came within a moment the last time stays awake for that moment, as adaptive locks do (spin,
then park). It gives way after each look; where it shares its processor that is no use, and it sleeps.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

POSSIBLE = hasattr(os, "sched_yield")
"""Windows has neither this nor a clock for what a thread uses that is fine enough."""

_SHARED = 0.00001
"""Seconds. A thread that was without a processor for longer than this, while it was awake, shares it."""

_IN_A_ROW = 3
"""So many times, before it sleeps."""

_PAUSE = 0.1
"""Seconds for which it then does not stay awake; each time twice as long, if it still shares."""

_LONGEST_PAUSE = 5.0

give_way: Callable[[], None] = getattr(os, "sched_yield", lambda: None)
"""Let others use this processor."""


class Awake:
    """Whether it pays for one thread to stay awake for ``moment`` seconds; 0: never."""

    def __init__(self, moment: float) -> None:
        self.moment = moment if POSSIBLE else 0.0
        self._began: tuple[float, float] | None = None
        self._in_a_row = 0
        self._pause = _PAUSE
        self._not_before = 0.0

    def begin(self, last_took: float) -> bool:
        """Whether to stay awake for what took so many seconds the last time; then :meth:`end` has to follow."""
        now = time.perf_counter()
        if last_took >= self.moment or now < self._not_before:
            return False
        self._began = now, time.thread_time()
        return True

    def end(self) -> None:
        """It was awake until now, or is not any more. Was the processor its own?"""
        if self._began is None:
            return
        (began, used), self._began = self._began, None
        now = time.perf_counter()
        if now - began - (time.thread_time() - used) < _SHARED:
            self._in_a_row, self._pause = 0, _PAUSE
            return
        self._in_a_row += 1
        if self._in_a_row >= _IN_A_ROW:
            self._not_before = now + self._pause
            self._in_a_row, self._pause = _IN_A_ROW - 1, min(2 * self._pause, _LONGEST_PAUSE)


class AwakeLoop:
    """Keeps an event loop from sleeping."""

    def __init__(self, call_soon: Callable[[Callable[[], None]], object], moment: float) -> None:
        self._call_soon = call_soon
        self._awake = Awake(moment)
        self._until = 0.0
        self._turning = False

    def keep(self, interval: float) -> None:
        """Something has come, so many seconds after the one before it: the next may be about to."""
        if interval >= self._awake.moment:
            return
        self._awake.end()
        if not self._awake.begin(interval):
            self._until = 0.0
            return
        self._until = time.perf_counter() + self._awake.moment
        if not self._turning:
            self._turning = True
            self._call_soon(self._turn)

    def _turn(self) -> None:
        if time.perf_counter() < self._until:
            give_way()
            self._call_soon(self._turn)
        else:
            self._turning = False
            self._awake.end()
