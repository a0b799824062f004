"""Tracebacks that show the user's own code, and nothing of the machinery that called it."""

from __future__ import annotations

import importlib
import os
import traceback
from pathlib import Path

_LABC = str(Path(__file__).parents[1]) + os.sep
_STANDARD_LIBRARY = os.path.dirname(os.__file__) + os.sep
_IMPORT = ("<frozen ", os.path.dirname(importlib.__file__) + os.sep)


def users_traceback(error: BaseException) -> str:
    """The whole traceback, with causes and notes, without the frames of labc and of Python's import."""
    shown = traceback.TracebackException.from_exception(error)
    _strip(shown, set())
    return "".join(shown.format()).rstrip()


def users_place(error: BaseException) -> str:
    """``server.py:12``, the line of the user's code that raised it; nothing if there is none."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_near(error.filename)}:{error.lineno or 1}"
    frames = _users(traceback.extract_tb(error.__traceback__))
    own = [frame for frame in frames if not _is_library(frame.filename)] or frames
    return f"{_near(own[-1].filename)}:{own[-1].lineno}" if own else ""


def _users(frames: traceback.StackSummary) -> list[traceback.FrameSummary]:
    return [frame for frame in frames if not frame.filename.startswith((_LABC, *_IMPORT))]


def _is_library(filename: str) -> bool:
    return "site-packages" in filename or filename.startswith(_STANDARD_LIBRARY)


def _strip(shown: traceback.TracebackException, seen: set[int]) -> None:
    if id(shown) in seen:
        return
    seen.add(id(shown))
    shown.stack[:] = _users(shown.stack)
    for other in (shown.__cause__, shown.__context__, *(shown.exceptions or ())):
        if other is not None:
            _strip(other, seen)


def _near(filename: str) -> str:
    """Relative, where that is shorter."""
    relative = os.path.relpath(filename)
    return relative if len(relative) < len(filename) else filename
