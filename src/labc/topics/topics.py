"""Topics of one node: what it publishes, and what is handed to its subscriptions."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from labc.directory import NodeRecord, Who, is_narrow, matches, reaches
from labc.errors import CallTimeoutError, CarryError, ClosedError, LabcError, NotFoundError, PeerLostError, RefusedError
from labc.fabric import Declared, Fabric, Publication, TokenEvent
from labc.settings import Settings
from labc.topics.asking import ask_for_last, forget_everywhere
from labc.topics.gathering import SMALL, Gathered, Gathering
from labc.topics.keeping import Give, Keeping
from labc.topics.message import BATCH, Message, Sender, count, is_time, pack, pack_many, unpack
from labc.topics.nearby import Near, Nearby
from labc.topics.recalling import HELD_AGAIN, Feed, Recalling
from labc.topics.retained import Kept
from labc.topics.stream import Inflow
from labc.topics.subscription import Delivery, Subscription
from labc.topics.telling import Telling, Told
from labc.wire import Body, decode_arguments, encode_arguments

logger = logging.getLogger("labc.topics")

_KNOWN_WITHIN = 5.0
"""Seconds to wait for who holds publishers back: a publisher that does not know it yet would lose messages."""

_TOLD_WITHIN = 0.2
"""How long what was published last may take to reach those who are named, or near, when this node leaves."""

Sink = Delivery | Inflow

Deliver = Callable[[str, Sequence[Any]], Awaitable[Any]]
"""``await deliver(node_id, arguments)`` calls :meth:`Topics.take_held` of another node."""


_NOBODY_KNOWS = Who()
"""Of whom a message is that came over the fabric: what it says of its sender is only what he says."""

_RECALLED_WITHIN = 0.5
"""Seconds that a reader of messages waits for the values that are retained."""


class Published(NamedTuple):
    """A message that has to be waited for: give it to :meth:`Topics.publish_rest`."""

    holders: list[str]
    """The ids of the nodes with subscribers that hold the publishers of this topic back."""
    seconds: float
    retain: bool


@dataclass(slots=True)
class _Pattern:
    """One subscription of the engine, shared by all that take the same pattern."""

    sinks: list[Sink] = field(default_factory=list)
    declared: Declared | None = None
    dropped_before: Callable[[], int] = lambda: 0


class Topics:
    """``tell`` gives messages to :meth:`take_told` of another node, ``ask`` returns what its :meth:`Nearby.for_node`
    tells. ``prepare`` is called in whatever runs a handler, before it runs; ``in_thread`` runs plain functions.
    ``check_publish(topic, who)`` raises RefusedError for who may not publish here; None: everybody may."""

    def __init__(
        self,
        here: NodeRecord,
        settings: Settings,
        fabric: Fabric,
        deliver: Deliver,
        tell: Callable[[str, Sequence[Told]], Awaitable[None]],
        ask: Callable[[str], Awaitable[Sequence[tuple[str, bool]]]],
        prepare: Callable[[], object],
        in_thread: Callable[..., Any],
        check_publish: Callable[[str, Who | None], None] | None,
    ) -> None:
        self._here = here
        self._sender = Sender(here.host, here.name, here.id)
        self._telling = Telling(tell, here.id, lambda told: self.take_told(here, told, None))
        self.nearby = Nearby(here, fabric, ask, settings.presence_grace)
        self._settings = settings
        self._fabric = fabric
        self._deliver = deliver
        self._prepare = prepare
        self._in_thread = in_thread
        self._check_publish = check_publish
        self._patterns: dict[str, _Pattern] = {}
        self._held: dict[int, Delivery] = {}
        self._holds: dict[str, Declared] = {}
        """The token of each topic or pattern for which publishers are held back here."""
        self._holders: frozenset[tuple[str, str]] = frozenset()
        self._leaving_holders: dict[tuple[str, str], asyncio.TimerHandle] = {}
        self._deliveries: dict[int, Delivery] = {}
        self._near_inflows: set[Inflow] = set()
        self._lock = asyncio.Lock()
        self._closed = asyncio.Event()
        self._gathering = Gathering(asyncio.get_running_loop(), self._send)
        self.keeping = Keeping(here, settings, fabric)
        self._recalling = Recalling(fabric)
        self.published = 0
        self.undecodable = 0
        self.refused = 0
        """Messages of those who may not publish them."""

    async def open(self) -> None:
        """From here on know which subscribers hold publishers back."""
        keys = self._fabric.keys
        await self._fabric.watch_tokens(keys.all_takers, self._taker_tokens)
        await self._fabric.list_tokens(keys.all_takers, _KNOWN_WITHIN)
        await self.keeping.open()

    async def close(self, give: Give) -> None:
        """``give``: see :meth:`Keeping.close`."""
        self._closed.set()
        self._recalling.close()
        with suppress(LabcError):
            self._gathering.close()
        await self._telling.close(_TOLD_WITHIN)
        self.nearby.close()
        for timer in self._leaving_holders.values():
            timer.cancel()
        await asyncio.gather(self.keeping.close(give), *(delivery.close() for delivery in self._deliveries.values()))
        for pattern in self._patterns.values():
            for sink in pattern.sinks:
                if isinstance(sink, Inflow):
                    sink.finish()
        for sink in self._near_inflows:
            sink.finish()

    @property
    def untold(self) -> int:
        """Messages for nodes that are named or near that these did not get."""
        return self._telling.dropped

    # Publishing.

    def publish_now(
        self, topic: str, args: Sequence[Any], kwargs: Mapping[str, Any], retain: bool = False
    ) -> Published | None:
        """Publish to those who take what comes. From any thread.

        Returns:
            What has to be waited for, if anything has.
        """
        key, body, seconds = self._fabric.keys.topic(topic), encode_arguments(args, kwargs), time.time()
        if retain:
            seconds = self._publish_retained(topic, key, body)
        elif body.buffers or len(body.head) > SMALL:
            self._gathering.flush(key)
            self._fabric.publish(key, *pack(self._sender, seconds, body))
        else:
            self._gathering.put(key, body.head, seconds)
        self.published += 1
        if self.nearby and (takers := self.nearby.takers(topic)):
            self._put_told(takers, Told(True, topic, *pack(self._sender, seconds, body)))
        holders = self.holders(topic)
        waits = retain and self.keeping.must_wait()
        return Published(holders, seconds, retain) if holders or waits else None

    def _publish_retained(self, topic: str, key: str, body: Body) -> float:
        self._gathering.flush(key)
        self._fabric.wait_for_room(len(body.head) + sum(buffer.nbytes for buffer in body.buffers))
        with self.keeping.turn() as seconds:  # in which nobody waits, as the loop needs its turn, too
            payload, attachment = pack(self._sender, seconds, body, retain=True)
            self.keeping.keep(Kept(topic, seconds, payload, attachment))
            self._fabric.publish(key, payload, attachment, may_wait=False)
        return seconds

    def publish_to(
        self, node_ids: Collection[str], topic: str, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Published | None:
        """The same for these nodes alone, past the fabric."""
        body, seconds = encode_arguments(args, kwargs), time.time()
        self._put_told(node_ids, Told(False, topic, *pack(self._sender, seconds, body)))
        self.published += 1
        holders = [node_id for node_id in self.holders(topic) if node_id in node_ids]
        return Published(holders, seconds, False) if holders else None

    def _put_told(self, node_ids: Collection[str], told: Told) -> None:
        unasked = self.nearby.unknown.intersection(node_ids)
        if known := [node_id for node_id in node_ids if node_id not in unasked]:
            self._telling.put(known, told)
        if unasked:
            self._telling.put(unasked, told._replace(unasked=True))

    def holders(self, topic: str) -> list[str]:
        """The ids of the nodes with subscribers that hold the publishers of this topic back. From any thread."""
        if not self._holders and not self.nearby:
            return []
        wide = {node_id for node_id, pattern in self._holders if matches(pattern, topic)}
        return sorted(wide.union(self.nearby.holders(topic)))

    def take_told(self, sender: NodeRecord, told: Sequence[Told], who: Who | None) -> None:
        """Messages that another node, or this one, gives to this one alone."""
        for wide, topic, payload, attachment, unasked in told:
            if not self._takes(topic, who):
                continue
            sinks: list[Sink] = [near.sink for near in self.nearby.own(topic, sender) if unasked or not near.holds]
            if not wide:
                sinks += [sink for name, p in self._patterns.items() if matches(name, topic) for sink in p.sinks]
            self._put(sinks, topic, payload, attachment, "")

    def _send(self, key: str, gathered: Gathered) -> None:
        if len(gathered) == 1:
            head, seconds = gathered[0]
            self._fabric.publish(key, *pack(self._sender, seconds, Body(head)))
        else:
            self._fabric.publish(key, *pack_many(self._sender, gathered), BATCH)

    async def publish_rest(
        self, published: Published, topic: str, args: Sequence[Any], kwargs: Mapping[str, Any], timeout: float
    ) -> None:
        """Publish to subscribers that hold publishers back; returns when all of them have taken it, and the root keeps
        what it shall keep.

        A subscriber that is lost is not waited for.

        Raises:
            CallTimeoutError: not all have taken it within ``timeout`` seconds.
        """
        if published.retain:
            await self.keeping.kept(topic)
        message = [topic, list(args), dict(kwargs), published.seconds, published.retain]
        deliveries = asyncio.gather(
            *(self._deliver_held(node_id, message) for node_id in published.holders), return_exceptions=True
        )
        try:
            async with asyncio.timeout(timeout):
                results = await deliveries
        except TimeoutError:
            raise CallTimeoutError(topic, timeout, where="a subscriber that holds publishers back") from None
        for error in results:
            if isinstance(error, BaseException) and not isinstance(error, PeerLostError):
                raise error

    async def take_held(
        self,
        caller: NodeRecord,
        sender: Sender,
        topic: str,
        args: Any,
        kwargs: Any,
        seconds: float,
        retain: bool = False,
        who: Who | None = None,
    ) -> None:
        """A message from a publisher who waits until there is room for it. ``caller``: who it is, as far as that can
        be believed.

        Raises:
            CarryError: it is not what :meth:`publish_rest` sends.
            RefusedError: he may not publish it.
        """
        self._check(topic, who)
        if not isinstance(seconds, float) or not is_time(seconds):
            raise CarryError(f"a message on {topic!r}", f"published at {seconds!r} seconds since 1970")
        takers = [
            d
            for d in self._held.values()
            if matches(d.subscription.topic, topic) and reaches(d.subscription.scope, self._here, caller)
        ]
        for number, delivery in enumerate(takers):
            if number:  # no handler sees what another one does to its arguments
                args, kwargs = _copied(args, kwargs)
            message = Message(topic, tuple(args), dict(kwargs), sender, seconds)
            if (feed := self._recalling.feed(delivery)) is None or feed.live([message], retain):
                await delivery.put_when_room(message)

    async def _deliver_held(self, node_id: str, message: list[Any]) -> None:
        if node_id == self._sender.node_id:
            topic, args, kwargs, seconds, retain = message
            await self.take_held(self._here, self._sender, topic, *_copied(args, kwargs), seconds, retain)
        else:
            await self._deliver(node_id, message)

    # Subscribing.

    async def add(self, subscription: Subscription[..., Any]) -> None:
        """In effect everywhere when :meth:`Fabric.spread` returns after it."""
        queue_size = subscription.queue_size or self._settings.queue_size
        delivery = Delivery(subscription, queue_size, self._prepare, self._in_thread)
        self._deliveries[id(subscription)] = delivery
        holds = (subscription.when_full or self._settings.when_full) == "hold"
        if holds:
            self._held[id(subscription)] = delivery
        if is_narrow(subscription.scope):
            await self.nearby.add(Near(subscription.topic, subscription.scope, holds, delivery))
        elif holds:
            if (topic := subscription.topic) not in self._holds:
                key = self._fabric.keys.hold(self._sender.node_id, topic)
                self._holds[topic] = await self._fabric.declare_token(key)
            self._recall(topic, delivery, again=HELD_AGAIN)
        else:
            await self._attach(subscription.topic, delivery)

    async def remove(self, subscription: Subscription[..., Any]) -> None:
        delivery = self._deliveries.pop(id(subscription), None)
        if delivery is None:
            return
        self._recalling.end(delivery)
        held = self._held.pop(id(subscription), None) is not None
        if is_narrow(subscription.scope):
            await self.nearby.remove(delivery)
        elif held:
            wide = [d for d in self._held.values() if not is_narrow(d.subscription.scope)]
            if not any(d.subscription.topic == subscription.topic for d in wide):
                await self._holds.pop(subscription.topic).close()
        else:
            await self._detach(subscription.topic, delivery)
        delivery.finish()

    async def attach_messages(self, messages: Inflow) -> None:
        if is_narrow(messages.scope):
            self._near_inflows.add(messages)
            await self.nearby.add(Near(messages.pattern, messages.scope, False, messages))
        else:
            await self._attach(messages.pattern, messages)
        await self._fabric.spread()
        await self._recalling.recalled(messages, _RECALLED_WITHIN)

    async def detach_messages(self, messages: Inflow) -> None:
        if is_narrow(messages.scope):
            self._near_inflows.discard(messages)
            await self.nearby.remove(messages)
        else:
            await self._detach(messages.pattern, messages)

    def statistics(self) -> list[dict[str, Any]]:
        """Of each subscription: its topic, and how many messages wait, were handled, failed, and so on."""
        return [
            {
                "topic": delivery.subscription.topic,
                "scope": delivery.subscription.scope,
                "handler": delivery.subscription.__name__,
                "waiting": len(delivery.queue),
                "handled": delivery.handled,
                "failed": delivery.failed,
                "dropped": delivery.queue.dropped + self._dropped_before(delivery.subscription.topic),
                "held_back": delivery.held_back,
            }
            for delivery in self._deliveries.values()
        ]

    def _dropped_before(self, topic: str) -> int:
        pattern = self._patterns.get(topic)
        return pattern.dropped_before() if pattern else 0

    async def _attach(self, topic: str, sink: Sink) -> None:
        async with self._lock:
            if self._closed.is_set():
                raise ClosedError("the node is closed")
            pattern = self._patterns.setdefault(topic, _Pattern())
            pattern.sinks.append(sink)
            if pattern.declared is None:
                key = self._fabric.keys.topic(topic)
                limit = max(self._settings.queue_size, 1000) * 10
                pattern.declared, pattern.dropped_before = await self._fabric.subscribe(
                    key, lambda publications: self._arrived(pattern, publications), limit, count
                )
            self._recall(topic, sink)
            if self._closed.is_set() and isinstance(sink, Inflow):
                sink.finish()

    async def _detach(self, topic: str, sink: Sink) -> None:
        async with self._lock:
            self._recalling.end(sink)
            pattern = self._patterns.get(topic)
            if pattern is None or sink not in pattern.sinks:
                return
            pattern.sinks.remove(sink)
            if not pattern.sinks:
                del self._patterns[topic]
                if pattern.declared is not None:
                    await pattern.declared.close()

    def _recall(self, pattern: str, sink: Delivery | Inflow, again: float | None = None) -> None:
        """From here on give it what is retained."""
        self._recalling.begin(sink, Feed(pattern, sink, self._not_understood, self._takes_kept), again=again)

    # Retained values.

    async def last(self, topic: str, timeout: float | None) -> Message:
        """The retained value of the topic. Raises NotFoundError, or RefusedError: it may be from anybody."""
        self._check(topic, _NOBODY_KNOWS)
        await self._fabric.looked_around()
        kept = await ask_for_last(self._fabric, self.keeping, topic, timeout)
        if kept is not None:
            messages, errors, _ = unpack(topic, kept.payload, kept.attachment, "")
            for error in errors:
                raise error
            if messages:
                return msgspec.structs.replace(messages[0], retained=True)
        raise NotFoundError(topic, kind="value")

    async def forget(self, topic: str, timeout: float | None) -> None:
        """Have nobody keep the value of the topic any longer."""
        await self._fabric.looked_around()
        await forget_everywhere(self._fabric, self.keeping, topic, timeout)

    # Arriving.

    def _arrived(self, pattern: _Pattern, publications: list[Publication]) -> None:
        for publication in publications:
            topic = self._fabric.keys.parse_topic(publication.key)
            if not self._takes(topic, _NOBODY_KNOWS):
                continue
            self._put(pattern.sinks, topic, publication.payload, publication.attachment, publication.encoding)

    def _put(self, sinks: Sequence[Sink], topic: str, payload: bytes, attachment: bytes | None, encoding: str) -> None:
        errors: Sequence[CarryError] = ()
        for sink in sinks:  # each with objects of its own
            messages, errors, retain = unpack(topic, payload, attachment, encoding)
            feed = self._recalling.feed(sink)
            sink.put(*(feed.live(messages, retain) if feed else messages))
        for error in errors:
            self._not_understood(topic, error)

    def _takes(self, topic: str, who: Who | None) -> bool:
        """Whether a message of his may come in here."""
        try:
            self._check(topic, who)
        except RefusedError:
            return False
        return True

    def _check(self, topic: str, who: Who | None) -> None:
        if self._check_publish is not None:
            try:
                self._check_publish(topic, who)
            except RefusedError:
                self.refused += 1
                raise

    def _takes_kept(self, topic: str) -> bool:
        """The same of a value that is retained: it came over the fabric, where nobody knows from whom."""
        return self._takes(topic, _NOBODY_KNOWS)

    def _not_understood(self, topic: str, error: CarryError) -> None:
        self.undecodable += 1
        logger.warning("a message on %r can't be understood: %s", topic, error)

    def _taker_tokens(self, events: list[TokenEvent]) -> None:
        for event in events:
            self.nearby.token(event)
            if (holder := self._fabric.keys.parse_hold(event.key)) is None:
                continue
            if timer := self._leaving_holders.pop(holder, None):
                timer.cancel()
            if event.appeared:
                self._holders |= {holder}
            else:
                self._forget_later(holder)

    def _forget_later(self, holder: tuple[str, str]) -> None:
        """A change of root takes the token away for a moment; a message to one that is gone does no harm."""
        loop = asyncio.get_running_loop()
        self._leaving_holders[holder] = loop.call_later(self._settings.presence_grace, self._forget, holder)

    def _forget(self, holder: tuple[str, str]) -> None:
        if self._fabric.linked:
            del self._leaving_holders[holder]
            self._holders -= {holder}
        else:
            self._forget_later(holder)


def _copied(args: Any, kwargs: Any) -> tuple[Any, Any]:
    """As they would be at another node."""
    body = encode_arguments(args, kwargs)
    return decode_arguments(body.head, [memoryview(bytes(buffer)) for buffer in body.buffers])
