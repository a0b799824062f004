"""What labc's own loggers say, on stderr: a line each."""

from __future__ import annotations

import logging

from labc.cli.tracebacks import users_traceback

_LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)


class _Line(logging.Formatter):
    """``labc: <call of ...> raised ...``; the traceback of the user's function only where it is wanted."""

    def __init__(self, tracebacks: bool) -> None:
        super().__init__()
        self.tracebacks = tracebacks

    def format(self, record: logging.LogRecord) -> str:
        line = "labc: " + record.getMessage().replace("\n", " ")
        error = record.exc_info[1] if record.exc_info else None
        if error is None or not self.tracebacks:
            return line
        return f"{line}\n{users_traceback(error)}"


def show_logs(verbosity: int) -> None:
    """Warnings of labc, with ``-v`` what it does, with ``-vv`` what it sees and tries."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Line(tracebacks=verbosity > 0))
    handler.addFilter(lambda _: not logging.getLogger().handlers)  # else the served program logs as it likes
    logger = logging.getLogger("labc")
    logger.handlers = [handler]
    logger.setLevel(_LEVELS[min(verbosity, 2)])


def show_tracebacks() -> None:
    """From here on, also those of functions and handlers that raise."""
    for handler in logging.getLogger("labc").handlers:
        if isinstance(handler.formatter, _Line):
            handler.formatter.tracebacks = True
