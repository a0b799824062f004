"""The fabric as the rest of labc sees it: tokens, publications, questions. No Zenoh type leaves this room."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import zenoh

from labc.directory import NodeRecord
from labc.errors import ClosedError, FabricError
from labc.fabric.engine import abandon, callback
from labc.fabric.handover import Handover
from labc.fabric.keys import Keys
from labc.fabric.publishing import MSGPACK, Publishing
from labc.fabric.seat import LOOK_AROUND, Seat
from labc.fabric.worker import Worker
from labc.security import Credentials
from labc.settings import Settings

if TYPE_CHECKING:
    from labc.discovery import Heard

logger = logging.getLogger("labc.fabric")

T = TypeVar("T")

Respond = Callable[[bytes], Coroutine[Any, Any, bytes | Sequence[bytes]]]

_CLOSE_WITHIN = 0.6
_SPREAD_WITHIN = 1.0
_GOODBYE_WITHIN = 0.25
"""Seconds. A root that has just ended is replaced in less, mostly."""
_LONGEST = 1e6
"""Seconds. The engine refuses what is for ever."""


class TokenEvent(NamedTuple):
    """A token of this key appeared or vanished."""

    key: str
    appeared: bool


class Publication(NamedTuple):
    """What arrived on a topic."""

    key: str
    payload: bytes
    attachment: bytes | None
    """None: no labc node published it."""
    encoding: str
    """Of one that no labc node published."""


class Declared:
    """Something that is declared to the fabric until it is closed. Closing twice is harmless."""

    def __init__(self, fabric: Fabric, thing: Any) -> None:
        self._fabric = fabric
        self._thing = thing

    async def close(self) -> None:
        thing, self._thing = self._thing, None
        if thing is not None:
            await self._fabric.undeclare(thing)


class Fabric:
    """One node's part of the fabric. All its methods are for the node's loop, unless they say otherwise."""

    def __init__(
        self,
        settings: Settings,
        here: NodeRecord,
        on_link: Callable[[bool], None],
        credentials: Credentials | None,
    ) -> None:
        self.keys = Keys(settings.network)
        self.here = here
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._worker = Worker("labc fabric")
        self._seat = Seat(settings, here, self._worker, on_link, credentials)
        self._publishing = Publishing(settings, credentials, lambda: self._session, self._loop)
        self._looks_around_until = 0.0
        self._things: set[Any] = set()
        self._declared = self._spread = 0
        """How many things were declared, and how many of them every root knows."""
        self._presence: Any = None
        self._presence_wanted = False

    @property
    def linked(self) -> bool:
        """Whether this node has a link to its host's root now."""
        return self._seat.linked

    @property
    def root_port(self) -> int | None:
        """The port on which this node is its host's root; None if another node is."""
        return self._seat.root_port

    @property
    def root_ports(self) -> tuple[int, ...]:
        """Those that this host's root may hold."""
        return self._seat.ports

    def tell_root_changes(self, changed: Callable[[], None]) -> None:
        """Call this on the loop whenever :attr:`root_port` may have changed."""
        self._seat.on_root_change = changed

    def heard(self) -> list[Heard]:
        """Which roots of other hosts were heard, by which discovery method and when, if this node is its host's root.
        From any thread."""
        return self._seat.heard()

    async def open(self) -> None:
        """Raises FabricError: no place on the fabric within 20 s or a little more."""
        await self._seat.open()
        if not await self.list_tokens(self.keys.root(self.here.host_id), LOOK_AROUND):
            self._looks_around_until = self._loop.time() + LOOK_AROUND
            self._publishing.hold_until(self._looks_around_until)

    async def close(self) -> None:
        """Leave. Takes at most 0.6 s; what is stuck by then is left to the end of the process.

        What was published while the root looked around is sent first, for which this may take half a second more.
        """
        if self._publishing.held:
            await self.looked_around()
        try:
            async with asyncio.timeout(_CLOSE_WITHIN):
                await self._publishing.close()
                await self._seat.close()
        except TimeoutError:
            logger.debug("the network engine is stuck; it is left to the end of the process")
        else:
            # Released in a forked child, later, these would wait for threads that it has not.
            self._things.clear()
            self._publishing.forget()
            self._presence = None
        finally:
            self._worker.close()

    @property
    def looks_around(self) -> bool:
        """Whether this host's root has just opened, and may not have found the other hosts yet. From any thread."""
        return self._looks_around_until > time.monotonic()  # the loop's own time takes longer

    async def looked_around(self) -> None:
        """Returns when who is in the network can be known, half a second after its host's root opened."""
        await asyncio.sleep(self._looks_around_until - self._loop.time())
        self._publishing.release()

    async def spread(self) -> None:
        """Returns when every root knows what this node has declared until now: after one round trip.

        So what is published from now on, on whatever host, reaches who subscribed here, and who looks for a function
        finds it. A root that does not answer is waited for at most a second.
        """
        if (declared := self._declared) > self._spread:
            await self._seat.wait_linked(_SPREAD_WITHIN)
            await self.ask(self.keys.roots, b"", _SPREAD_WITHIN)
            self._spread = max(self._spread, declared)

    def renew(self) -> None:
        """Whom the network trusts has changed; see :meth:`Seat.renew`."""
        self._seat.renew()

    def resumed(self) -> None:
        """The whole process was stopped for longer than the lease, and goes on."""
        self._seat.resumed()

    def abandon(self) -> None:
        """After fork, in the child: let go of everything without touching it."""
        self._seat.abandon()
        abandon([*self._seat.engine_objects(), *self._things, *self._publishing.engine_objects()])
        if self._presence is not None:
            abandon([self._presence])

    # Presence of this node.

    async def show_presence(self) -> None:
        """Declare this node's own token."""
        self._presence_wanted = True
        await self._run(self._declare_presence)

    def withdraw_presence(self) -> None:
        """Take the token away while the loop does not turn. From any thread; blocks for the engine."""
        presence, self._presence = self._presence, None
        if presence is not None:
            presence.undeclare()

    async def say_goodbye(self) -> None:
        """Tell those who watch the nodes that this one is about to leave, so that the end of its token means no loss.

        It waits for a link, if there is none, and takes 0.25 s at most. Where it fails, this node is lost to them.
        """
        with suppress(TimeoutError, ClosedError, FabricError):
            async with asyncio.timeout(_GOODBYE_WITHIN):
                await self._seat.wait_linked(_GOODBYE_WITHIN)
                await self._run(self._put_goodbye)

    def _put_goodbye(self) -> None:
        key = self.keys.goodbye(self.here.id)
        self._session.put(key, b"", priority=zenoh.Priority.REAL_TIME, express=True)

    def _declare_presence(self) -> None:
        if self._presence is None and self._presence_wanted:
            self._presence = self._session.liveliness().declare_token(self.keys.node(self.here))

    # Tokens.

    async def declare_token(self, key: str) -> Declared:
        return await self._declare(lambda: self._session.liveliness().declare_token(key))

    async def watch_tokens(self, key: str, consume: Callable[[list[TokenEvent]], None]) -> Declared:
        """Tell ``consume``, on the loop, of each token that matches: those that are there now, then each change."""
        inbox = Handover[TokenEvent](self._loop, consume)
        handler = callback(lambda s: inbox.put(TokenEvent(str(s.key_expr), s.kind == zenoh.SampleKind.PUT)))
        return await self._declare(lambda: self._session.liveliness().declare_subscriber(key, handler, history=True))

    async def list_tokens(self, key: str, timeout: float) -> set[str]:
        """The keys of all tokens that match now. With no link to a root, only this node's own."""
        replies: list[Any] = []
        await self._collect(
            lambda handler: self._session.liveliness().get(key, handler, timeout=min(timeout, _LONGEST)),
            replies.append,
            timeout,
        )
        return {str(reply.ok.key_expr) for reply in replies if reply.ok is not None}

    # Questions.

    async def ask(self, key: str, question: bytes, timeout: float) -> list[bytes]:
        """The answers of all nodes whose questions' key matches. A node that dies meanwhile answers nothing."""
        answers: list[bytes] = []
        await self.ask_each(key, question, timeout, answers.extend)
        return answers

    async def ask_each(self, key: str, question: bytes, timeout: float, consume: Callable[[list[bytes]], None]) -> None:
        """The same, with ``consume`` told on the loop of the answers as they come; returns when there are no more."""
        inbox = Handover[Any](
            self._loop, lambda replies: consume([r.ok.payload.to_bytes() for r in replies if r.ok is not None])
        )
        await self._collect(
            lambda handler: self._session.get(
                key,
                handler,
                payload=question,
                timeout=min(timeout, _LONGEST),
                target=zenoh.QueryTarget.ALL,
                consolidation=zenoh.ConsolidationMode.NONE,
            ),
            inbox.put,
            timeout,
        )

    async def answer(self, key: str, respond: Respond) -> Declared:
        """Answer questions to this key with ``respond(question)``: one answer, or several."""
        tasks: set[asyncio.Task[None]] = set()

        def consume(queries: list[Any]) -> None:
            for query in queries:
                task = self._loop.create_task(self._answer_one(query, key, respond))
                tasks.add(task)
                task.add_done_callback(tasks.discard)

        inbox = Handover[Any](self._loop, consume, limit=1000)
        return await self._declare(lambda: self._session.declare_queryable(key, callback(inbox.put), complete=True))

    async def _answer_one(self, query: Any, key: str, respond: Respond) -> None:
        question = query.payload.to_bytes() if query.payload is not None else b""
        answers: Sequence[bytes] = ()
        try:
            answer = await respond(question)
            answers = (answer,) if isinstance(answer, bytes) else answer
        except Exception:
            logger.exception("a question of another node can't be answered")

        def reply() -> None:
            try:
                for each in answers:
                    query.reply(key, each)
            finally:
                query.drop()  # or the asker waits for more

        with suppress(ClosedError, FabricError):
            await self._run(reply)

    # Publications.

    def wait_for_room(self, size: int) -> None:
        """What :meth:`publish` does first, for a payload of so many bytes."""
        self._publishing.wait_for_room(size)

    def publish(
        self,
        key: str,
        payload: bytes,
        attachment: bytes | None = None,
        encoding: str = MSGPACK,
        *,
        may_wait: bool = True,
    ) -> None:
        """Publish in order for each key. From any thread.

        What is small is dropped by the engine under congestion. What is large waits in a queue, see
        :mod:`labc.fabric.bulk`; for room in this a thread waits 0.1 s at most, the node's loop not at all.
        While this host's root looks around, all waits. ``may_wait=False``: it has waited, or must not.

        Raises:
            OverloadedError: too much waits already.
        """
        self._publishing.publish(key, payload, attachment, encoding, may_wait=may_wait)

    def publish_reliably(self, key: str, payload: bytes) -> None:
        """Publish in order, waiting for room under congestion, without blocking. The caller bounds how much."""
        self._publishing.publish_reliably(key, payload)

    @property
    def dropped(self) -> int:
        """Large messages that were dropped here because the network takes no more."""
        return self._publishing.dropped

    async def subscribe(
        self,
        key: str,
        consume: Callable[[list[Publication]], None],
        limit: int,
        count: Callable[[bytes | None], int] = lambda _: 1,
    ) -> tuple[Declared, Callable[[], int]]:
        """Tell ``consume``, on the loop, what is published; the second value counts what was dropped before it.

        ``count`` tells how many messages there are in a publication with this attachment.
        """
        inbox = Handover[Any](
            self._loop,
            lambda samples: consume([_publication(s) for s in samples]),
            limit,
            lambda sample: count(_attachment(sample)),
        )
        declared = await self._declare(lambda: self._session.declare_subscriber(key, callback(inbox.put)))
        return declared, lambda: inbox.dropped

    # The engine.

    @property
    def _session(self) -> zenoh.Session:
        if self._seat.session is None:
            raise ClosedError("the node is not running")
        return self._seat.session

    async def _run(self, job: Callable[[], T]) -> T:
        """A call to the engine, off the loop. Raises FabricError."""
        try:
            return await self._worker.run(job)
        except zenoh.ZError as error:
            raise FabricError(f"the network engine refused: {error}") from error

    async def _declare(self, declare: Callable[[], Any]) -> Declared:
        thing = await self._run(declare)
        self._declared += 1
        self._things.add(thing)
        return Declared(self, thing)

    async def undeclare(self, thing: Any) -> None:
        self._things.discard(thing)
        await self._run(thing.undeclare)

    async def _collect(self, get: Callable[[Any], None], take: Callable[[Any], None], timeout: float) -> None:
        """All replies of one ``get``, each told to ``take`` on the engine's thread; they end when the engine drops the
        handler."""
        done: asyncio.Future[None] = self._loop.create_future()

        def finish() -> None:
            if not done.done():
                done.set_result(None)

        def finished() -> None:
            try:
                self._loop.call_soon_threadsafe(finish)
            except RuntimeError:  # the loop is closed
                pass

        await self._run(lambda: get(callback(take, finished)))
        try:
            async with asyncio.timeout(timeout + 0.5):
                await done
        except TimeoutError:
            pass


def _publication(sample: Any) -> Publication:
    attachment = _attachment(sample)
    encoding = str(sample.encoding) if attachment is None else ""
    return Publication(str(sample.key_expr), sample.payload.to_bytes(), attachment, encoding)


def _attachment(sample: Any) -> bytes | None:
    attachment = sample.attachment
    return None if attachment is None else attachment.to_bytes()


def new_id() -> str:
    """An id that no other node, lane or life of one will have."""
    return os.urandom(8).hex()
