"""How the program leaves when it is told to: at once, in good order, and with the exit code that shells expect."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from types import FrameType
from typing import NoReturn

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


def leave_after(seconds: float) -> None:
    """End with 0 when the time is over. POSIX only."""

    def leave(*_: object) -> None:
        raise LeaveError(0)

    signal.signal(signal.SIGALRM, leave)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))  # 0 would mean never


def _leave(number: int, _: FrameType | None) -> None:
    signal.signal(number, _leave_now)
    raise LeaveError(128 + number)


def _leave_now(number: int, _: FrameType | None) -> None:
    os._exit(128 + number)
