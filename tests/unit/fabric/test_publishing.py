from __future__ import annotations

import asyncio
import threading
import time

from labc.fabric.publishing import Publishing
from labc.settings import Settings


def test_closing_does_not_wait_for_a_publisher_that_waits_for_it() -> None:
    """A signal handler closes the node in the middle of a publication of the same thread."""

    async def main() -> float:
        publishing = Publishing(Settings(), lambda: None, asyncio.get_running_loop())  # type: ignore[arg-type]
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
