"""What the subscriptions and readers of one node take from a medium."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from labc.directory import Scope, matches
from labc.fabric import Declared, Medium, Publication
from labc.topics.message import count, identity
from labc.topics.repeats import Repeats
from labc.topics.stream import Inflow
from labc.topics.subscription import Delivery

Sink = Delivery | Inflow


def scope_of(sink: Sink) -> Scope:
    return sink.subscription.scope if isinstance(sink, Delivery) else sink.scope


@dataclass(slots=True)
class _Pattern:
    """One subscription of the engine, shared by all that take the same pattern."""

    sinks: list[Sink] = field(default_factory=list)
    declared: Declared | None = None
    dropped_before: Callable[[], int] = lambda: 0
    repeats: Repeats = field(default_factory=Repeats)


class Patterns:
    """``put(sinks, publication)`` gives them what came; at most ``limit`` messages wait for the loop."""

    def __init__(self, medium: Medium, limit: int, put: Callable[[Sequence[Sink], Publication], None]) -> None:
        self._medium = medium
        self._limit = limit
        self._put = put
        self._patterns: dict[str, _Pattern] = {}

    def __iter__(self) -> Iterator[Sink]:
        return (sink for pattern in self._patterns.values() for sink in pattern.sinks)

    async def attach(self, topic: str, sink: Sink) -> None:
        pattern = self._patterns.setdefault(topic, _Pattern())
        pattern.sinks.append(sink)
        if pattern.declared is None:
            pattern.declared, pattern.dropped_before = await self._medium.subscribe(
                self._medium.keys.topic(topic), lambda found: self._arrived(pattern, found), self._limit, count
            )

    async def detach(self, topic: str, sink: Sink) -> None:
        pattern = self._patterns.get(topic)
        if pattern is None or sink not in pattern.sinks:
            return
        pattern.sinks.remove(sink)
        if not pattern.sinks:
            del self._patterns[topic]
            if pattern.declared is not None:
                await pattern.declared.close()

    def taking(self, topic: str) -> list[Sink]:
        """Those that take a message on this topic; once for each pattern."""
        return [sink for name, pattern in self._patterns.items() if matches(name, topic) for sink in pattern.sinks]

    def dropped_before(self, topic: str) -> int:
        """Messages that were dropped before anybody here saw them."""
        pattern = self._patterns.get(topic)
        return pattern.dropped_before() if pattern else 0

    def _arrived(self, pattern: _Pattern, publications: list[Publication]) -> None:
        for publication in publications:
            if pattern.repeats.is_new(*identity(publication.attachment)):
                self._put(pattern.sinks, publication)
