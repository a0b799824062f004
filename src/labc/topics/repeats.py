"""PURE. Publications that come twice: while the roots find new ways to each other, one that has come by the old way may
come by the new one as well.

Each node numbers what it publishes, and who takes it remembers which numbers have come: a sliding window, as the one
against replayed packets of RFC 4303, 3.4.3. But what is older than the window is taken for new here: a message too many
is better than one that is lost. On the fabric nobody can tell who has published something: who forges messages in
another node's name, which any member of a network can, can have real ones taken for repeats as well.
"""

from __future__ import annotations

from typing import Final

WIDTH: Final = 8192
"""Numbers that are remembered of each node."""
MAX_NODES: Final = 1024

_ALL: Final = (1 << WIDTH) - 1


class _Window:
    """The numbers of one node."""

    __slots__ = ("_highest", "_seen")

    def __init__(self) -> None:
        self._highest = 0
        self._seen = 0  # bit n: the nth below the highest one

    def add(self, number: int) -> bool:
        """Whether it was not there."""
        below = self._highest - number
        if below < 0:
            self._seen = (self._seen << -below | 1) & _ALL if -below < WIDTH else 1
            self._highest = number
            return True
        if below >= WIDTH:
            return True
        bit = 1 << below
        was_there = self._seen & bit
        self._seen |= bit
        return not was_there


class Repeats:
    """What has come of all nodes."""

    def __init__(self) -> None:
        self._windows: dict[str, _Window] = {}

    def is_new(self, node_id: str, number: int) -> bool:
        """Whether the publication of this node has not come before. Numbers begin with 1; 0: it has none."""
        if number <= 0:
            return True
        window = self._windows.pop(node_id, None) or _Window()
        self._windows[node_id] = window  # the last one now
        if len(self._windows) > MAX_NODES:
            del self._windows[next(iter(self._windows))]
        return window.add(number)
