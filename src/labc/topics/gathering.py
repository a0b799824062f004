"""Small messages that are published in quick succession travel together: each costs the engine, the roots and the
receivers much the same, whether it holds one message or a hundred."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence

from labc.errors import ClosedError, LabcError

logger = logging.getLogger("labc.topics")

WINDOW = 0.001
"""Seconds that a message waits for others, or a little longer where the loop is busy."""
AT_ONCE = 16
"""So many messages on one topic within a window wait for nothing: who publishes a message for each answer to the last
one, or a few at a time, never waits. In a flood, in the windows right after one with more of them, all messages wait:
each that travels alone costs as much as all that are gathered in its window."""
MAX_ITEMS = 256
MAX_BYTES = 32 << 10
SMALL = 4 << 10
"""Longer messages gain nothing."""
_MAX_TOPICS = 1024

Gathered = Sequence[tuple[bytes, float]]
"""The head of each message, and when it was published."""


class Burst:
    """PURE. The messages of one topic: which are to be sent when. ``now`` is any clock that only goes forward."""

    __slots__ = ("_at_once", "_began", "_bytes", "_count", "_due", "items")

    def __init__(self) -> None:
        self.items: list[tuple[bytes, float]] = []
        self._began = float("-inf")
        self._count = 0
        self._at_once = AT_ONCE
        self._bytes = 0
        self._due = 0.0

    def add(self, head: bytes, seconds: float, now: float) -> bool:
        """One was published. True: all that there is has to be sent now."""
        if (since := now - self._began) >= WINDOW:
            in_flood = self._count > AT_ONCE and since < 2 * WINDOW
            self._began, self._count, self._at_once = now, 0, 0 if in_flood else AT_ONCE
        self._count += 1
        if not self.items:
            self._bytes, self._due = 0, now + WINDOW
        self.items.append((head, seconds))
        self._bytes += len(head)
        is_full = len(self.items) >= MAX_ITEMS or self._bytes >= MAX_BYTES
        return is_full or self._count <= self._at_once or now >= self._due

    def take(self) -> Gathered:
        """All that there is, from the oldest on."""
        items, self.items = self.items, []
        return items


class Gathering:
    """Those of one node. ``send(key, gathered)`` publishes; it is called in order for each key, from any thread."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        send: Callable[[str, Gathered], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._loop = loop
        self._send = send
        self._clock = clock
        self._lock = threading.RLock()  # a signal handler may publish, too
        self._bursts: dict[str, Burst] = {}
        self._ticking = False
        self._closed = False

    def put(self, key: str, head: bytes, seconds: float) -> None:
        """Publish a small message, now or within a millisecond. From any thread. Raises what ``send`` does."""
        with self._lock:
            burst = self._bursts.get(key) or self._new(key)
            if burst.add(head, seconds, self._clock()) or self._closed:
                self.flush(key)
            elif not self._ticking:
                try:
                    self._loop.call_soon_threadsafe(self._tick)
                except RuntimeError:  # the loop is closed
                    raise ClosedError("the node is closed") from None
                self._ticking = True  # only now: a signal handler may raise before

    def flush(self, key: str | None = None) -> None:
        """Publish what is gathered; of one key, before another message goes past this one."""
        with self._lock:
            for each in list(self._bursts) if key is None else [key]:
                # Nothing is left where a signal handler has published meanwhile.
                if (burst := self._bursts.get(each)) is not None and (gathered := burst.take()):
                    self._send(each, gathered)

    def close(self) -> None:
        """From here on nothing waits."""
        with self._lock:
            self._closed = True
            self.flush()

    def _tick(self) -> None:
        """On the loop: each millisecond, as long as there is anything."""
        with self._lock:
            self._ticking = any(burst.items for burst in self._bursts.values())
            try:
                self.flush()
            except LabcError as error:
                logger.debug("gathered messages were not published: %s", error)
        if self._ticking:
            self._loop.call_later(WINDOW, self._tick)

    def _new(self, key: str) -> Burst:
        if len(self._bursts) >= _MAX_TOPICS:  # of a program that makes up topics without end
            self._bursts = {key: burst for key, burst in self._bursts.items() if burst.items}
        burst = self._bursts[key] = Burst()
        return burst
