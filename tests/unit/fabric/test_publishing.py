from __future__ import annotations

import asyncio
import threading
import time

from labc.fabric.bulk import LARGE
from labc.fabric.publishing import MSGPACK, Publishing


def test_closing_does_not_wait_for_a_publisher_that_waits_for_it() -> None:
    """A signal handler closes the node in the middle of a publication of the same thread."""

    async def main() -> float:
        publishing = Publishing(lambda: None, lambda: None, asyncio.get_running_loop())  # type: ignore[arg-type]
        stands, closed = threading.Event(), threading.Event()

        def publisher() -> None:
            with publishing._putting:
                stands.set()
                closed.wait(5.0)

        thread = threading.Thread(target=publisher)
        thread.start()
        stands.wait()
        began = time.monotonic()
        await publishing.close()
        seconds = time.monotonic() - began
        closed.set()
        thread.join()
        return seconds

    assert asyncio.run(main()) < 2.0


class FullBulk:
    """Tells who waited for room in it."""

    def __init__(self) -> None:
        self.waited: list[str] = []
        self.taken: list[bytes] = []

    def wait_for_room(self) -> None:
        self.waited.append(threading.current_thread().name)

    def put(self, key: str, payload: bytes, *_: object, may_drop: bool) -> None:
        self.taken.append(payload)


def test_only_large_messages_wait_for_room_and_not_on_the_loop() -> None:
    """A small one on the same topic may be sent with a lock that the loop needs."""
    small, large = b"small", bytes(LARGE)

    async def main() -> FullBulk:
        publishing = Publishing(lambda: None, lambda: None, asyncio.get_running_loop())  # type: ignore[arg-type]
        publishing._bulk = bulk = FullBulk()  # type: ignore[assignment]
        for payload in (large, small):
            publishing.publish("key", payload, None, MSGPACK)
        thread = threading.Thread(
            target=lambda: [publishing.publish("key", payload, None, MSGPACK) for payload in (small, large, small)],
            name="publisher",
        )
        thread.start()
        thread.join()
        return bulk

    bulk = asyncio.run(main())
    assert bulk.waited == ["publisher"]
    assert bulk.taken == [large, small, small, large, small]
