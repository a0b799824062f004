"""Which ids the other side has used."""

from __future__ import annotations

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

    def use(self, id: int) -> bool:
        """Mark an id as used. False: it was used before, or belongs to the other side."""
        if id == self._next:
            self._next = id + 2
            return True
        if (id - self._next) % 2 or id <= 0:
            return False
        if id > self._next:
            self._gaps.append(range(self._next, id, 2))
            del self._gaps[:-MAX_GAPS]
            self._next = id + 2
            return True
        return self._use_gap(id)

    def was_used(self, id: int) -> bool:
        """Whether the id has appeared, or is so old that it may have."""
        return 0 < id < self._next and (id - self._next) % 2 == 0 and not any(id in gap for gap in self._gaps)

    def _use_gap(self, id: int) -> bool:
        for index, gap in enumerate(self._gaps):
            if id in gap:
                rest = [range(gap.start, id, 2), range(id + 2, gap.stop, 2)]
                self._gaps[index : index + 1] = [part for part in rest if part]
                return True
        return False
