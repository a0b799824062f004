"""PURE. Retained values: the last one of each topic, as a node keeps it, and what a subscription has seen of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from labc.directory import matches

CHUNK = 256 << 10
"""Bytes. Many values travel in pieces of about so much, a larger one alone."""

_OVERTAKES = 2.0
"""Seconds after a kept value in which an older message of the same sender may still be on its way."""
_MAX_SEEN = 100_000


def check_retain(retain: object) -> None:
    """Raises TypeError: it was meant for a handler."""
    if not isinstance(retain, bool):
        raise TypeError(
            f"publish(retain={retain!r}): expected True or False, whether the value is kept for who subscribes later; "
            "handlers can't be given a keyword of this name"
        )


class Kept(msgspec.Struct, array_like=True, frozen=True):
    """One retained value, as it was published."""

    topic: str
    seconds: float
    payload: bytes
    attachment: bytes

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.topic) + len(self.payload) + len(self.attachment)


class Store:
    """The newest value of each topic: at most ``max_count``, and ``max_bytes`` in all.

    Beyond that the one that was put longest ago makes room, and is counted in ``dropped``. Each change has a number, so
    that one can ask for what came since.
    """

    def __init__(self, max_count: int, max_bytes: int) -> None:
        self._max_count = max_count
        self._max_bytes = max_bytes
        self._entries: dict[str, tuple[int, Kept]] = {}  # in the order in which they were put
        self.bytes = 0
        self.dropped = 0
        self.revision = 0
        """The number of the last change."""

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Kept]:
        return iter([kept for _, kept in self._entries.values()])

    def get(self, topic: str) -> Kept | None:
        """The value of this topic."""
        entry = self._entries.get(topic)
        return entry and entry[1]

    def fits(self, kept: Kept) -> bool:
        """Whether there can be room for it."""
        return kept.size <= self._max_bytes

    def put(self, kept: Kept) -> bool:
        """Keep it, unless a newer one is there, or the very same. False: it was not kept."""
        before = self.get(kept.topic)
        if (before is not None and before.seconds >= kept.seconds) or not self.fits(kept):
            return False
        self.drop(kept.topic)
        while len(self._entries) >= self._max_count or self.bytes + kept.size > self._max_bytes:
            self.drop(next(iter(self._entries)))
            self.dropped += 1
        self.revision += 1
        self._entries[kept.topic] = (self.revision, kept)
        self.bytes += kept.size
        return True

    def drop(self, topic: str) -> bool:
        """Keep it no longer. False: there was none."""
        if (entry := self._entries.pop(topic, None)) is None:
            return False
        self.bytes -= entry[1].size
        return True

    def find(self, patterns: Iterable[str], since: int = 0) -> list[Kept]:
        """What was put after the change of this number, and one of the patterns takes; in the order of the changes."""
        exact = {pattern for pattern in patterns if "*" not in pattern}
        wild = set(patterns) - exact
        if not wild:
            entries = sorted(entry for topic in exact if (entry := self._entries.get(topic)) and entry[0] > since)
            return [kept for _, kept in entries]
        found = []
        for number, kept in reversed(self._entries.values()):
            if number <= since:
                break
            if kept.topic in exact or any(pattern == "**" or matches(pattern, kept.topic) for pattern in wild):
                found.append(kept)
        return found[::-1]


def chunks(values: Iterable[Kept]) -> list[list[Kept]]:
    """The same in pieces that travel well; at least one, be it empty."""
    pieces: list[list[Kept]] = [[]]
    size = 0
    for kept in values:
        if pieces[-1] and size + kept.size > CHUNK:
            pieces.append([])
            size = 0
        pieces[-1].append(kept)
        size += kept.size
    return pieces


class Seen:
    """What one subscription was given, so that it gets each value once, and no older one after a newer one.

    ``now`` is any clock that only goes forward. The times of values are compared as their senders' clocks had them.
    What is remembered is bounded: with more than 100 000 topics, one that was retained may be given twice.
    """

    def __init__(self) -> None:
        self.asking = 0
        """How many questions for kept values are under way: until their answers are here, every message counts."""
        self._newest: dict[str, float] = {}
        self._given: dict[str, tuple[str, float, float]] = {}
        """Of each value that was kept: who sent it, when, and when it was given."""
        self._given_last = float("-inf")

    def is_idle(self, now: float) -> bool:
        """Whether no message that is not retained itself needs to be looked at."""
        if self._given and now - self._given_last > _OVERTAKES:
            self._given.clear()
        return not (self._given or self.asking)

    def live(self, topic: str, sender: str, seconds: float | None, retain: bool, wall: float, now: float) -> bool:
        """A message comes as it is published. False: it was overtaken by the value that was kept.

        ``retain``: no value that was kept and is older may follow it.
        ``wall``: seconds since 1970, for a message that has no time of its own.
        """
        overtaker, time, given_at = self._given.get(topic, ("", 0.0, float("-inf")))
        if now - given_at <= _OVERTAKES and sender == overtaker and seconds is not None and seconds <= time:
            return False
        if retain or self.asking:
            self._note(topic, wall if seconds is None else seconds)
        return True

    def kept(self, topic: str, sender: str, seconds: float, now: float) -> bool:
        """A value comes from where it was kept. False: something newer, or itself, was given already."""
        if self._newest.get(topic, float("-inf")) >= seconds:
            return False
        self._note(topic, seconds)
        self._given[topic] = (sender, seconds, now)
        self._given_last = now
        if len(self._given) > _MAX_SEEN:
            del self._given[next(iter(self._given))]
        return True

    def _note(self, topic: str, seconds: float) -> None:
        self._newest[topic] = max(seconds, self._newest.pop(topic, float("-inf")))
        if len(self._newest) > _MAX_SEEN:
            del self._newest[next(iter(self._newest))]


# What nodes tell each other.


class Push(msgspec.Struct, array_like=True):
    """Keep these. ``again``: they may have been published to nobody, so that who subscribed must look."""

    values: list[Kept] = []
    again: bool = False
    have: list[tuple[str, float]] = []
    """Topics and times: which of these values have you not got?"""


class Wanted(msgspec.Struct, array_like=True):
    """Tell what you keep of these patterns, and changed after that number. ``forget``: keep this topic no more."""

    patterns: list[str] = []
    since: int = 0
    forget: str | None = None


class Answer(msgspec.Struct, array_like=True):
    """What is kept; ``revision`` is in the last piece only."""

    node_id: str
    values: list[Kept] = []
    revision: int | None = None


class Taken(msgspec.Struct, array_like=True):
    """The answer to a `Push` that was asked: all of it is kept now, and of what I should have, this is missing."""

    missing: list[str] = []


class Pace:
    """When to try again: after ``first`` seconds, then twice as long, up to ``longest``."""

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self._next = first

    def failed(self) -> float:
        """Seconds until the next try."""
        pause, self._next = self._next, min(2 * self._next, self._longest)
        return pause

    def succeeded(self) -> None:
        """From the beginning again."""
        self._next = self._first
