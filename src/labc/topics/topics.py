"""Topics of one node: what it publishes, and what is handed to its subscriptions."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec

from labc.directory import DEFAULT, NodeRecord, Scope, Who, is_narrow, matches, reaches
from labc.errors import CallTimeoutError, CarryError, ClosedError, LabcError, NotFoundError, PeerLostError, RefusedError
from labc.fabric import Fabric, Medium, Publication, TokenEvent, Wide
from labc.settings import Settings
from labc.topics.asking import ask_for_last, forget_everywhere
from labc.topics.gathering import SMALL, Gathered, Gathering
from labc.topics.holders import Holders
from labc.topics.keeping import Give, Keeping
from labc.topics.message import BATCH, Message, Sender, identity, is_time, pack, pack_many, unpack
from labc.topics.nearby import Near, Nearby
from labc.topics.patterns import Patterns, Sink, scope_of
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


class Topics:
    """``tell`` gives messages to :meth:`take_told` of another node, ``ask`` returns what its :meth:`Nearby.for_node`
    tells. ``prepare`` is called in whatever runs a handler, before it runs; ``in_thread`` runs plain functions.
    ``check_publish(topic, who)`` raises RefusedError for who may not publish here; None: everybody may.

    ``wide`` is the way to other sites, and ``on_wide_change`` is called when what is subscribed for them changes."""

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
        wide: Wide | None = None,
        is_of_this_site: Callable[[str], bool] = lambda _: True,
        on_wide_change: Callable[[], None] = lambda: None,
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
        limit, grace = max(settings.queue_size, 1000) * 10, settings.presence_grace
        self._patterns = Patterns(fabric, limit, self._arrived)
        self._holders = Holders(fabric, here.id, grace)
        self._wide = wide
        self._wide_patterns = Patterns(wide, limit, self._arrived_from_away) if wide else None
        self._wide_holders = Holders(wide, here.id, grace) if wide else None
        self._is_of_this_site = is_of_this_site
        self._on_wide_change = on_wide_change
        self._held: dict[int, Delivery] = {}
        self._deliveries: dict[int, Delivery] = {}
        self._near_inflows: set[Inflow] = set()
        self._lock = asyncio.Lock()
        self._closed = asyncio.Event()
        self._gathering = Gathering(asyncio.get_running_loop(), self._send)
        self.keeping = Keeping(here, settings, fabric)
        self._recalling = Recalling(fabric)
        self._numbers = itertools.count(1)
        """Of what goes over the fabric and to other sites: it might come twice."""
        self.published = 0
        self.undecodable = 0
        self.refused = 0
        """Messages of those who may not publish them."""

    async def open(self) -> None:
        """From here on know which subscribers hold publishers back."""
        keys = self._fabric.keys
        await self._fabric.watch_tokens(keys.all_takers, self._taker_tokens)
        if self._wide and self._wide_holders:
            await self._wide.watch_tokens(self._wide.keys.all_takers, self._wide_holders.tokens)
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
        for holders in filter(None, (self._holders, self._wide_holders)):
            holders.close()
        await asyncio.gather(self.keeping.close(give), *(delivery.close() for delivery in self._deliveries.values()))
        for sink in (*self._patterns, *self._near_inflows):
            if isinstance(sink, Inflow):
                sink.finish()

    @property
    def untold(self) -> int:
        """Messages for nodes that are named or near that these did not get."""
        return self._telling.dropped

    # Publishing.

    @property
    def is_wide(self) -> bool:
        """Whether anything is subscribed for other sites."""
        deliveries = any(delivery.subscription.scope == "wan" for delivery in self._deliveries.values())
        return deliveries or any(scope_of(sink) == "wan" for sink in self._patterns)

    def publish_now(
        self,
        topic: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        retain: bool = False,
        scope: Scope = DEFAULT,
    ) -> Published | None:
        """Publish to those who take what comes; with the scope "wan" also at other sites. From any thread.

        Returns:
            What has to be waited for, if anything has.
        """
        body, seconds = encode_arguments(args, kwargs), time.time()
        if retain:
            seconds = self._publish_retained(topic, body)
        else:
            self._publish(self._fabric, topic, body, seconds)
            if scope == "wan" and self._wide:
                self._publish(self._wide, topic, body, seconds)
        self.published += 1
        if self.nearby and (takers := self.nearby.takers(topic)):
            self._put_told(takers, Told(True, topic, *pack(self._sender, seconds, body)))
        holders = self.holders(topic, scope)
        waits = retain and self.keeping.must_wait()
        return Published(holders, seconds, retain) if holders or waits else None

    def _publish(self, medium: Medium, topic: str, body: Body, seconds: float) -> None:
        key = medium.keys.topic(topic)
        if body.buffers or len(body.head) > SMALL:
            self._gathering.flush(key)
            medium.publish(key, *pack(self._sender, seconds, body, number=next(self._numbers)))
        else:
            self._gathering.put(key, body.head, seconds)

    def _publish_retained(self, topic: str, body: Body) -> float:
        key = self._fabric.keys.topic(topic)
        self._gathering.flush(key)
        self._fabric.wait_for_room(len(body.head) + sum(buffer.nbytes for buffer in body.buffers))
        with self.keeping.turn() as seconds:  # in which nobody waits, as the loop needs its turn, too
            payload, attachment = pack(self._sender, seconds, body, retain=True, number=next(self._numbers))
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
        holders = [node_id for node_id in self.holders(topic, "wan") if node_id in node_ids]
        return Published(holders, seconds, False) if holders else None

    def _put_told(self, node_ids: Collection[str], told: Told) -> None:
        unasked = self.nearby.unknown.intersection(node_ids)
        if known := [node_id for node_id in node_ids if node_id not in unasked]:
            self._telling.put(known, told)
        if unasked:
            self._telling.put(unasked, told._replace(unasked=True))

    def holders(self, topic: str, scope: Scope = DEFAULT) -> list[str]:
        """The ids of the nodes with subscribers that hold the publishers of this topic back. From any thread."""
        away = self._wide_holders if scope == "wan" else None
        if self._holders.none and not self.nearby and (away is None or away.none):
            return []
        return sorted(self._holders.of(topic).union(self.nearby.holders(topic), away.of(topic) if away else ()))

    def take_told(self, sender: NodeRecord, told: Sequence[Told], who: Who | None) -> None:
        """Messages that another node, or this one, gives to this one alone."""
        for wide, topic, payload, attachment, unasked in told:
            if not self._takes(topic, who):
                continue
            sinks: list[Sink] = [near.sink for near in self.nearby.own(topic, sender) if unasked or not near.holds]
            if not wide:
                taking = self._patterns.taking(topic)
                sinks += [sink for sink in taking if scope_of(sink) == "wan" or not sender.away]
            self._put(sinks, topic, payload, attachment, "")

    def _send(self, key: str, gathered: Gathered) -> None:
        medium = self._wide if self._wide and key.startswith(f"{self._wide.keys.base}/") else self._fabric
        number = next(self._numbers)
        if len(gathered) == 1:
            head, seconds = gathered[0]
            medium.publish(key, *pack(self._sender, seconds, Body(head), number=number))
        else:
            medium.publish(key, *pack_many(self._sender, gathered, number), BATCH)

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
            await self._holders.add(subscription.topic)
            if subscription.scope == "wan" and self._wide_holders:
                await self._wide_holders.add(subscription.topic)
            self._recall(subscription.topic, delivery, again=HELD_AGAIN)
        else:
            await self._attach(subscription.topic, delivery)
        self._on_wide_change()

    async def remove(self, subscription: Subscription[..., Any]) -> None:
        delivery = self._deliveries.pop(id(subscription), None)
        if delivery is None:
            return
        self._recalling.end(delivery)
        held = self._held.pop(id(subscription), None) is not None
        if is_narrow(subscription.scope):
            await self.nearby.remove(delivery)
        elif held:
            scopes = {d.subscription.scope for d in self._held.values() if d.subscription.topic == subscription.topic}
            if all(map(is_narrow, scopes)):
                await self._holders.remove(subscription.topic)
            if "wan" not in scopes and self._wide_holders:
                await self._wide_holders.remove(subscription.topic)
        else:
            await self._detach(subscription.topic, delivery)
        delivery.finish()
        self._on_wide_change()

    async def attach_messages(self, messages: Inflow) -> None:
        if is_narrow(messages.scope):
            self._near_inflows.add(messages)
            await self.nearby.add(Near(messages.pattern, messages.scope, False, messages))
        else:
            await self._attach(messages.pattern, messages)
        self._on_wide_change()
        await self._fabric.spread()
        if self._wide and messages.scope == "wan":
            await self._wide.spread()
        await self._recalling.recalled(messages, _RECALLED_WITHIN)

    async def detach_messages(self, messages: Inflow) -> None:
        if is_narrow(messages.scope):
            self._near_inflows.discard(messages)
            await self.nearby.remove(messages)
        else:
            await self._detach(messages.pattern, messages)
            self._on_wide_change()

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
                "dropped": delivery.queue.dropped + self._dropped_before(delivery),
                "held_back": delivery.held_back,
            }
            for delivery in self._deliveries.values()
        ]

    def _dropped_before(self, delivery: Delivery) -> int:
        topic = delivery.subscription.topic
        away = self._wide_patterns if delivery.subscription.scope == "wan" else None
        return self._patterns.dropped_before(topic) + (away.dropped_before(topic) if away else 0)

    async def _attach(self, topic: str, sink: Sink) -> None:
        async with self._lock:
            if self._closed.is_set():
                raise ClosedError("the node is closed")
            await self._patterns.attach(topic, sink)
            if scope_of(sink) == "wan" and self._wide_patterns:
                await self._wide_patterns.attach(topic, sink)
            self._recall(topic, sink)
            if self._closed.is_set() and isinstance(sink, Inflow):
                sink.finish()

    async def _detach(self, topic: str, sink: Sink) -> None:
        async with self._lock:
            self._recalling.end(sink)
            await self._patterns.detach(topic, sink)
            if self._wide_patterns:
                await self._wide_patterns.detach(topic, sink)

    def _recall(self, pattern: str, sink: Delivery | Inflow, again: float | None = None) -> None:
        """From here on give it what is retained."""
        self._recalling.begin(sink, Feed(pattern, sink, self._not_understood, self._takes_kept), again=again)

    # Retained values.

    async def last(self, topic: str, timeout: float | None) -> Message:
        """The retained value of the topic, from whomever it is. Raises NotFoundError."""
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

    def _arrived(self, sinks: Sequence[Sink], publication: Publication) -> None:
        self._take(sinks, self._fabric.keys.parse_topic(publication.key), publication)

    def _arrived_from_away(self, sinks: Sequence[Sink], publication: Publication) -> None:
        """Over a router. What a node of this site published has come on the fabric as well."""
        sender, _ = identity(publication.attachment)
        if self._wide and sender != self._here.id and not (sender and self._is_of_this_site(sender)):
            self._take(sinks, self._wide.keys.parse_topic(publication.key), publication)

    def _take(self, sinks: Sequence[Sink], topic: str | None, publication: Publication) -> None:
        if topic is None:  # no labc node publishes so, and nobody could say who may
            self.undecodable += 1
            logger.debug("a message with the key %r is on no single topic", publication.key)
        elif self._takes(topic, _NOBODY_KNOWS):
            self._put(sinks, topic, publication.payload, publication.attachment, publication.encoding)

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
        self._holders.tokens(events)


def _copied(args: Any, kwargs: Any) -> tuple[Any, Any]:
    """As they would be at another node."""
    body = encode_arguments(args, kwargs)
    return decode_arguments(body.head, [memoryview(bytes(buffer)) for buffer in body.buffers])
