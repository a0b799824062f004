"""How the program leaves when it is told to: at once, in good order, and with the exit code that shells expect."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

import labc
from labc.errors import ClosedError

_AGAIN_AFTER = 0.05

_whole_interpreter = False


class LeaveError(SystemExit):
    """A signal told this program to end."""


def leave_on_signals() -> None:
    """End with 130 on Ctrl-C and with 143 on SIGTERM, without a traceback; the second time without a goodbye.

    A signal that is ignored from the beginning stays so: shells start programs in the background like that.
    """
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, _leave)


def leave_as_python() -> None:
    """From here on the program runs a user's code, which may have left something to be done at the end."""
    global _whole_interpreter
    _whole_interpreter = True


def leave(code: int) -> NoReturn:
    """End the program, without the end of the interpreter if there is no user's code in it.

    Where connecting was given up, a thread may still be in the engine, and Python (before 3.14) ends the threads that
    come back to it too late in a way that aborts the whole process.
    """
    if _whole_interpreter:
        sys.exit(code)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(code)


@contextmanager
def leaving_after(seconds: float | None) -> Iterator[None]:
    """Leave the network when the time is over, which ends ``labc.serve()`` in here. None: never."""
    if seconds is None:
        yield
        return
    served, over = threading.Event(), threading.Event()

    def wait() -> None:
        if served.wait(min(seconds, threading.TIMEOUT_MAX)):
            return
        over.set()
        while not served.wait(_AGAIN_AFTER):
            labc.close()  # without effect while the node is only about to start

    thread = threading.Thread(target=wait, name="labc timeout", daemon=True)
    thread.start()
    try:
        yield
    except ClosedError:
        if not over.is_set():
            raise
    finally:
        served.set()
        thread.join()


def _leave(number: int, _: FrameType | None) -> None:
    signal.signal(number, _leave_now)
    raise LeaveError(128 + number)


def _leave_now(number: int, _: FrameType | None) -> None:
    os._exit(128 + number)
