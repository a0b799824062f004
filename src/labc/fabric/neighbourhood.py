"""The shell around the directory: feeds it the fabric's tokens and the time, and wakes those who wait for it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from labc.directory import Directory, NodeRecord, Offer, WideDirectory
from labc.errors import ClosedError
from labc.fabric.fabric import Fabric
from labc.fabric.keys import Keys
from labc.fabric.medium import Declared, TokenEvent
from labc.fabric.wide import Wide

logger = logging.getLogger("labc.fabric")

_SETTLE_WITHIN = 2.0
_WIDE_SETTLE_WITHIN = 0.5
"""Seconds for which a router may hold up who looks for something."""
_AWAY_BACK_WITHIN = 4.0
"""Seconds for which a node of another site is waited for, beside the grace that all have, when the link to a router is
back: it finds the router by itself, and may have been slower."""


class Neighbourhood:
    """What this node sees of the others. ``on_lost`` is told of each node that is gone for good; ``digests`` tells what
    stands for a name that is offered to this node's host or group alone."""

    def __init__(
        self,
        fabric: Fabric,
        grace: float,
        on_lost: Callable[[NodeRecord], None],
        digests: Callable[[str], Sequence[str]] = lambda _: (),
        wide: Wide | None = None,
    ) -> None:
        self._others = WideDirectory(grace) if wide else None
        """For the tokens of other sites: the same as :attr:`directory`; None: there are none."""
        self.directory: Directory = self._others or Directory(grace)
        self._fabric = fabric
        self._wide = wide
        self._grace = grace
        self._on_lost = on_lost
        self._digests = digests
        self._named: dict[str, str] = {}
        """By digest: the name that it stands for, of those that are watched."""
        self._loop = asyncio.get_running_loop()
        self._names: dict[str, asyncio.Task[list[Declared]]] = {}
        self._users: Counter[str] = Counter()
        self._waiters: list[asyncio.Future[None]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._returning: asyncio.TimerHandle | None = None
        """The end of the time that the others have for coming back to a router."""
        self._closed = False
        self.on_change: Callable[[], None] = lambda: None
        """Called on the loop when anything changes."""
        self.on_standing: Callable[[], None] = lambda: None
        """The same, for whoever watches the nodes; also when this node's own link goes."""

    async def open(self) -> None:
        """Returns when every node that was there is known."""
        keys = self._fabric.keys
        await self._fabric.watch_tokens(keys.all_nodes, self._node_tokens)
        if self._wide:
            await self._wide.watch_tokens(self._wide.keys.all_nodes, self._wide_node_tokens)
        # The end of any listing comes in order behind what the watch tells of those that are there already.
        await self._fabric.list_tokens(keys.node(self._fabric.here), _SETTLE_WITHIN)

    def close(self) -> None:
        """Those who wait get a ClosedError."""
        self._closed = True
        self.wake()
        for task in self._names.values():
            task.cancel()
        for timer in (self._timer, self._returning):
            if timer:
                timer.cancel()

    def link_changed(self, up: bool) -> None:
        """This node's own link to its root went or came."""
        if up:
            # The others come back to the new root one by one; what stays away counts from now.
            self.directory.fabric_back(time.monotonic())
            self._changed()
        else:
            self.directory.fabric_lost()
            self.on_standing()

    def wide_link_changed(self, up: bool) -> None:
        """The same for the link to a router."""
        if self._others is None:
            return
        if self._returning is not None:
            self._returning.cancel()
        if up:
            self._others.others.fabric_returns()
            self._returning = self._loop.call_later(_AWAY_BACK_WITHIN, self._others_are_back)
            self._changed()
        else:
            self._others.others.fabric_lost()
            self.on_standing()

    def _others_are_back(self) -> None:
        if self._others is not None:
            self._others.others.fabric_back(time.monotonic())
            self._changed()

    def is_of_this_site(self, node_id: str) -> bool:
        """Whether it is known to be, and not only by way of a router."""
        return self._others is None or self._others.is_of_this_site(node_id)

    @property
    def has_no_router(self) -> bool:
        """Whether there should be a link to a router, and is none."""
        return self._wide is not None and not self._wide.linked

    async def offered(self, within: float) -> set[str]:
        """All names that are offered to this node's site, or by others to this one, as far as is told in time. Those
        that this node itself offers may be missing, see :meth:`Medium.list_tokens`."""
        media: list[Fabric | Wide] = [self._fabric] if self._wide is None else [self._fabric, self._wide]
        found = self.directory.offered()
        for medium, keys in zip(
            media, await asyncio.gather(*(m.list_tokens(m.keys.all_offers, within) for m in media)), strict=True
        ):
            found.update(parsed[0] for key in keys if (parsed := medium.keys.parse_function(key)))
        return found

    @contextmanager
    def using(self, name: str) -> Iterator[None]:
        """For :meth:`watch`: the name stays watched within, and after it if anybody offers it or did.

        A name that is nobody's is forgotten when the last who uses it has done.
        """
        self._users[name] += 1
        try:
            yield
        finally:
            self._users[name] -= 1
            if not self._users[name]:
                del self._users[name]
                if not self.directory.candidates(name) and self.directory.last_lost(name) is None:
                    self._unwatch(name)

    async def watch(self, name: str) -> None:
        """From here on know who offers ``name``. Returns when all who offered it already are known.

        Raises:
            ClosedError: this node was closed.
        """
        self._check_open()
        task = self._names.get(name)
        if task is None or (task.done() and (task.cancelled() or task.exception())):
            self.directory.watch(name)
            task = self._names[name] = self._loop.create_task(self._watch(name))
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():  # not the caller, but the watch: by close()
                self._check_open()
            raise

    def _unwatch(self, name: str) -> None:
        if (task := self._names.pop(name, None)) is not None:
            self.directory.forget(name)
            for digest in self._digests(name):
                self._named.pop(digest, None)
            if task.done() and not task.cancelled() and not task.exception():
                self._end(task.result())
            else:
                task.cancel()

    def _end(self, watches: Sequence[Declared]) -> None:
        for declared in watches:
            closing = self._loop.create_task(declared.close())
            closing.add_done_callback(lambda done: done.cancelled() or done.exception())

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError("this node was closed")

    async def changed(self, deadline: float) -> bool:
        """Wait until something changes, or :meth:`wake` is called; False if nothing did until ``deadline`` (monotonic).

        Raises:
            ClosedError: this node was closed.
        """
        self._check_open()
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout_at(deadline):
                await waiter
        except TimeoutError:
            return False
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
        self._check_open()
        return True

    def doubt(self, node_id: str) -> None:
        """A lane found the node silent or unreachable."""
        if lost := self.directory.node_doubted(node_id):
            self._lost(lost)
        self._changed()

    def quiet(self, node_id: str, seconds: float) -> None:
        """The node lets a question for a sign of life unanswered; this counts for so long, if it is not told again."""
        if self.directory.node_quiet(node_id, time.monotonic() + seconds):
            self._changed()

    def heard(self, node_id: str) -> None:
        """A lane with the node has come up, or it answers again."""
        if self.directory.node_heard(node_id):
            self._changed()

    def deny(self, name: str, node_id: str) -> None:
        """The node says that it does not offer this."""
        self.directory.offer_denied(name, node_id, time.monotonic())
        self._changed()

    async def _watch(self, name: str) -> list[Declared]:
        fabric, keys = self._fabric, self._fabric.keys
        digests = self._digests(name)
        self._named.update(dict.fromkeys(digests, name))
        watches = []
        try:
            for digest in digests:
                key = keys.narrow_offers_of(digest, fabric.here.host_id)
                watches.append(await fabric.watch_tokens(key, self._narrow_tokens))
            key = keys.offers_of(name)
            watches.append(await fabric.watch_tokens(key, self._offer_tokens))
            settling = [fabric.list_tokens(key, _SETTLE_WITHIN)]  # see open()
            if self._wide:
                key = self._wide.keys.offers_of(name)
                watches.append(await self._wide.watch_tokens(key, self._wide_offer_tokens))
                settling.append(self._wide.list_tokens(key, _WIDE_SETTLE_WITHIN))
            await asyncio.gather(*settling)
        except BaseException:
            if not self._closed:
                self._end(watches)
            raise
        self.directory.settled(name)
        return watches

    def _node_tokens(self, events: list[TokenEvent]) -> None:
        self._take_nodes(self.directory, self._fabric.keys, events)

    def _wide_node_tokens(self, events: list[TokenEvent]) -> None:
        if self._wide and self._others:
            self._take_nodes(self._others.others, self._wide.keys, events)

    def _take_nodes(self, directory: Directory, keys: Keys, events: list[TokenEvent]) -> None:
        now = time.monotonic()
        for event in events:
            record = keys.parse_node(event.key)
            if record is None:
                continue
            if event.appeared:
                if directory.node_appeared(record):
                    logger.debug("met %s (%s)", record, record.id)
            elif (lost := directory.node_vanished(record.id, now)) and self.directory.node(lost.id) is None:
                self._lost(lost)
        self._changed(all(event.appeared for event in events))

    def _offer_tokens(self, events: list[TokenEvent]) -> None:
        self._take_offers(self.directory, self._fabric.keys, events)

    def _wide_offer_tokens(self, events: list[TokenEvent]) -> None:
        if self._wide and self._others:
            self._take_offers(self._others.others, self._wide.keys, events)

    def _take_offers(self, directory: Directory, keys: Keys, events: list[TokenEvent]) -> None:
        for event in events:
            if parsed := keys.parse_function(event.key):
                _offer(directory, Offer(*parsed), event.appeared)
        self._changed()

    def _narrow_tokens(self, events: list[TokenEvent]) -> None:
        for event in events:
            if parsed := self._fabric.keys.parse_narrow(event.key):
                host_id, digest, node_id = parsed
                if name := self._named.get(digest):
                    _offer(self.directory, Offer(name, host_id, node_id), event.appeared)
        self._changed()

    def wake(self) -> None:
        """Who waits for a change looks again."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _changed(self, appeared_only: bool = False) -> None:
        if self._closed:
            return
        self.on_change()
        self.on_standing()
        self.wake()
        if appeared_only:  # nothing expires sooner than before, and to look takes its time where hundreds appear
            return
        if self._timer:
            self._timer.cancel()
        due = self.directory.next_expiry()
        self._timer = None if due is None else self._loop.call_at(due, self._expire)

    def _expire(self) -> None:
        for lost in self.directory.expire(time.monotonic()):
            self._lost(lost)
        self._changed()

    def _lost(self, record: NodeRecord) -> None:
        logger.debug("lost %s (%s)", record, record.id)
        self._on_lost(record)


def _offer(directory: Directory, offer: Offer, appeared: bool) -> None:
    if appeared:
        directory.offer_appeared(offer)
    else:
        directory.offer_vanished(offer, time.monotonic())
