"""Looking again and again for what is about to come, instead of sleeping until it does.

A thread that sleeps on an idle processor takes longer to wake than a short call takes: a ping-pong over a Unix socket
takes 10 µs with both ends on one processor, and 50 µs with each on its own. So who waits for something that came within
a moment the last time stays awake for that moment, as adaptive locks do (spin, then park). It gives way after each
look; where it shares its processor that is no use, and it sleeps.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

MOMENT = 0.0002
"""Seconds. What took longer the last time is waited for asleep."""

_SHARED = 0.00001
"""Seconds. A thread that lost more than this in one go shares its processor."""

_TOO_OFTEN = 8
"""It does so if that happens more often than once in so many times, some times over."""

_SLEEPY = 0.1
"""Seconds for which it does not stay awake after that."""

give_way: Callable[[], None] = getattr(os, "sched_yield", lambda: time.sleep(0))  # Windows has no such call
"""Let others use this processor."""


class Awake:
    """Whether it pays for one thread to stay awake."""

    def __init__(self) -> None:
        self._not_before = 0.0
        self._shared = 0
        self._began = (0.0, 0.0)

    def begin(self, last_took: float) -> bool:
        """Whether to stay awake for something that took so many seconds the last time."""
        now = time.monotonic()
        if last_took >= MOMENT or now < self._not_before:
            return False
        self._began = now, time.thread_time()
        return True

    def end(self) -> None:
        """It was awake since :meth:`begin`: how much of that time was it without a processor?"""
        began, used = self._began
        now = time.monotonic()
        if now - began - (time.thread_time() - used) < _SHARED:
            self._shared = max(0, self._shared - 1)
            return
        self._shared += _TOO_OFTEN
        if self._shared >= 4 * _TOO_OFTEN:
            self._not_before, self._shared = now + _SLEEPY, 0


class AwakeLoop:
    """Keeps an event loop from sleeping for a moment."""

    def __init__(self, call_soon: Callable[[Callable[[], None]], object]) -> None:
        self._call_soon = call_soon
        self._awake = Awake()
        self._until = 0.0
        self._turning = False

    def expect(self, last_took: float) -> None:
        """Something has come, and more is about to that took so many seconds the last time."""
        if self._turning:
            self._awake.end()
        if not self._awake.begin(last_took):
            self._until = 0.0
            return
        self._until = time.monotonic() + MOMENT
        if not self._turning:
            self._turning = True
            self._call_soon(self._turn)

    def _turn(self) -> None:
        if time.monotonic() < self._until:
            give_way()
            self._call_soon(self._turn)
        else:
            self._turning = False
