"""``map``, decided: which item goes to which worker, and which result the reader gets next.

A worker is a node that offers the function. Each is given so many items at a time, and another one with each answer:
so that it works at its own pace, and always has the next item there.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from labc.directory import NodeRecord
from labc.errors import LabcError
from labc.wire import Body


class Item(msgspec.Struct, gc=False):
    """One that was read, with its place in the order."""

    index: int
    arguments: Body
    lost: int = 0
    """How often a worker was lost with it, and may have run it."""


class Result(msgspec.Struct, gc=False):
    """What became of an item: what the worker answered, still encoded, or why there is no answer."""

    index: int
    node: NodeRecord | None
    """Without: it was given to none."""
    answer: Any = None
    error: LabcError | None = None
    bytes: int = 0


class Worker:
    """A node that offers the function, or did, and has items still."""

    __slots__ = ("at_work", "free", "gone", "node", "resting")

    def __init__(self, node: NodeRecord) -> None:
        self.node = node
        self.gone = False
        """It gets no more items."""
        self.at_work = 0
        """Items that it has."""
        self.free = 0
        """Places for more, of which :class:`Schedule` knows."""
        self.resting = 0
        """Places that are left empty for a while."""


class Schedule:
    """Items, workers and results of one ``map``.

    At most ``ahead`` items are read and not yet taken by the reader as results; and no more of them wait for a worker
    than all workers together are given at a time. While ``ahead_bytes`` bytes of results wait, none are read.
    """

    def __init__(self, *, window: int, retry: int, ordered: bool, ahead: int, ahead_bytes: int) -> None:
        self._window = min(window, ahead)
        self._retry = retry
        self._ordered = ordered
        self._ahead = ahead
        self._ahead_bytes = ahead_bytes
        self._read = 0
        self._all_read = False
        self._waiting: deque[Item] = deque()
        self._workers: dict[str, Worker] = {}
        self._free: deque[Worker] = deque()
        """Once for each place."""
        self._at_work = self._active = 0
        """Items that workers have, and workers that may be given more."""
        self._early: dict[int, Result] = {}
        """Whose turn has not come."""
        self._given = self._taken = 0
        """Results that the reader has got, and those of them that he has done with."""
        self._kept_bytes = 0
        """Of results that he has not done with."""
        self.failures = 0
        """Items whose result is an error."""
        self._shares: dict[str, tuple[NodeRecord, int]] = {}
        """How many results each node has given, also errors."""

    # Items.

    def add(self, arguments: Body) -> None:
        """The next item was read."""
        self._waiting.append(Item(self._next_index(), arguments))

    def add_failed(self, error: LabcError) -> list[Result]:
        """The next item was read, and can't be given to anybody. Returns what :meth:`answered` does."""
        return self._finished(Result(self._next_index(), None, error=error))

    def all_read(self) -> None:
        """There are no more items."""
        self._all_read = True

    @property
    def wanted(self) -> int:
        """How many items could be read now."""
        if self._all_read or self._kept_bytes >= self._ahead_bytes:
            return 0
        places = self._window * max(1, self._active)
        return max(0, min(places - len(self._waiting), self._ahead - (self._read - self._taken)))

    @property
    def finished(self) -> int:
        """How many items have a result."""
        return self._given + len(self._early)

    @property
    def shares(self) -> dict[str, int]:
        """How many items each node has finished, by its name; what has several nodes has their hosts and ids as well.
        From any thread."""
        shares = list(self._shares.copy().values())
        names = Counter(node.name for node, _ in shares)
        return {
            node.name if names[node.name] == 1 else f"{node.name} on {node.host} ({node.id[:4]})": count
            for node, count in shares
        }

    @property
    def over(self) -> bool:
        """Whether the reader has got all that there is."""
        return self._all_read and self._given == self._read

    # Workers.

    @property
    def has_workers(self) -> bool:
        """Whether there is anybody who may be given items, now or after a rest."""
        return self._active > 0

    @property
    def stalled(self) -> bool:
        """Whether items wait, and nobody is at work."""
        return bool(self._waiting) and not self._at_work

    def set_workers(self, nodes: Sequence[NodeRecord]) -> None:
        """These are the workers now, those first that are to be asked first."""
        now = {node.id for node in nodes}
        for node_id, worker in list(self._workers.items()):
            worker.gone = node_id not in now
            self._forget(worker)
        workers = [self._workers.setdefault(node.id, Worker(node)) for node in nodes]
        self._active = len(workers)
        for _ in range(self._window):  # each gets one before any gets two
            for worker in workers:
                self._free_place(worker)

    def assign(self) -> Iterator[tuple[Worker, Item]]:
        """Who is to be given what now: what waits first, to who has waited for longest."""
        while self._waiting and self._free:
            worker = self._free.popleft()
            worker.free -= 1
            if not worker.gone:
                worker.at_work += 1
                self._at_work += 1
                yield worker, self._waiting.popleft()

    def rested(self, worker: Worker) -> None:
        """The place of an item that came back may be used again."""
        worker.resting -= 1
        self._free_place(worker)
        self._forget(worker)

    # What became of an item.

    def answered(self, worker: Worker, item: Item, answer: Any, size: int) -> list[Result]:
        """Returns the results that are the reader's now, in their order."""
        self._left(worker)
        return self._finished(Result(item.index, worker.node, answer, None, size))

    def failed(self, worker: Worker, item: Item, error: LabcError) -> list[Result]:
        """Its result is this error. Returns what :meth:`answered` does."""
        self._left(worker)
        return self._finished(Result(item.index, worker.node, error=error))

    def lost(self, worker: Worker, item: Item, error: LabcError) -> list[Result]:
        """The worker was lost with it, and may have run it, or did not come to it in time: another one gets it, or this
        is its result. Returns what :meth:`answered` does."""
        item.lost += 1
        if item.lost > self._retry:
            return self.failed(worker, item, error)
        self._left(worker)
        self._waiting.appendleft(item)
        return []

    def came_back(self, worker: Worker, item: Item) -> None:
        """The worker has not run it, and is left alone with its place until :meth:`rested`."""
        worker.resting += 1
        self._left(worker)
        self._waiting.appendleft(item)

    # The reader.

    def taken(self, results: int, size: int) -> None:
        """He has done with so many."""
        self._taken += results
        self._kept_bytes -= size

    # Within.

    def _next_index(self) -> int:
        self._read += 1
        return self._read - 1

    def _left(self, worker: Worker) -> None:
        worker.at_work -= 1
        self._at_work -= 1
        self._free_place(worker)
        self._forget(worker)

    def _forget(self, worker: Worker) -> None:
        """One that is gone, when there is nothing more to know of it."""
        if worker.gone and not (worker.at_work or worker.resting):
            self._workers.pop(worker.node.id, None)

    def _free_place(self, worker: Worker) -> None:
        """If it has one that is not known of."""
        if not worker.gone and worker.free + worker.at_work + worker.resting < self._window:
            worker.free += 1
            self._free.append(worker)

    def _finished(self, result: Result) -> list[Result]:
        self.failures += result.error is not None
        self._kept_bytes += result.bytes
        if (node := result.node) is not None:
            self._shares[node.id] = node, self._shares.get(node.id, (node, 0))[1] + 1
        if not self._ordered:
            self._given += 1
            return [result]
        self._early[result.index] = result
        ready = []
        while (next_result := self._early.pop(self._given, None)) is not None:
            self._given += 1
            ready.append(next_result)
        return ready
