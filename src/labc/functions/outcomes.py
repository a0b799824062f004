"""What nodes answered, for callers who asked several."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from labc.errors import LabcError
from labc.functions.inbox import PARTS, Inbox
from labc.functions.schedule import Result
from labc.wire import decode

_AT_ONCE = 64
"""Outcomes that the reader takes together."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one node answered to ``call_all``, or for one item of ``map``: a value, or the error."""

    node: str
    host: str
    value: Any = None
    error: LabcError | None = None

    @property
    def ok(self) -> bool:
        return self.error is None

    def result(self) -> Any:
        """The value; raises the error, if there is one instead."""
        if self.error is not None:
            raise self.error
        return self.value


class Outcomes(Inbox[Result]):
    """The results of a ``map`` on their way to its reader, who gets an `Outcome` for each item, in order; or, without
    order, ``(index, outcome)``. They are decoded where he is."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ordered: bool, ahead: int, ahead_bytes: int) -> None:
        super().__init__(loop, "map")
        self._ordered = ordered
        self._part = ahead / PARTS, ahead_bytes / PARTS
        self.on_taken: Callable[[int, int], object] = lambda results, size: None
        """Called on the loop, now and then: so many more have been read."""
        self._owed = self._owed_bytes = 0

    def put(self, result: Result) -> None:
        """On the loop: the next one."""
        self._put(result)

    def _values(self, arrived: Result) -> list[Any]:
        values = [self._outcome(arrived)]
        with suppress(IndexError):
            while len(values) < _AT_ONCE:
                values.append(self._outcome(self._arrived.popleft()))
        return values

    def _outcome(self, result: Result) -> Any:
        self._owed += 1
        self._owed_bytes += result.bytes
        node, host = ("", "") if result.node is None else (result.node.name, result.node.host)
        if result.error is not None:
            outcome = Outcome(node, host, error=result.error)
        else:
            try:
                outcome = Outcome(node, host, value=decode(result.answer.head, result.answer.buffers))
            except LabcError as error:
                outcome = Outcome(node, host, error=error)
        return outcome if self._ordered else (result.index, outcome)

    def _has_read(self) -> None:
        results, size = self._part
        if self._owed < results and self._owed_bytes < size:
            return
        owed, self._owed, size = self._owed, 0, self._owed_bytes
        self._owed_bytes = 0
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self.on_taken, owed, size)
