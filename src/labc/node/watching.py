"""Watching the other nodes: the shell around :class:`labc.directory.History`, and what watchers get hold of."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Self, cast

from labc.directory import EventQueue, History, NodeEvent, NodeRecord
from labc.errors import ClosedError, LabcError
from labc.fabric import Declared, Fabric, Keys, Neighbourhood, Publication, Wide
from labc.reading import Inflow, Reader
from labc.registry import is_coroutine_function
from labc.settings import Settings

logger = logging.getLogger("labc")

_MAX_GOODBYES = 10_000
"""So many may wait for the loop; when it is too slow, the oldest are dropped, and such nodes are called lost."""
_CLOSE_WITHIN = 0.2

Callback = Callable[[NodeEvent], Any]


def check_callback(callback: Callback) -> None:
    """Raises TypeError: it is no function."""
    if not callable(callback):
        raise TypeError(f"watch_nodes() takes a function, not {callback!r}")


class Watching:
    """Of one node. Goodbyes are only listened to, and histories kept, while somebody watches. For the node's loop.

    ``prepare`` is called in whatever runs a callback, before it runs; ``in_thread`` runs plain functions.
    """

    def __init__(
        self,
        here: NodeRecord,
        settings: Settings,
        media: Sequence[Fabric | Wide],
        neighbourhood: Neighbourhood,
        prepare: Callable[[], object],
        in_thread: Callable[[contextvars.Context, Callable[[], None]], Any],
    ) -> None:
        self._here = here
        self._settings = settings
        self._media = media
        self._directory = neighbourhood.directory
        self._prepare = prepare
        self._in_thread = in_thread
        self._loop = asyncio.get_running_loop()
        self._lock = asyncio.Lock()
        self._history: History | None = None
        self._goodbyes: list[Declared] = []
        self._unheard: list[Callable[[], int]] = []
        """Of each medium: goodbyes that were dropped so far because the loop was too slow for them."""
        self._unheard_told = 0
        self._inflows: list[Inflow[NodeEvent]] = []
        self._watches: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        neighbourhood.on_standing = self._look

    def events(self) -> NodeEvents:
        """For one reader."""
        return NodeEvents(self, self._settings.queue_size)

    async def watch(self, callback: Callback) -> NodeWatch:
        """Call it with what becomes of the nodes, from now on.

        Raises:
            ClosedError: the node is closed.
        """
        events = await self.events().__aenter__()
        watch = NodeWatch(callback, events, self._loop)
        task = self._loop.create_task(self._tell(watch, events), name=f"labc {watch!r}")
        self._watches.add(task)
        task.add_done_callback(self._watches.discard)
        return watch

    async def close(self) -> None:
        """Readers come to their end; a callback that runs in a thread is left to it."""
        self._closed = True
        self._stop_looking()
        for inflow in self._inflows:
            inflow.finish()
        for task in self._watches:
            task.cancel()
        if self._watches:
            await asyncio.wait(self._watches, timeout=_CLOSE_WITHIN)

    async def attach(self, inflow: Inflow[NodeEvent]) -> None:
        """Tell it who is there, and what changes from now on. Raises ClosedError."""
        async with self._lock:
            self._check_open()
            if self._history is None:
                await self._begin()
            for kind, node in list(self._history.present()) if self._history else ():
                inflow.put(_event(kind, node))
            self._inflows.append(inflow)

    async def detach(self, inflow: Inflow[NodeEvent]) -> None:
        async with self._lock:
            if inflow not in self._inflows:
                return
            self._inflows.remove(inflow)
            if not self._inflows:
                await self._end()

    # Within.

    async def _begin(self) -> None:
        self._history = History(self._here.id, self._settings.presence_grace)
        try:
            self._unheard_told, self._unheard = 0, []
            for medium in self._media:
                await self._listen(medium)
                await medium.spread()  # or the first to leave would not be heard
            self._check_open()
        except BaseException:
            await self._end()
            raise
        self._look()

    async def _end(self) -> None:
        self._history = None
        self._stop_looking()
        goodbyes, self._goodbyes = self._goodbyes, []
        for declared in goodbyes:
            with suppress(LabcError):  # the node has left the network meanwhile
                await declared.close()

    async def _listen(self, medium: Fabric | Wide) -> None:
        declared, unheard = await medium.subscribe(
            medium.keys.all_goodbyes, lambda came: self._goodbyes_came(medium.keys, came), _MAX_GOODBYES
        )
        self._goodbyes.append(declared)
        self._unheard.append(unheard)

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError("the node is closed")

    def _goodbyes_came(self, keys: Keys, publications: list[Publication]) -> None:
        now = time.monotonic()
        for publication in publications:
            node_id = keys.parse_goodbye(publication.key)
            if node_id is not None and self._history is not None:
                self._history.goodbye(node_id, now)
        if (unheard := sum(count() for count in self._unheard)) > self._unheard_told:
            self._unheard_told = unheard
            logger.warning("%d goodbyes of nodes came too fast to be heard: these nodes will be called lost", unheard)
        self._look()

    def _look(self) -> None:
        """Something has changed, or it is time."""
        if self._history is None or self._closed:
            return
        for kind, node in self._history.look(self._directory.standings(), time.monotonic()):
            event = _event(kind, node)
            logger.debug("%s", event)
            for inflow in self._inflows:
                inflow.put(event)
        self._stop_looking()
        if (due := self._history.next_look()) is not None:
            self._timer = self._loop.call_at(due, self._look)

    def _stop_looking(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    async def _tell(self, watch: NodeWatch, events: NodeEvents) -> None:
        awaited = is_coroutine_function(watch.callback)
        async with events:
            async for event in events:
                if watch.closed:
                    break
                self._prepare()
                if awaited:
                    await self._tell_here(watch, event)
                else:
                    await self._in_thread(contextvars.copy_context(), partial(watch.tell, event))

    async def _tell_here(self, watch: NodeWatch, event: NodeEvent) -> None:
        try:
            await cast(Any, watch.callback(event))
        except BaseException as error:
            if self._closed and isinstance(error, asyncio.CancelledError):
                raise
            watch.log(event, error)


def _event(kind: Any, node: NodeRecord) -> NodeEvent:
    return NodeEvent(kind, node.name, node.host, node.id, node.host_id, time.time())


class NodeEvents(Reader[NodeEvent]):
    """What becomes of the other nodes, as it happens: ``async for event in node.node_events()``.

    It watches from the first ``async for`` on, until it is let go of; ``async with`` watches from its beginning to its
    end. First it tells ``"joined"`` of each node that is there already. It ends with the node. For one reader.

    A reader who is slow misses nothing that still counts: when more than ``queue_size`` events wait, a doubt that was
    dispelled and a node that came and went unseen are taken out, and counted in ``dropped``.
    """

    def __init__(self, watching: Watching, queue_size: int) -> None:
        super().__init__(Inflow(EventQueue(queue_size)), watching.attach, watching.detach)

    def finish(self) -> None:
        """On the node's loop: the reader comes to his end, and then ends the watch."""
        self._inflow.finish()


class NodeWatch:
    """What ``watch_nodes`` returns: a callback that is told what becomes of the nodes, until :meth:`close`."""

    def __init__(self, callback: Callback, events: NodeEvents, loop: asyncio.AbstractEventLoop) -> None:
        self.callback = callback
        self.closed = False
        self._events = events
        self._loop = loop
        self._process = os.getpid()

    @property
    def dropped(self) -> int:
        """Events that were taken out because too many waited for the callback; see :class:`labc.NodeEvents`."""
        return self._events.dropped

    def close(self) -> None:
        """Call it no more. From any thread, and from the callback itself; closing twice is harmless.

        It does not wait for a call that is under way.
        """
        self.closed = True
        if os.getpid() == self._process:  # in a forked child there is nobody to tell
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._events.finish)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<labc watch of nodes by {getattr(self.callback, '__name__', self.callback)!r}>"

    def tell(self, event: NodeEvent) -> None:
        """In a thread: call it, unless it was closed meanwhile."""
        if self.closed:
            return
        try:
            self.callback(event)
        except BaseException as error:
            self.log(event, error)

    def log(self, event: NodeEvent, error: BaseException) -> None:
        """What the callback raised."""
        name = getattr(self.callback, "__name__", repr(self.callback))
        logger.warning(
            "the callback %s of watch_nodes raised %s at %s: %s",
            name,
            type(error).__name__,
            event,
            error,
            exc_info=error,
        )
