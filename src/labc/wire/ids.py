"""Which ids the other side has used."""

from __future__ import annotations

from bisect import bisect_right

MAX_GAPS = 4096
"""Ranges of skipped ids that are remembered. A gap stays for each request that was withdrawn before it was sent;
what is older than that many is taken for used."""


class UsedIds:
    """The ids of one side's requests: 1, 3, 5… or 2, 4, 6….

    They need not arrive in order, since a small request overtakes the chunks of a large one; so the highest id is
    remembered, and the gaps below it.
    """

    __slots__ = ("_gaps", "_next")

    def __init__(self, first: int) -> None:
        self._next = first
        self._gaps: list[range] = []

    @property
    def highest(self) -> int:
        """The highest id that was used; not positive: none."""
        return self._next - 2

    def use(self, id: int) -> bool:
        """Mark an id as used. False: it was used before, or belongs to the other side."""
        if id == self._next:
            self._next = id + 2
            return True
        if (id - self._next) % 2 or id <= 0:
            return False
        if id > self._next:
            self._gaps.append(range(self._next, id, 2))
            self._next = id + 2
        else:
            index = self._gap_of(id)
            if index is None:
                return False
            gap = self._gaps[index]
            rest = (range(gap.start, id, 2), range(id + 2, gap.stop, 2))
            self._gaps[index : index + 1] = [part for part in rest if part]
        del self._gaps[:-MAX_GAPS]
        return True

    def was_used(self, id: int) -> bool:
        """Whether the id has appeared, or is so old that it may have."""
        return 0 < id < self._next and (id - self._next) % 2 == 0 and self._gap_of(id) is None

    def _gap_of(self, id: int) -> int | None:
        """The index of the gap with this id; they are in order and apart."""
        index = bisect_right(self._gaps, id, key=lambda gap: gap.start) - 1
        return index if index >= 0 and id in self._gaps[index] else None
