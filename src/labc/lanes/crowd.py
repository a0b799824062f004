"""PURE. Who may stand at a door before it is known who they are: so many, and so many from one address."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Crowd(Generic[T]):
    """Bounds those who wait. Who is one too many puts the oldest of the busiest address out, so a stranger who sends
    connections without end is in the way of nobody but himself."""

    def __init__(self, limit: int, limit_each: int) -> None:
        self._limit = limit
        self._limit_each = limit_each
        self._by_address: OrderedDict[str, OrderedDict[T, None]] = OrderedDict()
        self._count = 0
        self.put_out = 0
        """How many there were until now."""

    def __len__(self) -> int:
        return self._count

    def enter(self, one: T, address: str) -> T | None:
        """One more is there. Who has to go for that, if anybody; :meth:`leave` does not follow for him."""
        out: T | None = None
        those = self._by_address.get(address, ())
        if len(those) >= self._limit_each:
            out = self._put_out(address)
        elif self._count >= self._limit:
            out = self._put_out(max(self._by_address, key=lambda other: len(self._by_address[other])))
        self._by_address.setdefault(address, OrderedDict())[one] = None
        self._count += 1
        return out

    def leave(self, one: T, address: str) -> None:
        """It is known by now, or gone. Harmless for one who was put out."""
        those = self._by_address.get(address)
        if those is not None and one in those:
            del those[one]
            self._count -= 1
            if not those:
                del self._by_address[address]

    def _put_out(self, address: str) -> T:
        one = next(iter(self._by_address[address]))
        self.leave(one, address)
        self.put_out += 1
        return one


class Notices:
    """What is worth a line in the log: each thing once in a while, and not too many things."""

    def __init__(self, again_after: float, limit: int = 256) -> None:
        self._again_after = again_after
        self._limit = limit
        self._last: OrderedDict[Hashable, float] = OrderedDict()

    def is_due(self, what: Hashable, now: float) -> bool:
        """Whether to say it now (seconds of any clock); then it counts as said."""
        while self._last and now - next(iter(self._last.values())) >= self._again_after:
            self._last.popitem(last=False)
        if what in self._last or len(self._last) >= self._limit:
            return False
        self._last[what] = now
        return True
