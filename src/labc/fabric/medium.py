"""What carries tokens, questions and publications: the fabric of a site, or the way over a router to other sites.

No Zenoh type leaves this room.
"""

from __future__ import annotations

import asyncio
import logging
import os
from abc import abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

import zenoh

from labc.directory import NodeRecord
from labc.errors import ClosedError, FabricError
from labc.fabric.engine import abandon, callback
from labc.fabric.handover import Handover
from labc.fabric.keys import Keys
from labc.fabric.publishing import MSGPACK, Publishing
from labc.fabric.worker import Worker

logger = logging.getLogger("labc.fabric")

T = TypeVar("T")

Respond = Callable[[bytes], Coroutine[Any, Any, bytes | Sequence[bytes]]]
Declare = Callable[[zenoh.Session], Any]
Get = Callable[[zenoh.Session, Any], Any]

CLOSE_WITHIN = 0.6
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

    def __init__(self, medium: Medium, thing: Any) -> None:
        self._medium = medium
        self._thing = thing
        self.closed = False

    @property
    def is_there(self) -> bool:
        return self._thing is not None

    def lose(self) -> None:
        """Its session was closed."""
        self._thing = None

    async def give(self, thing: Any) -> None:
        """It waited to be declared, and is by now."""
        self._thing = thing
        if self.closed:
            await self.close()

    async def close(self) -> None:
        self.closed = True
        thing, self._thing = self._thing, None
        if thing is not None:
            await self._medium.undeclare(thing)


class Medium:
    """One node's part of it. All its methods are for the node's loop, unless they say otherwise.

    ``open_link`` opens one more session of the same kind, for what is large.
    """

    def __init__(self, here: NodeRecord, keys: Keys, worker: Worker, open_link: Callable[[], zenoh.Session]) -> None:
        self.keys = keys
        self.here = here
        self._loop = asyncio.get_running_loop()
        self._worker = worker
        self._publishing = Publishing(open_link, lambda: self._session, self._loop)
        self._things: set[Any] = set()
        self._declared = self._spread = 0
        """How many things were declared, and how many of them all know."""
        self._presence: Any = None
        self._presence_wanted = False

    @property
    @abstractmethod
    def linked(self) -> bool:
        """Whether there is a link now."""

    @property
    @abstractmethod
    def session(self) -> zenoh.Session | None:
        """None: there is none yet, or no more."""

    async def leave(self, close_place: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Close everything. Takes at most 0.6 s; what is stuck by then is left to the end of the process."""
        try:
            async with asyncio.timeout(CLOSE_WITHIN):
                await self._publishing.close()
                await close_place()
        except TimeoutError:
            logger.debug("the network engine is stuck; it is left to the end of the process")
        else:
            # Released in a forked child, later, these would wait for threads that it has not.
            self._things.clear()
            self._publishing.forget()
            self._presence = None
        finally:
            self._worker.close()

    def abandon_things(self, engine_objects: list[Any]) -> None:
        """After fork, in the child: let go of everything without touching it."""
        abandon([*engine_objects, *self._things, *self._publishing.engine_objects()])
        if self._presence is not None:
            abandon([self._presence])

    # Presence of this node.

    async def show_presence(self) -> None:
        """Declare this node's own token."""
        self._presence_wanted = True
        session = self._session
        await self._run(lambda: self._declare_presence(session))

    def withdraw_presence(self) -> None:
        """Take the token away while the loop does not turn. From any thread; blocks for the engine."""
        presence, self._presence = self._presence, None
        if presence is not None:
            presence.undeclare()

    async def _put_goodbye(self) -> None:
        session, key = self._session, self.keys.goodbye(self.here.id)
        await self._run(lambda: session.put(key, b"", priority=zenoh.Priority.REAL_TIME, express=True))

    def _declare_presence(self, session: zenoh.Session) -> None:
        if self._presence is None and self._presence_wanted:
            self._presence = session.liveliness().declare_token(self.keys.node(self.here))

    # Tokens.

    async def declare_token(self, key: str) -> Declared:
        return await self._declare(lambda session: session.liveliness().declare_token(key))

    async def watch_tokens(self, key: str, consume: Callable[[list[TokenEvent]], None]) -> Declared:
        """Tell ``consume``, on the loop, of each token that matches: those that are there now, then each change."""
        inbox = Handover[TokenEvent](self._loop, consume)
        handler = callback(lambda s: inbox.put(TokenEvent(str(s.key_expr), s.kind == zenoh.SampleKind.PUT)))
        return await self._declare(lambda session: session.liveliness().declare_subscriber(key, handler, history=True))

    async def list_tokens(self, key: str, timeout: float) -> set[str]:
        """The keys of all tokens that match now, but for some of those that this node watches, or has declared. With no
        link to a root, only these.

        The engine tells of them in the thread that asks, and of the others and the end in another, which does not wait
        (Zenoh 1.10.2, ``Face::interest``). What others tell in answer is complete, and comes in order behind what was
        told of a watch that began before.
        """
        replies: list[Any] = []
        await self._collect(
            lambda session, handler: session.liveliness().get(key, handler, timeout=min(timeout, _LONGEST)),
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
            lambda session, handler: session.get(
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
        return await self._declare(lambda session: session.declare_queryable(key, callback(inbox.put), complete=True))

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
        declared = await self._declare(lambda session: session.declare_subscriber(key, callback(inbox.put)))
        return declared, lambda: inbox.dropped

    # The engine.

    @property
    def _session(self) -> zenoh.Session:
        session = self.session
        if session is None:
            raise ClosedError("the node is not running")
        return session

    async def _run(self, job: Callable[[], T]) -> T:
        """A call to the engine, off the loop. Raises FabricError."""
        try:
            return await self._worker.run(job)
        except zenoh.ZError as error:
            raise FabricError(f"the network engine refused: {error}") from error

    async def _declare(self, declare: Declare) -> Declared:
        return Declared(self, await self._new_thing(self._session, declare))

    async def _new_thing(self, session: zenoh.Session, declare: Declare) -> Any:
        thing = await self._run(lambda: declare(session))
        self._declared += 1
        self._things.add(thing)
        return thing

    async def undeclare(self, thing: Any) -> None:
        self._things.discard(thing)
        await self._run(thing.undeclare)

    async def _collect(self, get: Get, take: Callable[[Any], None], timeout: float) -> None:
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

        session = self._session
        await self._run(lambda: get(session, callback(take, finished)))
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
