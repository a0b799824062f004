"""How many connections are served at a time: of one caller, and in all. More wait their turn, and are told."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Self

from labc.errors import FilesError

_MAX_WAITING = 64
"""Connections of one caller, that wait."""
_MAX_WAITING_IN_ALL = 256
_LOOK_EVERY = 0.2
"""Seconds, after which is looked whether anybody waits for a turn still."""


class Turns:
    """For threads."""

    def __init__(self, each: int, in_all: int) -> None:
        self._each = each
        self._in_all = in_all
        self._served: Counter[str] = Counter()
        self._waiting: list[Turn] = []
        self._changed = threading.Condition()

    def turn(self, caller: str) -> Turn:
        """One connection's, from ``with`` to its end. ``with`` raises FilesError: too many wait already."""
        return Turn(self, caller)

    def _came(self, turn: Turn) -> None:
        with self._changed:
            of_caller = sum(each.caller == turn.caller for each in self._waiting)
            if of_caller >= _MAX_WAITING or len(self._waiting) >= _MAX_WAITING_IN_ALL:
                raise FilesError(f"{len(self._waiting)} connections for files wait for their turn already")
            self._waiting.append(turn)

    def _ahead(self, turn: Turn, told: int) -> int | None:
        """How many wait before it, when these are not as many as ``told``, or after a while; None: it is its turn."""
        with self._changed:
            if not self._may_begin(turn) and self._waiting.index(turn) == told:
                self._changed.wait(_LOOK_EVERY)
            if not self._may_begin(turn):
                return self._waiting.index(turn)
            self._waiting.remove(turn)
            self._served[turn.caller] += 1
            self._changed.notify_all()
            turn.began = True
            return None

    def _may_begin(self, turn: Turn) -> bool:
        """Who has waited for longest begins first, but for those whose caller has as many as he may."""
        if self._served.total() >= self._in_all:
            return False
        return turn is next((each for each in self._waiting if self._served[each.caller] < self._each), None)

    def _left(self, turn: Turn) -> None:
        with self._changed:
            if turn.began:
                self._served[turn.caller] -= 1
                self._served += Counter()  # forget who has none
            else:
                self._waiting.remove(turn)
            self._changed.notify_all()


class Turn:
    """Of one connection."""

    def __init__(self, turns: Turns, caller: str) -> None:
        self.caller = caller
        self._turns = turns
        self.began = False
        """Whether it is its turn."""

    def __enter__(self) -> Self:
        self._turns._came(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._turns._left(self)

    def waiting(self, wanted: Callable[[], bool]) -> Iterator[int]:
        """Ends when it is its turn, or it is not ``wanted`` any more. Until then: how many wait before it, at first and
        whenever that changes."""
        told = -1
        while wanted() and (ahead := self._turns._ahead(self, told)) is not None:
            if ahead != told:
                told = ahead
                yield ahead
