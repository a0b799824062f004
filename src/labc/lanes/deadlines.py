"""When the calls on a lane are given up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_SOON = 5.0
"""Seconds. Much longer than ``heartbeat_interval``, at which they are looked through."""


class Deadlines:
    """Only what is due soon has a timer of the loop: most calls are answered long before, and a timer costs more than
    all the rest of a deadline."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_late: Callable[[int], None]) -> None:
        self._loop = loop
        self._on_late = on_late
        self._far: dict[int, float] = {}
        self._timers: dict[int, asyncio.TimerHandle] = {}

    def add(self, call_id: int, deadline: float) -> None:
        """``on_late(call_id)`` at this time of the loop, unless it is removed before."""
        if deadline - self._loop.time() < _SOON:
            self._timers[call_id] = self._loop.call_at(deadline, self._on_late, call_id)
        else:
            self._far[call_id] = deadline

    def remove(self, call_id: int) -> None:
        if self._far.pop(call_id, None) is None and (timer := self._timers.pop(call_id, None)):
            timer.cancel()

    def look_through(self) -> None:
        """To be called now and then: gives what has become due soon its timer."""
        soon = self._loop.time() + _SOON
        for call_id in [key for key, deadline in self._far.items() if deadline < soon]:
            self.add(call_id, self._far.pop(call_id))

    def clear(self) -> None:
        self._far.clear()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
