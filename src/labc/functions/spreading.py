"""``map``, done: items are read, given to all who offer the function, and what becomes of them goes to the reader."""

from __future__ import annotations

import asyncio
import math
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from labc.directory import NodeRecord
from labc.errors import (
    CallTimeoutError,
    CarryError,
    LabcError,
    NotFoundError,
    OverloadedError,
    PeerLostError,
    RefusedError,
)
from labc.fabric import Neighbourhood
from labc.functions.asked import Asked
from labc.functions.finding import SETTLE_WAIT, Finder
from labc.functions.outcomes import Outcomes
from labc.functions.outgoing import Outgoing
from labc.functions.schedule import Item, Result, Schedule, Worker
from labc.functions.sending import Sender
from labc.functions.threads import Job
from labc.wire import Body, Failure, encode_arguments

_REST = 0.2
"""Seconds in which a worker that took no item is offered none."""


class Answer(Protocol):
    """A value, still encoded."""

    @property
    def head(self) -> Any: ...

    @property
    def buffers(self) -> Sequence[Any]: ...


class Items(Outgoing):
    """The iterable of a ``map``. Each of its values becomes the argument of a call."""

    def __init__(self, values: Any) -> None:
        super().__init__(values, "map", self._arguments)
        self.refused: dict[int, CarryError] = {}
        """Those that can't be carried, by their place; something else is sent in their stead."""
        self._count = 0

    def _arguments(self, value: Any, where: str) -> Body:
        index, self._count = self._count, self._count + 1
        try:
            return encode_arguments((value,), {})
        except CarryError as error:
            self.refused[index] = CarryError(error.where.replace("args[0]", f"items[{index}]", 1), error.problem)
        except Exception as error:  # a property that raises, a dict that another thread changes
            self.refused[index] = CarryError(f"items[{index}]", f"{type(error).__name__}: {error}")
        return Body(b"", ())


class Spreading:
    """One ``map``, on the node's loop."""

    def __init__(
        self,
        here: NodeRecord,
        finder: Finder,
        neighbourhood: Neighbourhood,
        ask: Callable[[Asked, NodeRecord], Awaitable[Answer]],
        asked: Asked,
        items: Items,
        schedule: Schedule,
        outcomes: Outcomes,
    ) -> None:
        self._here = here
        self._finder = finder
        self._neighbourhood = neighbourhood
        self._ask = ask
        self._asked = asked
        """What each item is asked with, but for its argument."""
        self._items = items
        self._schedule = schedule
        self._outcomes = outcomes
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._sender: Sender | None = None
        self._credit = 0
        """Items that the sender may send, and has not."""
        self._count = 0
        """Items that came."""
        self._refused: dict[str, RefusedError] = {}
        """By nodes that will take none, whatever it is."""
        self._problem: LabcError | None = None
        """Why the last item came back."""
        self._stalled_since: float | None = None
        """When it was seen first, since an item was run, that nobody takes any."""
        self._over: asyncio.Future[None] = self._loop.create_future()

    async def run(self, begun: Callable[[], object]) -> BaseException | None:
        """Returns when the reader has all outcomes; what the iterable raised, if it did. ``begun`` is called when there
        is somebody to give items to.

        Raises:
            NotFoundError: there is nobody, or nobody any more.
            LabcError: why nobody takes any.
        """
        finder, asked = self._finder, self._asked
        await finder.learn_endpoints(asked.options)
        patience = max(finder.patience(asked.options), 2 * _REST)
        with self._neighbourhood.using(asked.name):
            await finder.watch(asked, time.monotonic() + max(patience, SETTLE_WAIT))
            await finder.find_one(asked, set())
            begun()
            self._sender = self._items.send(self._here, _start, self)
            self._outcomes.on_taken = self._taken
            following = self._loop.create_task(self._follow(patience))
            following.add_done_callback(self._failed)
            self._tasks.add(following)
            try:
                await self._over
            finally:
                self._sender.close()
                for task in self._tasks:
                    task.cancel()
        return self._items.error

    # Workers, as they come and go.

    async def _follow(self, patience: float) -> None:
        """Raises LabcError: for so long nobody has taken an item."""
        while True:
            candidates = self._finder.candidates(self._asked)
            nodes = [each.node for each in candidates if not each.doubtful] or [each.node for each in candidates]
            self._schedule.set_workers([node for node in nodes if node.id not in self._refused])
            self._go_on()
            since = self._stalled_since if self._schedule.stalled else None
            until = math.inf if since is None else since + patience
            if time.monotonic() < until:
                await self._neighbourhood.changed(until)
            elif self._refused and not self._schedule.has_workers:
                raise next(iter(self._refused.values()))
            elif self._problem is not None and any(not each.doubtful for each in candidates):
                raise self._problem
            else:
                lost = self._neighbourhood.directory.last_lost(self._asked.name)
                raise await self._finder.not_found(self._asked, lost) from self._problem

    # Items, as they are read: this is the way on which they are sent.

    limit = sys.maxsize
    has_room = True

    async def room(self) -> None:
        """There is always some."""

    def send(self, values: Sequence[Body]) -> None:
        for arguments in values:
            self._credit -= 1
            if (error := self._items.refused.pop(self._count, None)) is None:
                self._schedule.add(arguments)
            else:
                self._give(self._schedule.add_failed(error))
            self._count += 1
        self._go_on()

    def finish(self, failure: Failure | None) -> None:
        self._schedule.all_read()
        self._go_on()

    # Results.

    def _taken(self, results: int, size: int) -> None:
        self._schedule.taken(results, size)
        self._go_on()

    def _give(self, results: list[Result]) -> None:
        for result in results:
            self._outcomes.put(result)

    def _go_on(self) -> None:
        """Do what can be done now."""
        if self._over.done():
            return
        schedule = self._schedule
        for worker, item in schedule.assign():
            task = self._loop.create_task(self._try(worker, item))
            self._tasks.add(task)
            task.add_done_callback(self._failed)
        if schedule.over:
            self._over.set_result(None)
            return
        if schedule.stalled and self._stalled_since is None:
            self._stalled_since = time.monotonic()
            self._neighbourhood.wake()  # for the patience to begin
        wanted = schedule.wanted - self._credit
        if wanted > 0 and self._sender is not None:
            self._credit += wanted
            self._sender.granted(wanted, sys.maxsize)

    async def _try(self, worker: Worker, item: Item) -> None:
        timeout = min(self._asked.timeout, self._asked.remaining)
        deadline = time.monotonic() + timeout
        asked = msgspec.structs.replace(self._asked, arguments=item.arguments, timeout=timeout, deadline=deadline)
        try:
            answer = await self._ask(asked, worker.node)
        except OverloadedError as error:  # it is there, and busy for others
            self._came_back(worker, item, error)
        except NotFoundError as error:  # withdrawn a moment ago
            self._came_back(worker, item, error)
            self._neighbourhood.deny(self._asked.name, worker.node.id)
        except RefusedError as error:
            self._refused[worker.node.id] = error
            self._came_back(worker, item, error)
        except PeerLostError as error:
            if error.ran == "no":
                self._came_back(worker, item, error)
            else:
                self._ended(self._schedule.lost(worker, item, _bare(error)))
        except CallTimeoutError as error:
            if error.ran == "no":
                self._ended(self._schedule.lost(worker, item, _bare(error)))
            else:
                self._ended(self._schedule.failed(worker, item, _bare(error)))
        except LabcError as error:
            self._ended(self._schedule.failed(worker, item, _bare(error)))
        else:
            size = len(answer.head) + sum(buffer.nbytes for buffer in answer.buffers)
            self._ended(self._schedule.answered(worker, item, answer, size))

    def _ended(self, results: list[Result]) -> None:
        """An item was run, well or not."""
        self._stalled_since = self._problem = None
        self._give(results)
        self._go_on()

    def _came_back(self, worker: Worker, item: Item, error: LabcError) -> None:
        """It may go to another one now; this one is offered none for a while."""
        self._problem = _bare(error)
        self._schedule.came_back(worker, item)
        self._go_on()
        self._neighbourhood.wake()  # to see who is left

        def rested() -> None:
            self._schedule.rested(worker)
            self._go_on()

        self._loop.call_later(_REST, rested)

    def _failed(self, task: asyncio.Task[None]) -> None:
        """One of the tasks has ended: with an error, all has."""
        self._tasks.discard(task)
        if self._over.done():
            if not task.cancelled():
                task.exception()
        elif task.cancelled():
            self._over.cancel()
        elif (error := task.exception()) is not None:
            self._over.set_exception(error)


E = TypeVar("E", bound=LabcError)


def _bare(error: E) -> E:
    """Without what it would keep in memory: the item is in its traceback."""
    error.__context__ = None
    return error.with_traceback(None)


def _start(job: Job) -> None:
    """In a thread of its own: it may take as long as the map, and those of the functions are for calls."""
    threading.Thread(target=job.run, name="labc map", daemon=True).start()
