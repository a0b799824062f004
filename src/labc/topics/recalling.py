"""Retained values for those who subscribe: asked for when a subscription begins, and whenever a root has more to tell.

The roots that keep values show it by a token. Where there is none, nobody is asked anything.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from typing import Protocol

import msgspec

from labc.directory import matches
from labc.errors import CarryError, FabricError, LabcError
from labc.fabric import Fabric, TokenEvent
from labc.topics.message import Message, unpack
from labc.topics.queue import MessageQueue
from labc.topics.retained import Answer, Kept, Seen, Wanted

logger = logging.getLogger("labc.topics")

_SETTLE_WITHIN = 2.0
_SOON = 0.5
"""Seconds after which, beside a root that has not answered, all nodes are asked that have published anything."""
_ANSWER_WITHIN = 10.0
_AGAIN = 1.0
"""Seconds until a root that gave no answer is asked again, as long as its token is there."""
HELD_AGAIN = 1.0
"""Publishers learn a little later than roots of a subscription that holds them back: by then they know."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Answer).decode


class Sink(Protocol):
    """What takes messages: a handler's queue, or a reader's."""

    queue: MessageQueue

    def put(self, *messages: Message) -> None:
        """Take them."""

    async def wait_for_room(self) -> None:
        """Returns when there is room."""


class Feed:
    """One subscription's part: which values it still gets. They wait here, not in its queue, for room in that."""

    def __init__(
        self,
        pattern: str,
        sink: Sink,
        not_understood: Callable[[str, CarryError], None],
        takes: Callable[[str], bool],
    ) -> None:
        self.pattern = pattern
        self.recalled = asyncio.Event()
        """Whether the roots that answer at once have been asked."""
        self.seen = Seen()
        self.closed = False
        self._sink = sink
        self._not_understood = not_understood
        self._takes = takes
        self._waiting: dict[str, Kept] = {}
        self._gathers = False
        self._task: asyncio.Task[None] | None = None

    def live(self, messages: Sequence[Message], retain: bool) -> Sequence[Message]:
        """Of what comes as it is published, that which is news to this subscription."""
        now = time.monotonic()
        if not (retain or self._waiting) and self.seen.is_idle(now):
            return messages
        wall, retain = time.time(), retain or bool(self._waiting)
        return [m for m in messages if self.seen.live(m.topic, m.sender.node_id, m.seconds, retain, wall, now)]

    def offer(self, values: Iterable[Kept]) -> None:
        """These are kept somewhere."""
        for kept in values:
            if matches(self.pattern, kept.topic) and self._takes(kept.topic):
                waiting = self._waiting.get(kept.topic)
                if waiting is None or waiting.seconds < kept.seconds:
                    self._waiting[kept.topic] = kept
        if not self._gathers:
            self._begin()

    def gather(self, gathers: bool) -> None:
        """While it gathers, values wait for newer ones of other roots."""
        self._gathers = gathers
        if not gathers:
            self._begin()

    def _begin(self) -> None:
        self._fill()
        if self._waiting and self._task is None:
            self._task = asyncio.create_task(self._fill_on(), name=f"labc retained values of {self.pattern}")

    def close(self) -> None:
        """It gets no more."""
        self.closed = True
        self._waiting.clear()
        self.recalled.set()
        if self._task:
            self._task.cancel()

    def _fill(self) -> None:
        while self._waiting and not self._sink.queue.full:
            kept = self._waiting.pop(next(iter(self._waiting)))
            messages, errors, _ = unpack(kept.topic, kept.payload, kept.attachment, "")
            for error in errors:
                self._not_understood(kept.topic, error)
            for message in messages:
                sender, seconds = message.sender.node_id, message.seconds or 0.0
                if self.seen.kept(message.topic, sender, seconds, time.monotonic()):
                    self._sink.put(msgspec.structs.replace(message, retained=True))

    async def _fill_on(self) -> None:
        while self._waiting:
            await self._sink.wait_for_room()
            if self._sink.queue.full:  # nobody reads it any more
                break
            self._fill()
        self._task = None


class Recalling:
    """Those of one node. All for its loop."""

    def __init__(self, fabric: Fabric) -> None:
        self._fabric = fabric
        self._feeds: dict[int, Feed] = {}
        self._new: set[Feed] = set()
        self._keepers: dict[str, str] = {}
        """The roots that keep values, and the number of the last news of each."""
        self._told: dict[str, int] = {}
        """Up to which change each of them has told all subscriptions what it keeps."""
        self._changed: set[str] = set()
        """Roots that have something to tell to all."""
        self._asking: set[asyncio.Task[None]] = set()
        self._work = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def begin(self, sink: object, feed: Feed, *, again: float | None = None) -> None:
        """Give it what is retained now and what is found later. ``again``: ask a second time, after these seconds."""
        self._feeds[id(sink)] = feed
        self._ask_for(feed)
        if again is not None:
            asyncio.get_running_loop().call_later(again, self._ask_for, feed)

    def end(self, sink: object) -> None:
        """It takes no more."""
        if (feed := self._feeds.pop(id(sink), None)) is not None:
            self._new.discard(feed)
            feed.close()

    async def recalled(self, sink: object, timeout: float) -> None:
        """Returns when the roots that answer at once have been asked; after ``timeout`` seconds at most."""
        if (feed := self._feeds.get(id(sink))) is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await feed.recalled.wait()

    def feed(self, sink: object) -> Feed | None:
        """Of this subscription."""
        return self._feeds.get(id(sink))

    def close(self) -> None:
        """For good."""
        for feed in self._feeds.values():
            feed.close()
        self._feeds.clear()
        for task in [*self._asking, *([self._task] if self._task else [])]:
            task.cancel()

    def _ask_for(self, feed: Feed) -> None:
        if not feed.closed:
            self._new.add(feed)
            self._work.set()
            if self._task is None:
                self._task = asyncio.create_task(self._run(), name="labc retained values wanted")

    def _tokens(self, events: list[TokenEvent]) -> None:
        for event in events:
            if (parsed := self._fabric.keys.parse_keeper(event.key)) is None:
                continue
            node_id, number = parsed
            if event.appeared:
                self._keepers[node_id] = number
                self._changed.add(node_id)
            elif self._keepers.get(node_id) == number:
                del self._keepers[node_id]
        self._work.set()

    async def _run(self) -> None:
        try:
            await self._fabric.watch_tokens(self._fabric.keys.all_keepers, self._tokens)
            await self._fabric.list_tokens(self._fabric.keys.all_keepers, _SETTLE_WITHIN)
        except FabricError as error:
            logger.warning("retained values can't be found: %s", error)
            self._task = None  # the next subscription tries again
            return
        while True:
            self._work.clear()
            try:
                await self._round()
            except LabcError as error:
                logger.debug("retained values: %s", error)
            await self._work.wait()

    async def _round(self) -> None:
        new, self._new = self._new, set()
        changed, self._changed = self._changed & self._keepers.keys(), set()
        if not self._keepers:
            for feed in new:
                feed.recalled.set()
            return
        try:
            await self._fabric.spread()  # so that what is published from now on comes by itself
        except LabcError:
            self._new |= new
            self._changed |= changed
            raise
        keys, everybody = self._fabric.keys, set(self._feeds.values())
        gathering = everybody if changed else new
        for feed in gathering:
            feed.gather(True)
        for node_id in changed:
            since = self._told.get(node_id, 0)
            self._ask(keys.retained_at_root(node_id), {node_id}, everybody, since)
        others = self._keepers.keys() - {node_id for node_id in changed if not self._told.get(node_id)}
        if new and others:
            self._ask(keys.retained_at_roots, others, new)
        if self._asking:
            await asyncio.wait(self._asking, timeout=_SOON)
        for feed in gathering:
            feed.gather(False)
        for feed in new:
            feed.recalled.set()

    def _ask(self, key: str, expected: Collection[str], feeds: set[Feed], since: int | None = None) -> None:
        """``since``: these are all subscriptions, and the one that is expected has told them everything before."""
        for feed in feeds:
            feed.seen.asking += 1
        task = asyncio.create_task(self._ask_and_wait(key, set(expected), feeds, since))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _ask_and_wait(self, key: str, missing: set[str], feeds: set[Feed], since: int | None) -> None:
        question = _encode(Wanted(sorted({feed.pattern for feed in feeds}), since or 0))
        complete = asyncio.Event()

        def take(encoded: list[bytes]) -> None:
            for each in encoded:
                with suppress(ValueError):
                    answer = _decode(each)
                    for feed in feeds:
                        if not feed.closed:
                            feed.offer(answer.values)
                    if answer.revision is not None:
                        missing.discard(answer.node_id)
                        if since is not None:
                            self._told[answer.node_id] = answer.revision
            if not missing:
                complete.set()

        asking = asyncio.create_task(self._fabric.ask_each(key, question, _ANSWER_WITHIN, take))

        def ended(task: asyncio.Task[None]) -> None:
            complete.set()
            if not task.cancelled() and (error := task.exception()):
                logger.debug("retained values: %s", error)

        asking.add_done_callback(ended)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(_SOON):
                    await complete.wait()
            if missing:
                with suppress(FabricError):
                    await self._fabric.ask_each(self._fabric.keys.retained_everywhere, question, _SOON, take)
            await complete.wait()
        finally:
            asking.cancel()
            for feed in feeds:
                feed.seen.asking -= 1
            if missing:
                asyncio.get_running_loop().call_later(_AGAIN, self._ask_again, missing)

    def _ask_again(self, node_ids: set[str]) -> None:
        """They gave no answer: to all, as nobody knows who has been told what."""
        for node_id in node_ids:
            self._told.pop(node_id, None)
            self._changed.add(node_id)
        self._work.set()
