"""``map``: one function, many providers, as something to iterate over."""

from __future__ import annotations

import math
from collections.abc import AsyncIterable, Callable, Iterable
from typing import TYPE_CHECKING, Any, cast

from labc.functions import Items, Options, Outcomes, Schedule
from labc.node.runtime import Runtime
from labc.node.values import Values, Wish

if TYPE_CHECKING:
    from labc.progress import Bar, State

_RETRY = 3
"""How often an item goes to another worker, when nothing else is said: a few are lost with their workers, and one that
kills each worker shall not kill them all."""


class MapWish(Wish):
    """What a map is asked for with."""

    verb = "map"

    def __init__(
        self,
        name: str,
        items: Iterable[Any] | AsyncIterable[Any],
        options: Options,
        *,
        ordered: bool,
        window: int,
        retry: bool | int,
        timeout: float | None,
        progress: bool,
    ) -> None:
        """Raises TypeError, ValueError: something that can't be meant."""
        if isinstance(window, bool) or not isinstance(window, int) or window < 1:
            raise ValueError(f"map(window={window!r}): expected a whole number, 1 or more")
        if not isinstance(retry, int) or retry < 0:
            raise ValueError(f"map(retry={retry!r}): expected True, False, or how often")
        self.name = name
        self._items = Items(items)
        self._options = options.but(timeout=timeout)
        self._ordered = ordered
        self._window = window
        self._retry = _RETRY if retry is True else int(retry)
        self._schedule: Schedule | None = None
        self._bar = _bar(name, items, self._state) if progress else None
        if self._bar is not None:
            self.begin = self._bar.start

    async def open(self, rooms: Runtime, keep: Callable[[Outcomes], object]) -> Outcomes:
        settings = rooms.settings
        self._items.avoid(self.blocked)
        timeout = math.inf if self._options.timeout is None else self._options.timeout
        asked = rooms.caller.prepare_map(self.name, self._options, timeout)
        outcomes = rooms.caller.new_outcomes(self._ordered)
        keep(outcomes)
        self._schedule = schedule = Schedule(
            window=self._window,
            retry=self._retry,
            ordered=self._ordered,
            ahead=settings.stream_items,
            ahead_bytes=settings.stream_bytes,
        )
        await rooms.caller.open_map(asked, self._items, schedule, outcomes)
        return outcomes

    def ended(self) -> None:
        if self._bar is not None:
            self._bar.stop()

    @property
    def shares(self) -> dict[str, int]:
        """See :attr:`Schedule.shares`."""
        return {} if self._schedule is None else self._schedule.shares

    def _state(self) -> State:
        schedule = self._schedule
        return (0, 0, {}) if schedule is None else (schedule.finished, schedule.failures, self.shares)


class Map(Values):
    """What becomes of the items of a ``map``, as it comes: ``async for outcome in node.map("texture", pictures)``.

    It begins with the first ``async for``, or at the beginning of an ``async with``. When this is let go of, by
    ``break`` for one, when it is closed, and when this program ends or dies, no more items are read, and those under
    way are cancelled. For one reader.
    """

    @property
    def shares(self) -> dict[str, int]:
        """How many items each node has finished, by its name; where several have it, with their hosts and ids."""
        return cast(MapWish, self._wish).shares


def _bar(name: str, items: Any, look: Callable[[], State]) -> Bar:
    from labc.progress import Bar  # what it draws with is slow to load

    return Bar(name, len(items) if hasattr(items, "__len__") else None, look)
