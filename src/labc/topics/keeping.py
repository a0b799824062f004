"""Retained values at the node that keeps them: what it has published itself, and, if it is its host's root, what the
other nodes of the host have.

Who publishes one sends it to the root, and then to all, in this order on one link: who subscribes too late for the
message finds it at the root. Then it asks the root whether this has it, about many at once where they are published in
quick succession. A root that does not answer is asked again, and a new one is given all that this node has published.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

import msgspec

from labc.directory import NodeRecord, check_topic
from labc.errors import FabricError, LabcError, OverloadedError
from labc.fabric import Declared, Fabric, Publication
from labc.settings import Settings
from labc.topics.message import is_time
from labc.topics.retained import Answer, Kept, Pace, Push, Store, Taken, Wanted, chunks

logger = logging.getLogger("labc.topics")

_APART = 0.05
_IN_A_ROW = 100
"""Who publishes more values than this in a row, each within `_APART` seconds of the one before, does not wait for the
root at each further one,"""
_AHEAD = 1000
"""but when so many are on their way to it."""
_MAX_PUSHES = 10_000
_MAX_QUESTION = 1000
_WAIT_AT_MOST = 1.0
"""Seconds that who publishes waits for its root to keep the value."""
_AGAIN = (0.1, 1.0)
_SETTLED_AFTER = 2.0
"""Seconds after a change of root."""
_ANNOUNCE_EVERY = 0.2
_SMALL = 64 << 10
"""Larger values take their time to the root; they are not sent on the thread that publishes."""
_FAREWELL_WITHIN = 0.25

Give = Callable[[bytes], Awaitable[bool]]
"""``await give(values)`` has another node of this host take them in; False: there is none."""

_encode = msgspec.msgpack.Encoder().encode
_push = msgspec.msgpack.Decoder(Push).decode
_wanted = msgspec.msgpack.Decoder(Wanted).decode
_taken = msgspec.msgpack.Decoder(Taken).decode


class Keeping:
    """All for the node's loop, but for what says otherwise."""

    def __init__(self, here: NodeRecord, settings: Settings, fabric: Fabric) -> None:
        self._here = here
        self._fabric = fabric
        self._max_bytes = settings.max_retained_bytes
        self._store = Store(settings.max_retained, settings.max_retained_bytes)
        self._lock = threading.RLock()  # a signal handler may publish, too
        self._loop = asyncio.get_running_loop()
        self._last_time = 0.0
        self._mine: dict[str, float] = {}
        """When this node has published what it keeps of its own."""
        self._due: dict[str, float] = {}
        """Topics of which no root is known to keep the value yet, and when to ask it (monotonic)."""
        self._sent: dict[str, float] = {}
        """Those of them that were sent already, and the times of the values."""
        self._kept_at = float("-inf")
        self._in_a_row = 0
        self._waking = False
        self._waiters: list[asyncio.Future[None]] = []
        self._silent = False
        """Whether the root let a publisher wait for the longest time."""
        self._work = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._pace = Pace(*_AGAIN)
        self._taking: list[Declared] = []
        self._telling: list[Declared] = []
        self._telling_as_root = False
        self._number = 0
        """That of the token by which subscribers know that there is something to ask for."""
        self._token: tuple[int, Declared] | None = None
        self._announced_at = float("-inf")
        self._told_of_drops = False
        self._closed = False
        self._relinked_at = float("-inf")

    async def open(self) -> None:
        """Take values, if this node is the root now or later."""
        self._fabric.tell_root_changes(self._changed)
        await self._declare()
        self._task = asyncio.create_task(self._look_after(), name="labc retained values")

    async def close(self, give: Give) -> None:
        """Hand on what would go with this node, within a quarter of a second."""
        self._closed = True
        self._fabric.tell_root_changes(lambda: None)
        if self._task:
            self._task.cancel()
        self._wake_publishers()
        values = list(self._store) if self._is_root else [k for k in self._store if k.topic in self._due]
        if values:
            with suppress(LabcError, TimeoutError):
                async with asyncio.timeout(_FAREWELL_WITHIN):
                    for piece in chunks(values):
                        if not await give(_encode(Push(piece))):
                            break

    def link_changed(self, up: bool) -> None:
        """The link to the root went or came: there may be another root behind it."""
        if not up:
            self._relinked_at = float("inf")
        elif self._relinked_at == float("inf"):
            self._relinked_at = time.monotonic()
        if up and len(self._store):
            self._all_due()
            self._changed()

    @property
    def is_unsettled(self) -> bool:
        """Whether the root was lost a moment ago, and the next one may not have been given everything yet."""
        return time.monotonic() - self._relinked_at < _SETTLED_AFTER

    @property
    def counts(self) -> tuple[int, int, int]:
        """How many values are kept here, their bytes, and how many were dropped to make room."""
        return len(self._store), self._store.bytes, self._store.dropped

    # Publishing.

    @contextmanager
    def turn(self) -> Iterator[float]:
        """From any thread: the time for one publication. Whoever retains something else meanwhile comes later."""
        with self._lock:
            self._last_time = max(time.time(), self._last_time + 1e-6)
            yield self._last_time

    def keep(self, kept: Kept) -> None:
        """Have this kept, here and at the root. From any thread; before it is published.

        Raises:
            OverloadedError: it is larger than what may be kept in all.
        """
        if not self._store.fits(kept):
            raise OverloadedError(
                f"the value of topic {kept.topic!r} has {kept.size} bytes, and max_retained_bytes is "
                f"{self._max_bytes}: it was neither retained nor published"
            )
        small = kept.size <= _SMALL
        now = time.monotonic()
        with self._lock:
            self._put(kept)
            self._mine[kept.topic] = kept.seconds
            if len(self._mine) > 2 * len(self._store) + _AHEAD:  # of what made room
                self._mine = {topic: at for topic, at in self._mine.items() if self._store.get(topic)}
            self._due[kept.topic] = now
            self._in_a_row = self._in_a_row + 1 if now - self._kept_at < _APART else 0
            self._kept_at = now
            self._sent.pop(kept.topic, None)
            if small and not self._is_root:
                self._sent[kept.topic] = kept.seconds
                self._fabric.publish(self._fabric.keys.retained_push(self._here.host_id), _encode(Push([kept])))
            if self._waking:
                return
            self._waking = True
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._wake)

    def must_wait(self) -> bool:
        """Whether who has just published has to wait in :meth:`kept`. From any thread."""
        return not (self._silent or self._is_root) and len(self._due) > self._may_be_due

    @property
    def _may_be_due(self) -> int:
        return _AHEAD if self._in_a_row > _IN_A_ROW else 0

    async def kept(self, topic: str) -> None:
        """Returns when the root keeps the value of this topic; after a second at most.

        Returns at once while the root is known to be silent, which is asked on and on, and where very many values are
        published in a row and not too many are on their way.
        """
        if self._silent:
            return
        most = self._may_be_due
        try:
            async with asyncio.timeout(_WAIT_AT_MOST):
                while topic in self._due and len(self._due) > most and not (self._is_root or self._closed):
                    await self._progress()
        except TimeoutError:
            self._silent = True

    async def _progress(self) -> None:
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiters.append(waiter)
        await waiter

    # Questions of others.

    async def _take(self, question: bytes) -> bytes:
        """As the root; one that leaves keeps nothing any more."""
        if self._closed:
            return b""
        push = _push(question)
        self.adopt(push.values, again=push.again)
        held = ((topic, seconds, self._store.get(topic)) for topic, seconds in push.have)
        return _encode(Taken([topic for topic, seconds, kept in held if kept is None or kept.seconds < seconds]))

    def _pushed(self, publications: list[Publication]) -> None:
        """As the root."""
        for publication in publications:
            with suppress(ValueError):
                self.adopt(_push(publication.payload).values, again=False)

    def take_over(self, encoded: bytes) -> None:
        """From a node of this host that leaves: what only it has kept, to be given to the root.

        Raises:
            ValueError: it is not that.
        """
        self.adopt(_push(encoded).values, again=True)

    def adopt(self, values: Iterable[Kept], *, again: bool) -> None:
        """Keep what others have published."""
        with self._lock:
            for kept in values:
                with suppress(LabcError):
                    if is_time(kept.seconds) and check_topic(kept.topic) and self._put(kept):
                        self._due[kept.topic] = time.monotonic()
                        self._number += again or not self._number
        self._changed()

    async def _tell(self, question: bytes) -> list[bytes]:
        """What is kept here."""
        wanted = _wanted(question)
        if wanted.forget is not None:
            self.forget(wanted.forget)
        with self._lock:
            revision, values = self._store.revision, self._store.find(wanted.patterns, wanted.since)
        *first, last = chunks(values)
        answers = [Answer(self._here.id, piece) for piece in first]
        return [_encode(answer) for answer in (*answers, Answer(self._here.id, last, revision))]

    def find(self, topic: str) -> Kept | None:
        """What this node keeps of the topic."""
        return self._store.get(topic)

    def forget(self, topic: str) -> None:
        """Keep the value of this topic no longer, here."""
        with self._lock:
            self._store.drop(topic)
            for noted in (self._mine, self._due, self._sent):
                noted.pop(topic, None)

    # Looking after the root.

    @property
    def _is_root(self) -> bool:
        return self._fabric.root_port is not None

    def _put(self, kept: Kept) -> bool:
        new = self._store.put(kept)
        if self._store.dropped and not self._told_of_drops:
            self._told_of_drops = True
            logger.warning(
                "more is retained here than max_retained (values) or max_retained_bytes allow: the oldest are dropped"
            )
        return new

    def _changed(self) -> None:
        self._work.set()

    def _wake(self) -> None:
        self._waking = False
        self._changed()

    def _all_due(self) -> None:
        """Another root may be there, that has nothing yet."""
        with self._lock:
            self._due = {kept.topic: time.monotonic() for kept in self._store}
            self._sent.clear()

    def _settled(self, values: Iterable[Kept]) -> None:
        """The root keeps these; what others have published is its own business from here on."""
        self._silent = False
        with self._lock:
            for kept in values:
                if (held := self._store.get(kept.topic)) is not None and held.seconds > kept.seconds:
                    continue
                self._due.pop(kept.topic, None)
                self._sent.pop(kept.topic, None)
                if held is not None and self._mine.get(kept.topic) != held.seconds and not self._is_root:
                    self._store.drop(kept.topic)

    def _wake_publishers(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def _look_after(self) -> None:
        """For the life of the node."""
        while True:
            try:
                pause = await self._step()
            except FabricError as error:
                logger.debug("retained values: %s", error)
                pause = self._pace.failed()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._work.wait()
            self._work.clear()

    async def _step(self) -> float | None:
        """Do what is due. Seconds until something else is; None: nothing is."""
        await self._declare()
        now = time.monotonic()
        if self._is_root:
            with self._lock:
                self._due.clear()
                self._sent.clear()
            self._wake_publishers()
            late = self._announced_at + _ANNOUNCE_EVERY - now
            return late if self._token is not None and self._token[0] != self._number else None
        with self._lock:
            for topic in [topic for topic in self._due if self._store.get(topic) is None]:  # they made room
                del self._due[topic]
                self._sent.pop(topic, None)
            due = [kept for topic, at in self._due.items() if at <= now and (kept := self._store.get(topic))]
        sent = [kept for kept in due if self._sent.get(kept.topic) == kept.seconds][:_MAX_QUESTION]
        if sent and not await self._ask_root(Push(have=[(kept.topic, kept.seconds) for kept in sent]), sent):
            return self._ask_later(due)
        unsent = [kept for kept in due if kept.topic in self._due and kept.topic not in self._sent]
        for piece in chunks(unsent) if unsent else ():
            if not await self._ask_root(Push(piece, again=True), piece):
                return self._ask_later(due)
        with self._lock:
            return max(0.0, min(self._due.values()) - time.monotonic()) if self._due else None

    def _ask_later(self, values: Iterable[Kept]) -> float:
        """No root has answered. Seconds until it is asked again: for these, whether they were sent or not."""
        pause = self._pace.failed()
        with self._lock:
            for kept in values:
                self._sent.pop(kept.topic, None)
                if kept.topic in self._due:
                    self._due[kept.topic] = time.monotonic() + pause
        return pause

    async def _ask_root(self, push: Push, values: list[Kept]) -> bool:
        """Whether a root has answered. What it has not got of these values, although it was sent, is due still."""
        key = self._fabric.keys.retained_take(self._here.host_id)
        answers = await self._fabric.ask(key, _encode(push), _WAIT_AT_MOST)
        for answer in answers:
            with suppress(ValueError):
                missing = set(_taken(answer).missing)
                self._settled(kept for kept in values if kept.topic not in missing)
                for topic in missing:
                    self._sent.pop(topic, None)
                self._pace.succeeded()
                self._wake_publishers()
                return True
        return False

    # What the network knows of it.

    async def _declare(self) -> None:
        """Make it fit what this node is and has."""
        keys, is_root = self._fabric.keys, self._is_root
        if is_root and not self._taking:
            push = await self._fabric.subscribe(keys.retained_push(self._here.host_id), self._pushed, _MAX_PUSHES)
            self._taking.append(push[0])
            self._taking.append(await self._fabric.answer(keys.retained_take(self._here.host_id), self._take))
        elif not is_root and self._taking:
            taking, self._taking = self._taking, []
            for declared in taking:
                await declared.close()
            self._all_due()
        if len(self._store) and not self._telling:
            self._telling.append(await self._fabric.answer(keys.retained_at_node(self._here.id), self._tell))
        if is_root and len(self._store) and not self._telling_as_root:
            self._telling_as_root = True
            self._telling.append(await self._fabric.answer(keys.retained_at_root(self._here.id), self._tell))
        await self._announce(is_root and self._telling_as_root)

    async def _announce(self, wanted: bool) -> None:
        """By a token with a new number whenever subscribers have to look."""
        token, now = self._token, time.monotonic()
        if not wanted:
            if token is not None:
                self._token = None
                await token[1].close()
            return
        if token is None or (token[0] != self._number and now - self._announced_at >= _ANNOUNCE_EVERY):
            self._announced_at, number = now, self._number
            declared = await self._fabric.declare_token(self._fabric.keys.keeper(self._here.id, number))
            self._token = (number, declared)
            if token is not None:
                await token[1].close()
