"""Large publications, and the pieces of relayed lanes: sent without loss, beside everything else.

Under congestion the engine drops what it can't send within a moment, and of a message of some megabytes on a slow
link that is always a part. Waiting instead would hold up all that this node publishes. So what is large has a link to
the root of its own, with a lower priority, and waits there, in a thread of its own.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

import zenoh

logger = logging.getLogger("labc.fabric")

LARGE = 128 << 10
"""Payloads from this size on are large. The engine cuts them into pieces of 64 KiB, and drops all
of one when its queue has no room for the next."""

_MAX_BYTES = 64 << 20
_ENOUGH_BYTES = 16 << 20
"""With more waiting, a publisher is slowed down rather than left to produce what is dropped."""
_ROOM_WITHIN = 0.1
_LOOK_EVERY = 0.001
_TRY_AGAIN = 0.1


@dataclass(frozen=True, slots=True)
class _Parcel:
    key: str
    payload: bytes
    attachment: bytes | None
    encoding: str
    may_drop: bool


class Bulk:
    """``put`` from any thread. At most 64 MiB wait; beyond, the oldest that may be dropped are, and counted."""

    def __init__(self, open_session: Callable[[], zenoh.Session], on_end: Callable[[], None]) -> None:
        self._open_session = open_session
        self._on_end = on_end
        self._session: zenoh.Session | None = None
        self._parcels: deque[_Parcel] = deque()
        self._bytes = 0
        self._lock = threading.RLock()  # a signal handler may publish, too
        self._wakes: SimpleQueue[None] = SimpleQueue()
        """An entry for each time that the thread shall look. (No condition: a signal handler that raises in a caller of
        `put` could leave its lock locked.)"""
        self._closed = False
        self._dropped_rest = False
        self.dropped = 0
        threading.Thread(target=self._work, name="labc bulk", daemon=True).start()

    def put(
        self, key: str, payload: bytes, attachment: bytes | None = None, encoding: str = "", *, may_drop: bool
    ) -> None:
        """In order for each key, and lossless but for the bound."""
        with self._lock:
            if self._closed:
                return
            self._parcels.append(_Parcel(key, payload, attachment, encoding, may_drop))
            self._bytes += len(payload)
            while self._bytes > _MAX_BYTES and self._drop_oldest():
                pass
        self._wakes.put(None)

    def wait_for_room(self) -> None:
        """Return as soon as less than 16 MiB wait, or after 0.1 s."""
        patience = time.monotonic() + _ROOM_WITHIN
        while self._bytes > _ENOUGH_BYTES and not self._closed and time.monotonic() < patience:
            time.sleep(_LOOK_EVERY)

    def close(self) -> None:
        """Take no more. What waits is still sent; then the thread closes the link, calls ``on_end``, and ends.

        It must have ended before the program does: a thread that the interpreter stops in the middle of the engine
        aborts the process.
        """
        with self._lock:
            self._closed = True
        self._wakes.put(None)

    def drop_rest(self) -> None:
        """After :meth:`close`: it takes too long."""
        with self._lock:
            self._dropped_rest = True
            left = len(self._parcels)
            self._parcels.clear()
        if left:
            self.dropped += left
            logger.warning("%d large messages were not sent: the node left before the network took them", left)

    def engine_objects(self) -> list[Any]:
        return [self._session] if self._session is not None else []

    def _drop_oldest(self) -> bool:
        """Of those that wait behind the first, which is being sent. False: there is none."""
        for index in range(len(self._parcels) - 1):
            if self._parcels[index].may_drop:
                self._bytes -= len(self._parcels[index].payload)
                del self._parcels[index]
                self.dropped += 1
                return True
        return False

    def _next(self) -> _Parcel | None:
        while True:
            self._wakes.get()
            with self._lock:
                if self._parcels:
                    parcel = self._parcels.popleft()
                    self._bytes -= len(parcel.payload)
                    return parcel
                if self._closed:
                    return None

    def _work(self) -> None:
        while (parcel := self._next()) is not None:
            try:
                self._send(parcel)
            except zenoh.ZError as error:
                logger.warning("a large message was not sent: %s", error)
                self.dropped += 1
        if self._session is not None:
            self._session.close()  # type: ignore[no-untyped-call]
            self._session = None
        self._on_end()

    def _send(self, parcel: _Parcel) -> None:
        while self._session is None and not self._dropped_rest:
            try:
                self._session = self._open_session()
            except zenoh.ZError:  # no root just now
                time.sleep(_TRY_AGAIN)
        if self._session is not None:
            self._session.put(
                parcel.key,
                parcel.payload,
                attachment=parcel.attachment,
                encoding=zenoh.Encoding(parcel.encoding),
                congestion_control=zenoh.CongestionControl.BLOCK,
                priority=zenoh.Priority.DATA_LOW,
            )
