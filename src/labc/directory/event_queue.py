"""PURE. The events of nodes that wait for one watcher: bounded, and what he is told stays true."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from labc.directory.node_events import NodeEvent

_ENDS = ("left", "lost")


class EventQueue:
    """When more than ``size`` events wait, those that tell nothing any more are taken out, and counted in ``dropped``:

    - a doubt that was dispelled again,
    - a node that came and went, and of which the watcher was told nothing.

    No other event is ever dropped. So what waits is at most ``size``, or, where this is more, six events for each node
    (three are left of any number, and they are taken out when it has doubled): of those nodes that the watcher knows of
    and those that are in the network.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._limit = size
        self._events: deque[NodeEvent] = deque()
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._events)

    def put(self, *events: NodeEvent) -> None:
        self._events.extend(events)
        if len(self._events) > self._limit:
            kept = _meaningful(self._events)
            self.dropped += len(self._events) - len(kept)
            self._events = deque(kept)
            # To look through all of them pays for twice as many, not for each one.
            self._limit = max(self._size, 2 * len(kept))

    def take(self) -> NodeEvent:
        """The oldest. Raises IndexError: there is none."""
        event = self._events.popleft()
        if len(self._events) < self._size:
            self._limit = self._size
        return event


def _meaningful(events: Iterable[NodeEvent]) -> list[NodeEvent]:
    """What is left of the events, in their order, when a watcher sees only where they lead."""
    kept: dict[int, NodeEvent] = {}
    of_node: dict[str, list[int]] = {}
    """The places of what is kept of each node."""
    for place, event in enumerate(events):
        kept[place] = event
        places = of_node.setdefault(event.id, [])
        places.append(place)
        for unseen in _superfluous([kept[each].kind for each in places]):
            del kept[places.pop(unseen)]
    return list(kept.values())


def _superfluous(kinds: list[str]) -> range:
    """Which of a node's events mean nothing now that the last one has come; the last of them first."""
    last = len(kinds) - 1
    if last and {kinds[last - 1], kinds[last]} == {"suspect", "back"}:
        return range(last, last - 2, -1)
    if kinds[last] in _ENDS:
        first = last
        while first and kinds[first - 1] not in _ENDS:
            first -= 1
        if kinds[first] == "joined":
            return range(last, first - 1, -1)
        return range(last - 1, first - 1, -1)
    return range(0)
