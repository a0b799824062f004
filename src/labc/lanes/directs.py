"""The lanes of one node's calling threads, by peer: kept for the next call, and bounded."""

from __future__ import annotations

import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from labc.directory import NodeRecord
from labc.lanes.direct import DirectLane
from labc.settings import Settings
from labc.wire import ONE_WAY, Greeting

_MAX_PER_NODE = 16
"""Calls beyond share the lane of the event loop."""
_IDLE = 10.0
"""Seconds after which a lane that nobody uses is closed."""
_CONNECT_WITHIN = 0.25
"""Not long: the lane of the event loop is there, and a node that hangs is to be known within 3 s in all."""


class _Busy:
    """Lanes that threads use now. One that a Ctrl-C made its thread forget is gone.

    No callback tells so, as a WeakSet has: in one, what the Ctrl-C raises would be lost.
    """

    def __init__(self) -> None:
        self._refs: set[weakref.ref[DirectLane]] = set()

    def add(self, lane: DirectLane) -> None:
        if len(self._refs) >= _MAX_PER_NODE:
            self._refs.difference_update([ref for ref in list(self._refs) if ref() is None])
        self._refs.add(weakref.ref(lane))

    def discard(self, lane: DirectLane) -> None:
        self._refs.discard(weakref.ref(lane))

    def __len__(self) -> int:
        return sum(ref() is not None for ref in list(self._refs))

    def __iter__(self) -> Iterator[DirectLane]:
        return iter([lane for ref in list(self._refs) if (lane := ref()) is not None])


class DirectLanes:
    """Those of one node, by peer; for any thread.

    There is no lock that a Ctrl-C could leave locked: single operations of deques and sets are whole. A lane that it
    makes a thread forget is gone with its last reference.
    """

    def __init__(
        self,
        settings: Settings,
        greeting: Callable[..., Greeting],
        is_present: Callable[[str], bool],
        on_quiet: Callable[[str], None],
        *,
        same_user: bool = False,
        leads_to: Callable[[str], bool] = lambda address: True,
    ) -> None:
        self._settings = settings
        self._same_user = same_user
        self._leads_to = leads_to
        """Whether an address may be connected to."""
        self._greeting = greeting
        self._is_present = is_present
        self._on_quiet = on_quiet
        self._idle: dict[str, deque[DirectLane]] = {}
        """The one that was used last is at the right end."""
        self._busy: dict[str, _Busy] = {}
        self._closed = False

    def busy(self, node_id: str) -> int:
        """Calls to this node that it has not answered yet."""
        busy = self._busy.get(node_id)
        return len(busy) if busy else 0

    def take(self, node: NodeRecord, address: str, deadline: float) -> DirectLane | None:
        """A lane for one call, to be given back; None: there are too many, it is too late, or no way may lead there.

        Raises:
            OSError, LabcError: none can be made.
        """
        idle = self._idle.get(node.id)
        while idle:
            with suppress(IndexError):  # another thread was faster
                lane = idle.pop()
                if lane.still_open():
                    self._busy[node.id].add(lane)
                    return self._unless_closed(lane)
                lane.close("")
        busy = self._busy.setdefault(node.id, _Busy())
        if len(busy) >= _MAX_PER_NODE or not self._leads_to(address):
            return None
        greeting = self._greeting(node, [ONE_WAY])
        lane = DirectLane(greeting, self._settings, node, self._is_present, self._on_quiet)
        busy.add(lane)
        patience = min(_CONNECT_WITHIN, deadline - time.monotonic())
        if self._closed or patience <= 0 or len(busy) > _MAX_PER_NODE:  # another thread may have been faster
            busy.discard(lane)
            return None
        try:
            lane.connect(address, patience, same_user=self._same_user)
        except BaseException:
            busy.discard(lane)
            raise
        return self._unless_closed(lane)

    def _unless_closed(self, lane: DirectLane) -> DirectLane | None:
        """:meth:`close` can't interrupt what is not connected yet."""
        if not self._closed:
            return lane
        self.give_back(lane)
        return None

    def give_back(self, lane: DirectLane) -> None:
        if (busy := self._busy.get(lane.node.id)) is not None:
            busy.discard(lane)
        idle = self._idle.setdefault(lane.node.id, deque())
        if not lane.usable or len(idle) >= _MAX_PER_NODE:
            lane.close("it is one too many")
            return
        lane.used = time.monotonic()
        idle.append(lane)
        if self._closed:
            self.close_idle(unused_for=0.0)

    def close_idle(self, node_id: str | None = None, unused_for: float | None = None) -> None:
        """Close what was not used for so long (10 s); to one node, or to all."""
        limit = time.monotonic() - (_IDLE if unused_for is None else unused_for)
        for key in [node_id] if node_id is not None else list(self._idle):
            idle = self._idle.get(key)
            while idle:
                with suppress(IndexError):
                    lane = idle.popleft()
                    if lane.used > limit and not self._closed:  # then another thread may be closing the rest
                        idle.appendleft(lane)
                        break
                    lane.close("it is not used any more")

    def abandon(self, null: int) -> None:
        """After fork, in the child."""
        every: list[Iterable[DirectLane]] = [*self._idle.values(), *self._busy.values()]
        for lanes in every:
            for lane in list(lanes):
                lane.abandon(null)

    def close(self) -> None:
        """What is open ends with a PeerLostError in the thread that waits for it."""
        self._closed = True
        for busy in list(self._busy.values()):
            for lane in list(busy):
                lane.interrupt()
        self.close_idle(unused_for=0.0)
