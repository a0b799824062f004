"""Watching nodes in tests: what this process is told, and when."""

from __future__ import annotations

import queue
import time
from typing import Self

import pytest

import labc


class Watcher:
    """What this process is told, with the time (monotonic) at which it was."""

    def __init__(self) -> None:
        self.events: queue.SimpleQueue[tuple[labc.NodeEvent, float]] = queue.SimpleQueue()
        self.handle = labc.watch_nodes(lambda event: self.events.put((event, time.monotonic())))

    def next(self, timeout: float = 5.0) -> tuple[str, str, float]:
        """Kind, node and time of the next event."""
        event, moment = self.events.get(timeout=timeout)
        return event.kind, event.name, moment

    def expect(self, *kinds_and_names: str, timeout: float = 5.0) -> float:
        """The next events are these, ``"joined a"``; the time of the last."""
        moment = 0.0
        for expected in kinds_and_names:
            kind, name, moment = self.next(timeout)
            assert f"{kind} {name}" == expected
        return moment

    def told_nothing_within(self, seconds: float) -> None:
        with pytest.raises(queue.Empty):
            raise AssertionError(self.events.get(timeout=seconds)[0])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.handle.close()
