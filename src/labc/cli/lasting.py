"""For what prints until it is told to end: ending when the time is over, or when nobody reads any more."""

from __future__ import annotations

import select
import stat
import sys
import threading
import time
from collections.abc import Callable
from os import fstat
from typing import Any

_AT_MOST = 3600.0
"""Seconds for which is waited at once: the system can't wait for very long times."""


def close_when(close: Callable[[], object], timeout: float | None) -> None:
    """Call it when the time is over, or when nobody reads stdout any more (``| head -1``)."""

    def watch() -> None:
        deadline = None if timeout is None else time.monotonic() + timeout
        pipe = _stdout_pipe()
        while pipe is not None or deadline is not None:
            left = _AT_MOST if deadline is None else min(deadline - time.monotonic(), _AT_MOST)
            if left <= 0 or _ends_within(pipe, left):
                break
        else:
            return
        close()

    threading.Thread(target=watch, name="labc lasts", daemon=True).start()


def reader_is_gone() -> bool:
    """Whether nobody reads stdout any more."""
    return _ends_within(_stdout_pipe(), 0)


def _stdout_pipe() -> Any:
    """What tells that the pipe on stdout was closed at its other end; None if there is no pipe."""
    if not hasattr(select, "poll") or not stat.S_ISFIFO(fstat(sys.stdout.fileno()).st_mode):
        return None
    pipe = select.poll()
    pipe.register(sys.stdout.fileno(), 0)  # errors and the other end's closing are always told
    return pipe


def _ends_within(pipe: Any, seconds: float) -> bool:
    if pipe is None:
        time.sleep(seconds)
        return False
    return bool(pipe.poll(seconds * 1000))
