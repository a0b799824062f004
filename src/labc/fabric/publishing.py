"""What a node publishes: small messages by publishers of the engine, large ones by a link of their own."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import zenoh

from labc.errors import ClosedError, FabricError, OverloadedError
from labc.fabric.bulk import LARGE, Bulk

MSGPACK = "application/msgpack"
_OUT_WITHIN = 0.1
_BULK_WITHIN = 0.4
_MAX_PUBLISHERS = 1024
_MAX_EARLY = 10_000


class Publishing:
    """``publish`` in order for each key, from any thread; the rest is for the node's loop.

    Only who publishes large messages waits, in a thread that is not the loop's: see `Bulk.wait_for_room`.
    """

    def __init__(
        self,
        open_link: Callable[[], zenoh.Session],
        session: Callable[[], zenoh.Session],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._open_link = open_link
        self._session = session
        self._loop = loop
        self._loop_thread = threading.get_ident()
        self._lock = threading.RLock()
        self._putting = threading.RLock()
        """No thread is in the engine with a message when the program ends, which would abort it. A signal handler
        may publish in the middle of that, or close the node."""
        self._left = False
        self._publishers: dict[str, Any] = {}
        self._large_keys: set[str] = set()
        self._bulk: Bulk | None = None
        self._dropped_before = 0
        self._bulk_ended = asyncio.Event()
        self._held_until = 0.0
        self._early: list[tuple[str, bytes, bytes | None, str]] = []

    def publish(
        self, key: str, payload: bytes, attachment: bytes | None, encoding: str, *, may_wait: bool = True
    ) -> None:
        """Raises OverloadedError: too much is held already."""
        if may_wait:
            self.wait_for_room(len(payload))
        if not self._held_until or self._may_publish(key, payload, attachment, encoding):
            self._publish(key, payload, attachment, encoding)

    def wait_for_room(self, size: int) -> None:
        """What :meth:`publish` does first: who publishes something large waits a moment, if it is not the loop."""
        bulk = self._bulk  # another thread may take it away
        if size >= LARGE and bulk is not None and threading.get_ident() != self._loop_thread:
            bulk.wait_for_room()

    def publish_reliably(self, key: str, payload: bytes) -> None:
        """Wait for room under congestion, without blocking. The caller bounds how much."""
        self._bulk_sender().put(key, payload, may_drop=False)

    @property
    def dropped(self) -> int:
        """Large messages that were dropped here because the network takes no more."""
        bulk = self._bulk
        return self._dropped_before + (bulk.dropped if bulk else 0)

    def hold_until(self, moment: float) -> None:
        """Keep what is published before this time of the loop until then. On the loop."""
        self._held_until = moment
        self._loop.call_at(moment, self.release)

    @property
    def held(self) -> int:
        """Messages that are kept."""
        return len(self._early)

    def release(self) -> None:
        """Publish what was kept, in order, and before any other: who would publish now, waits."""
        with self._lock:
            early, self._early = self._early, []
            for publication in early:
                with suppress(FabricError, ClosedError):
                    self._publish(*publication)
            self._held_until = 0.0

    async def close(self) -> None:
        """From here on no thread is in the engine with a message. What was published last arrives, be it large: it is
        waited for, 0.4 s at most."""
        self._left = True
        if self._putting.acquire(timeout=_OUT_WITHIN):
            self._putting.release()
        if self._bulk is not None:
            self._bulk.close()
            with suppress(TimeoutError):
                async with asyncio.timeout(_BULK_WITHIN):
                    await self._bulk_ended.wait()
            self._bulk.drop_rest()

    def renew(self) -> None:
        """The session is another one from here on."""
        with self._lock:
            self._publishers.clear()
            bulk, self._bulk = self._bulk, None
        if bulk is not None:
            bulk.close()
            if not bulk.engine_objects():
                bulk.drop_rest()  # it has no link, and would try for one again and again
            self._dropped_before += bulk.dropped

    def forget(self) -> None:
        """Let go of the engine's objects."""
        self._publishers.clear()

    def engine_objects(self) -> list[Any]:
        return [*self._publishers.values(), *(self._bulk.engine_objects() if self._bulk else [])]

    # Within.

    def _may_publish(self, key: str, payload: bytes, attachment: bytes | None, encoding: str) -> bool:
        """False: not yet; it will be."""
        with self._lock:
            if not self._held_until:
                return True
            if len(self._early) >= _MAX_EARLY:
                raise OverloadedError(f"{_MAX_EARLY} messages wait until the other hosts are found")
            self._early.append((key, payload, attachment, encoding))
            return False

    def _publish(self, key: str, payload: bytes, attachment: bytes | None, encoding: str) -> None:
        if len(payload) >= LARGE:
            if len(self._large_keys) >= _MAX_PUBLISHERS:
                self._large_keys.clear()
            self._large_keys.add(key)
        if key in self._large_keys:
            self._bulk_sender().put(key, payload, attachment, encoding, may_drop=True)
            return
        publisher = self._publishers.get(key) or self._new_publisher(key)
        try:
            with self._putting:
                if self._left:
                    raise ClosedError("the node is closed")
                if encoding == MSGPACK:
                    publisher.put(payload, attachment=attachment)
                else:
                    publisher.put(payload, attachment=attachment, encoding=zenoh.Encoding(encoding))
        except zenoh.ZError as error:
            raise FabricError(f"nothing can be published: {error}") from error

    def _new_publisher(self, key: str) -> Any:
        with self._lock:
            if (publisher := self._publishers.get(key)) is not None:  # by another thread, just now
                return publisher
            if len(self._publishers) >= _MAX_PUBLISHERS:  # of a program that makes up topics without end
                for old in list(itertools.islice(self._publishers, _MAX_PUBLISHERS // 2)):
                    del self._publishers[old]  # it ends when no other thread is using it
            try:
                publisher = self._session().declare_publisher(key, encoding=zenoh.Encoding(MSGPACK))
            except zenoh.ZError as error:
                raise FabricError(f"nothing can be published: {error}") from error
            self._publishers[key] = publisher
            return publisher

    def _bulk_sender(self) -> Bulk:
        with self._lock:
            if self._bulk is None:
                self._bulk_ended = ended = asyncio.Event()
                self._bulk = Bulk(self._open_link, lambda: self._bulk_ends(ended))
            return self._bulk

    def _bulk_ends(self, ended: asyncio.Event) -> None:
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(ended.set)
