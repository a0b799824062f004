"""PURE. Who joined, is doubted, is back, left or was lost: what becomes of each node, as a watcher is told of it.

A :class:`History` is shown how the directory sees the nodes (their standing), with the time and with the goodbyes
that were said, and answers what is new. Of each node it tells, in this order and nothing else::

    joined (suspect back)* [suspect] (left | lost)

After that a node with this id may join again: one that was cut off and can be reached again is the same as before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, NamedTuple

from labc.directory.records import NodeRecord

Kind = Literal["joined", "suspect", "back", "left", "lost"]

PATIENCE = 0.5
"""Seconds for which a node must be in doubt before that is told; half of the directory's grace, where this is less. A
change of root takes the tokens of all nodes of a host away for less than that, mostly."""
_GOODBYE_COUNTS = 2.0
"""Seconds within which a node that said goodbye must vanish. A program leaves in less than one; and what somebody else
said in its name is soon forgotten."""
_GOODBYE_LATE = 0.1
"""Seconds for which a lost node's goodbye is waited for, in case it was overtaken by the end of its token."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class NodeEvent:
    """Something has become of a node, as seen from here."""

    kind: Kind
    """``"joined"``, ``"suspect"`` (it may be lost), ``"back"`` (it is not), ``"left"`` (it said goodbye) or ``"lost"``
    (it was killed, stopped or cut off)."""
    name: str
    host: str
    id: str
    """Unique to one life of one program."""
    host_id: str
    seconds: float
    """When it was noticed, by this computer's clock, in seconds since 1970."""

    @property
    def time(self) -> datetime:
        """The same as a date and time in UTC."""
        return _EPOCH + timedelta(seconds=self.seconds)

    def __str__(self) -> str:
        return f"{self.name} on {self.host}: {self.kind}"


class Standing(NamedTuple):
    """How the directory sees a node now."""

    node: NodeRecord
    vanished: bool
    """Its token is not there."""
    doubtful: bool | None
    """It may be lost; None: this can't be told, while this node has no link to its root itself."""


Change = tuple[Kind, NodeRecord]


class History:
    """See the module. ``here`` is the id of the node that watches, of which nothing is told.

    ``now`` is any clock that only goes forward, in seconds.
    """

    def __init__(self, here: str, grace: float) -> None:
        self._here = here
        self._patience = min(PATIENCE, grace / 2)
        self._lives: dict[str, _Life] = {}

    def goodbye(self, node_id: str, now: float) -> None:
        """Somebody says that this node leaves. It counts if the node vanishes as well, soon before or after this."""
        if life := self._lives.get(node_id):
            life.goodbye = now

    def look(self, standings: Iterable[Standing], now: float) -> list[Change]:
        """What is new, now that these are the nodes of the network."""
        changes: list[Change] = []
        absent = dict(self._lives)
        for standing in standings:
            node = standing.node
            if node.id == self._here:
                continue
            if (life := absent.pop(node.id, None)) is None:
                if standing.vanished:  # before anybody watched: it is gone, or joins when it is there
                    continue
                life = self._lives[node.id] = _Life(node)
                changes.append(("joined", node))
            changes += [(kind, node) for kind in life.seen(standing, now, self._patience)]
        for node_id, life in absent.items():
            if (end := life.missed(now)) is not None:
                del self._lives[node_id]
                changes += [(kind, life.node) for kind in end]
        return changes

    def next_look(self) -> float | None:
        """When :meth:`look` may have something to tell although nothing has changed."""
        due = (life.due(self._patience) for life in self._lives.values())
        return min((time for time in due if time is not None), default=None)

    def present(self) -> Iterator[Change]:
        """What a watcher who comes later is told first."""
        for life in self._lives.values():
            if not life.over:
                yield "joined", life.node
                if life.suspect:
                    yield "suspect", life.node


class _Life:
    """What was told of a node, and what is known of its end."""

    __slots__ = ("absent_since", "doubtful_since", "goodbye", "node", "over", "suspect", "vanished")

    def __init__(self, node: NodeRecord) -> None:
        self.node = node
        self.suspect = False
        self.over = False
        """It left, and the directory still has it, as its token might come back."""
        self.vanished = False
        """Its token was not there at the last look."""
        self.doubtful_since: float | None = None
        self.absent_since: float | None = None
        self.goodbye: float | None = None

    def seen(self, standing: Standing, now: float, patience: float) -> Iterator[Kind]:
        """It is in the directory."""
        self._forget_goodbye(standing.vanished, now)
        self.absent_since = None
        if self.over:
            if standing.vanished:
                return
            self.over = False
            yield "joined"
        if self.goodbye is not None and standing.vanished and standing.doubtful is not None:
            self.over, self.suspect, self.goodbye, self.doubtful_since = True, False, None, None
            yield "left"
        elif standing.doubtful is None:
            self.doubtful_since = None
        elif standing.doubtful:
            self.doubtful_since = now if self.doubtful_since is None else self.doubtful_since
            if not self.suspect and now >= self.doubtful_since + patience:
                self.suspect = True
                yield "suspect"
        else:
            self.doubtful_since = None
            if self.suspect:
                self.suspect = False
                yield "back"

    def missed(self, now: float) -> list[Kind] | None:
        """It is not in the directory: what ends its life; None: wait a moment for its goodbye."""
        self._forget_goodbye(True, now)
        if self.over:
            return []
        if self.goodbye is not None:
            return ["left"]
        if self.absent_since is None:
            self.absent_since = now if self.doubtful_since is None else self.doubtful_since
        return ["lost"] if now >= self.absent_since + _GOODBYE_LATE else None

    def due(self, patience: float) -> float | None:
        if self.absent_since is not None:
            return self.absent_since + _GOODBYE_LATE
        return None if self.doubtful_since is None or self.suspect else self.doubtful_since + patience

    def _forget_goodbye(self, vanished: bool, now: float) -> None:
        """If the node did not vanish in time, or is there again."""
        came_back = self.vanished and not vanished
        in_time = self.vanished or self.goodbye is None or now < self.goodbye + _GOODBYE_COUNTS
        if came_back or not in_time:
            self.goodbye = None
        self.vanished = vanished
