"""Notices that the node's loop turns no more.

Lanes are answered by the loop, so a silent lane may mean a loop that is blocked, a process that is stopped, or one
whose interpreter is held by a long computation and is well. The fabric tells them apart: the engine's threads keep
the presence of a busy process, a stopped one loses it by its lease, and for a blocked loop this thread takes it away:
it runs when the loop does not, but only where the interpreter is free.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable

logger = logging.getLogger("labc")

_PERIOD = 1.0
"""Seconds between two questions to the loop, as each wakes it; less for a short limit or lease."""

_LOOK_AGAIN = 0.1
"""Seconds after which a loop that hangs is looked at again."""


class Watchdog:
    """Calls ``on_hang`` on its own thread when the loop has not turned for ``limit`` seconds, or not much less, and
    ``on_return`` on the loop when it does again; ``on_resume``, on the loop, when the whole process was stopped for as
    long as ``lease`` (Ctrl-Z, a debugger, a computer that slept) and goes on."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        limit: float,
        lease: float,
        on_hang: Callable[[], None],
        on_return: Callable[[], None],
        on_resume: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._period = min(_PERIOD, limit / 2.5, lease / 2)
        self._limit = limit - self._period
        """How long it may take the loop to answer: it may have hung since just after it was asked the last time."""
        self._lease = lease
        self._on_hang = on_hang
        self._on_return = on_return
        self._on_resume = on_resume
        self._stop = threading.Event()
        self._answered = False

    def start(self) -> None:
        threading.Thread(target=self._watch, name="labc watchdog", daemon=True).start()

    def stop(self) -> None:
        self._stop.set()

    def _watch(self) -> None:
        while self._ask():
            hangs = False
            asked, wait = time.monotonic(), self._period
            while True:
                before = time.monotonic()
                if self._stop.wait(wait):
                    return
                now = time.monotonic()
                if now - before > wait + self._period / 2:
                    # This thread did not run either: the process was stopped, or the interpreter was held.
                    asked = now
                    if now - before > self._lease:
                        self._call_on_loop(self._on_resume)
                if self._answered:
                    break
                if not hangs and now - asked >= self._limit:
                    hangs = True
                    self._on_hang()
                    logger.warning(
                        "the event loop of this node has been blocked for %.1f s (by a function that is async but does "
                        "not await?); other nodes now take it for hung",
                        now - asked,
                    )
                wait = _LOOK_AGAIN if hangs else max(0.01, asked + self._limit - now)
            if hangs:
                self._call_on_loop(self._on_return)

    def _ask(self) -> bool:
        """False: the loop is closed."""
        self._answered = False
        return self._call_on_loop(self._answer)

    def _answer(self) -> None:
        self._answered = True

    def _call_on_loop(self, function: Callable[[], None]) -> bool:
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:  # closed
            return False
        return True
