"""The rooms of one running node, joined. What each verb does, with its options, on the node's own loop."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from labc.directory import DEFAULT, WIDEST, Addressing, NodeRecord, Who, is_narrow
from labc.errors import PeerLostError
from labc.fabric import Declared, Fabric, Neighbourhood, Publication, Wide
from labc.functions import Caller, Options, Outcome, Provider, Registration
from labc.lanes import Pool
from labc.node.between import Answering, Asking
from labc.node.core import Core
from labc.node.details import Details, Question, TopicDetails
from labc.node.listing import Listing
from labc.node.offering import Offering
from labc.node.rights import Rights
from labc.node.sharing import shared
from labc.node.watchdog import Watchdog
from labc.node.watching import Watching
from labc.registry import Registry
from labc.security import Credentials
from labc.settings import Settings
from labc.topics import Message, Messages, Published, Subscription, Told, Topics
from labc.version import __version__

if TYPE_CHECKING:
    from labc.node.vouching import Vouching

_CLOSE_WITHIN = 0.2
_MAX_RELAY_PIECES = 100_000
_NEAR_WITHIN = 0.5
"""How long a publisher waits to know what others on its host subscribe to for this alone."""

_NO_OPTIONS = Options()


class Runtime:
    """Open it on the loop that shall do the node's work, and close it there."""

    def __init__(
        self,
        here: NodeRecord,
        settings: Settings,
        functions: Sequence[Registry[Registration[..., Any]]],
        subscriptions: Sequence[Registry[Subscription[..., Any]]],
        prepare: Callable[[], object],
        credentials: Credentials | None,
        rights: Rights,
    ) -> None:
        self.here = here
        self.settings = settings
        self.loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._functions = functions
        self._subscriptions = subscriptions
        self._jobs: asyncio.Queue[Coroutine[Any, Any, None]] = asyncio.Queue()
        self._keeper: asyncio.Task[None] | None = None
        self.closed = asyncio.Event()
        self._rights = rights
        self._answering_wide: Declared | None = None
        """What answers other sites, while this node has something for them."""
        self.fabric = Fabric(settings, here, self._link_changed, credentials)
        self.wide = Wide(settings, here, self._wide_link_changed, credentials) if settings.routers else None
        """The way to other sites; None: this node knows no router."""
        self._neighbourhood = Neighbourhood(
            self.fabric, settings.presence_grace, self._node_lost, self._digests_of, self.wide
        )
        self._addressing = Addressing(here, settings.aliases)
        self._offering = Offering(here, self.fabric, self.wide, self._later)
        self._pool = Pool(here, settings, __version__, self, credentials, self.fabric.root_ports)
        self._provider = Provider(here, settings, self._find_function, self._offering.all, prepare, rights.check)
        self._pool.calls = self._provider
        self.in_thread = self._provider.threads.run
        """Runs what is no function of the network, but the user's all the same."""
        self._kept: set[asyncio.Task[None]] = set()
        self.watching = Watching(here, settings, self._media, self._neighbourhood, prepare, self.in_thread)
        self.caller = Caller(
            here,
            settings,
            self.fabric,
            self._neighbourhood,
            self._pool,
            self._provider,
            self._addressing,
            lambda: self._listing.learn_endpoints(),
        )
        self._asking = Asking(self.caller)
        self._topics = self._new_topics(prepare)
        self._core = Core(
            here,
            settings,
            self._offering.all,
            self._provider,
            self._topics,
            self._neighbourhood.directory,
            self._pool,
            self.fabric,
            self._unsent,
            self.addresses_of,
        )
        self._listing = Listing(
            here, self.fabric, self.wide, self._neighbourhood, self._addressing, self.caller, self._core
        )
        self.nodes, self.functions, self.ping = self._listing.nodes, self._listing.functions, self._listing.ping
        self._internal = Answering(here, self._topics, self._provider).functions | self._core.functions
        self._internal |= shared(settings, here.id, rights.check)
        self._vouching: Vouching | None = None
        if credentials:
            from labc.node.vouching import Vouching  # what open networks do without

            self._vouching = Vouching(credentials, self.fabric, self._others, self._pool.close_all_but)
        self._watchdog = Watchdog(
            self.loop,
            settings.heartbeat_timeout,
            settings.fabric_lease,
            self._hangs,
            self._turns_again,
            self.fabric.resumed,
        )

    def _new_topics(self, prepare: Callable[[], object]) -> Topics:
        rights = self._rights
        return Topics(
            self.here,
            self.settings,
            self.fabric,
            self._deliver_held,
            self._tell,
            self._ask_near,
            prepare,
            self._provider.threads.run,
            (lambda topic, who: rights.check("publish", topic, who)) if rights.access else None,
            self.wide,
            self.is_of_this_site,
            self._wide_changed,
        )

    async def open(self) -> None:
        """Take the node's place in the network, and offer what is registered.

        Raises:
            FabricError: no root can be reached or opened on this host.
        """
        await self._rights.open()
        await self.fabric.open()
        await self._pool.open()
        keys = self.fabric.keys
        await self.fabric.subscribe(keys.relays_to(self.here.id), self._relay_arrived, _MAX_RELAY_PIECES)
        await self.fabric.answer(keys.ask(self.here.id), self._answer)
        if self.wide is not None:
            self.wide.open()
            key = self.wide.keys.relays_to(self.here.id)
            await self.wide.subscribe(key, self._wide_relay_arrived, _MAX_RELAY_PIECES)
        await asyncio.gather(self._neighbourhood.open(), self._topics.open(), self.fabric.show_presence())
        if self._vouching is not None:
            await self._vouching.open()
        self._keeper = asyncio.create_task(self._keep_declared(), name="labc registrations")
        for functions in self._functions:
            functions.attach(self._function_changed)
        for subscriptions in self._subscriptions:
            subscriptions.attach(self._subscription_changed)
        self._watchdog.start()
        await self.declared()

    def abandon(self) -> None:
        """After fork, in the child."""
        self.fabric.abandon()
        if self.wide is not None:
            self.wide.abandon()
        self._pool.abandon()

    async def close(self) -> None:
        """Leave the network. Takes less than a second, whatever runs."""
        self._watchdog.stop()
        self._rights.close()
        if self._vouching is not None:
            self._vouching.close()
        for functions in self._functions:
            functions.detach()
        for subscriptions in self._subscriptions:
            subscriptions.detach()
        if self._keeper:
            self._keeper.cancel()
        while not self._jobs.empty():
            self._jobs.get_nowait().close()
        await self.caller.close(_CLOSE_WITHIN)
        if self._kept:
            await asyncio.wait(self._kept, timeout=_CLOSE_WITHIN)
        try:
            goodbyes = [medium.say_goodbye() for medium in self._media]
            leaving = self.watching.close(), self._topics.close(self._give_to_another)
            await asyncio.gather(*goodbyes, *leaving, self._provider.close(_CLOSE_WITHIN))
        finally:
            self._neighbourhood.close()
            self._pool.close()
        await asyncio.gather(*(medium.close() for medium in self._media))
        self.closed.set()

    @property
    def _media(self) -> list[Fabric | Wide]:
        return [self.fabric, *self._others]

    @property
    def _others(self) -> list[Wide]:
        return [] if self.wide is None else [self.wide]

    async def declared(self) -> None:
        """Returns when all that was registered, subscribed and closed until now is known to the network."""
        await self._jobs.join()
        await asyncio.gather(*(medium.spread() for medium in self._media))

    # Verbs.

    def call(
        self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Options
    ) -> Coroutine[Any, Any, Any]:
        return self.caller.call(self.caller.prepare(name, args, kwargs, options, streams=True))

    async def call_all(
        self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Options
    ) -> list[Outcome]:
        await self._looked_around(options)
        return await self.caller.call_all(name, args, kwargs, options)

    def keep(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Do this, and wait a moment for its end when the node closes."""
        task = self.loop.create_task(work, name=name)
        self._kept.add(task)
        task.add_done_callback(self._kept.discard)

    def is_here(self) -> bool:
        """Whether this is code on the node's own loop, which must not block."""
        return threading.get_ident() == self._thread and self.loop.is_running()

    async def call_publish(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Options) -> Any:
        await self._looked_around(options)
        asked = self.caller.prepare(name, args, kwargs, options)
        return await self.caller.call_publish(asked, lambda node: self._asking.message(node, name, args, dict(kwargs)))

    async def _looked_around(self, options: Options) -> None:
        """Returns when it can be known who is there."""
        await self.fabric.looked_around()
        if self.wide is not None and (options.scope or WIDEST) == "wan":
            await self.wide.looked_around()

    def must_wait(self, options: Options) -> bool:
        """Whether :meth:`before_publishing` has anything to do. From any thread."""
        return (
            self.fabric.looks_around
            or (options.scope == "wan" and self.wide is not None and self.wide.looks_around)
            or not self._topics.nearby.known
            or self._addressing.changes(options.host, options.node)
        )

    async def before_publishing(self, options: Options) -> None:
        """Returns when it is known who takes what is published."""
        if self.fabric.looks_around:
            await self.fabric.looked_around()
        if options.scope == "wan" and self.wide is not None:
            await self.wide.looked_around()
        await self.caller.finder.learn_endpoints(options)
        if not self._topics.nearby.known:
            await self._topics.nearby.learn(_NEAR_WITHIN)

    def publish_now(
        self,
        topic: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        retain: bool = False,
        options: Options = _NO_OPTIONS,
    ) -> Published | None:
        """From any thread; see :meth:`Topics.publish_now`.

        Raises:
            NotFoundError: nobody is where the options say.
            ValueError: a value for so few can't be retained.
            RefusedError: the settings here don't let this computer publish it.
        """
        scope = options.scope or DEFAULT
        is_placed = options.host is not None or options.node is not None
        if retain and scope == "wan":
            raise ValueError("publish(retain=True): a value is retained for the network of one site, not for others")
        if limited := self._rights.limits_topic(topic):  # to lanes: on the fabric nobody knows who sends, and who hears
            self._rights.check("publish", topic, Who(within_host=True))
        elif not is_placed and not is_narrow(scope):
            return self._topics.publish_now(topic, args, kwargs, retain, scope)
        if retain and limited:
            raise ValueError(
                f"publish(retain=True): a value is retained for everybody, and the setting access limits {topic!r}"
            )
        if retain:
            raise ValueError(
                "publish(retain=True): a value is retained for the whole network, not for a scope or a host"
            )
        nodes = [node.id for node in self._listing.at(options if is_placed else options.but(scope=scope))]
        if not nodes:
            raise self.caller.finder.no_such_node(str(options.node or options.host))
        return self._topics.publish_to(nodes, topic, args, kwargs)

    def is_held(self, topic: str, options: Options = _NO_OPTIONS) -> bool:
        """Whether a subscriber holds the publishers of this topic back. From any thread."""
        return bool(self._topics.holders(topic, options.scope or DEFAULT))

    async def publish_rest(
        self, published: Published, topic: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Options
    ) -> None:
        timeout = self.settings.timeout if options.timeout is None else options.timeout
        await self._topics.publish_rest(published, topic, args, kwargs, timeout)

    async def last(self, topic: str, options: Options) -> Message:
        if self._rights.limits_topic(topic):  # it may be from anybody, and for others
            for verb in ("publish", "subscribe"):
                self._rights.check(verb, topic, Who())
        return await self._topics.last(topic, options.timeout)

    async def forget(self, topic: str, options: Options) -> None:
        await self._topics.forget(topic, options.timeout)

    def messages(self, pattern: str, queue_size: int | None, options: Options = _NO_OPTIONS) -> Messages:
        size = queue_size or self.settings.queue_size
        scope = options.scope or DEFAULT
        return Messages(pattern, size, self._topics.attach_messages, self._topics.detach_messages, scope)

    # What is registered here.

    def _function_changed(self, registration: Registration[..., Any], added: bool) -> None:
        self._offering.changed(registration, added)
        self.caller.finder.forget_routes()
        self._wide_changed()

    def _find_function(self, name: str) -> Registration[..., Any] | None:
        return self._offering.find(name) or self._internal.get(name)

    def _digests_of(self, name: str) -> list[str]:
        return self._offering.digests(name)

    def _subscription_changed(self, subscription: Subscription[..., Any], added: bool) -> None:
        self._later((self._topics.add if added else self._topics.remove)(subscription))

    def _wide_changed(self) -> None:
        """What is offered to other sites may be something else now. From any thread."""
        if self.wide is not None:
            self._later(self._show_where_wanted())

    async def _show_where_wanted(self) -> None:
        """Other sites know this node while it has something for them."""
        if self.wide is None or (wanted := self._is_wide) == (self._answering_wide is not None):
            return
        if wanted:
            self._answering_wide = await self.wide.answer(self.wide.keys.ask(self.here.id), self._answer_away)
            await self.wide.show_presence()
        elif (answering := self._answering_wide) is not None:
            self._answering_wide = None
            await self.wide.say_goodbye()
            await self.wide.hide_presence()
            await answering.close()

    @property
    def _is_wide(self) -> bool:
        return self._offering.is_wide or self._topics.is_wide

    def _later(self, job: Coroutine[Any, Any, None]) -> None:
        if threading.get_ident() == self._thread:
            self._jobs.put_nowait(job)
        else:
            self.loop.call_soon_threadsafe(self._jobs.put_nowait, job)

    async def _keep_declared(self) -> None:
        while True:
            job = await self._jobs.get()
            try:
                await job
            except Exception as error:
                self.loop.call_exception_handler({"message": "labc could not declare", "exception": error})
            finally:
                self._jobs.task_done()

    # Questions of other nodes.

    async def _answer(self, question: bytes) -> bytes:
        if question == Question.ADDRESSES:
            return msgspec.msgpack.encode(self._pool.listener.addresses())
        if question == Question.FUNCTIONS:
            return msgspec.msgpack.encode(self._offering.catalogue())
        if question.startswith(Question.TAKE_OVER):
            self._topics.keeping.take_over(question.removeprefix(Question.TAKE_OVER))
            return b""
        return msgspec.msgpack.encode(self._details())

    async def _answer_away(self, question: bytes) -> bytes:
        """A question of another site."""
        if question == Question.ADDRESSES:
            return msgspec.msgpack.encode(self._pool.listener.addresses())
        if question == Question.FUNCTIONS:
            return msgspec.msgpack.encode(self._offering.catalogue(away=True))
        return msgspec.msgpack.encode(self._details(away=True))

    def _details(self, away: bool = False) -> Details:
        """``away``: for other sites."""
        counts, (retained, retained_bytes, retained_dropped) = self._provider.counts, self._topics.keeping.counts
        return Details(
            node_id=self.here.id,
            pid=os.getpid(),
            version=__version__,
            root_port=self.fabric.root_port or 0,
            addresses=self._pool.listener.addresses(),
            functions=self._offering.count(away),
            topics=[
                TopicDetails(**row)
                for row in self._topics.statistics()
                if row["scope"] == "wan" or not (away or is_narrow(row["scope"]))
            ],
            running=self._provider.running,
            served=counts.served,
            failed=counts.failed,
            refused=counts.refused,
            cancelled=counts.cancelled,
            unsent=self._unsent(),
            undecodable=self._topics.undecodable,
            # to other sites only those with them: the rest has names of nodes that are of this site alone
            lanes=[f"{lane} ({lane.kind})" for lane in self._pool.lanes() if not away or lane.away],
            retained=retained,
            retained_bytes=retained_bytes,
            retained_dropped=retained_dropped,
        )

    def _unsent(self) -> int:
        return sum(medium.dropped for medium in self._media)

    # What the pool of lanes needs: see lanes.connector.Surroundings.

    async def addresses_of(self, node: NodeRecord) -> list[str]:
        """Asked for each new lane: a host changes its addresses while it runs."""
        timeout = self.settings.connect_timeout
        medium = self.wide if node.away and self.wide is not None else self.fabric
        answers = await medium.ask(medium.keys.ask(node.id), Question.ADDRESSES, timeout)
        return msgspec.msgpack.decode(answers[0], type=list[str]) if answers else []

    def is_present(self, node_id: str) -> bool:
        return self._neighbourhood.directory.is_present(node_id)

    def doubt(self, node_id: str) -> None:
        self._neighbourhood.doubt(node_id)
        if node := self.doubted(node_id):
            self._pool.reassure(node)

    def doubted(self, node_id: str) -> NodeRecord | None:
        return self._neighbourhood.directory.doubted(node_id)

    def quiet(self, node_id: str) -> None:
        self._neighbourhood.quiet(node_id, 2 * self.settings.heartbeat_interval)

    def heard(self, node_id: str) -> None:
        self._neighbourhood.heard(node_id)

    def relay(self, node_id: str, relay_id: str, piece: bytes, away: bool) -> None:
        medium = self.wide if away and self.wide is not None else self.fabric
        medium.publish_reliably(medium.keys.relay(node_id, self.here.id, relay_id), piece)

    def is_of_this_site(self, node_id: str) -> bool:
        return self._neighbourhood.is_of_this_site(node_id)

    def _relay_arrived(self, publications: list[Publication]) -> None:
        for publication in publications:
            if parsed := self.fabric.keys.parse_relay(publication.key):
                self._pool.relay_arrived(*parsed, publication.payload, away=False)

    def _wide_relay_arrived(self, publications: list[Publication]) -> None:
        for publication in publications:
            if self.wide is not None and (parsed := self.wide.keys.parse_relay(publication.key)):
                self._pool.relay_arrived(*parsed, publication.payload, away=True)

    # Messages that hold their publisher back.

    async def _deliver_held(self, node_id: str, message: Sequence[Any]) -> None:
        node, topic = await self._node(node_id), message[0]
        if await self._hearable(node, [topic]):
            await self._asking.deliver_held(node, message, self._rights.for_whom([topic]))

    async def _tell(self, node_id: str, told: Sequence[Told]) -> None:
        node = await self._node(node_id)
        topics = await self._hearable(node, {each.topic for each in told})
        if heard := [each for each in told if each.topic in topics]:
            await self._asking.tell(node, heard, self._rights.for_whom(topics))

    async def _hearable(self, node: NodeRecord, topics: Collection[str]) -> Collection[str]:
        """Those of the topics that the node may hear."""
        if not any(self._rights.limits_topic(topic) for topic in topics):
            return topics
        who = (await self._pool.lane(node)).who
        return {topic for topic in topics if self._rights.may("subscribe", topic, who)}

    async def _ask_near(self, node_id: str) -> Sequence[tuple[str, bool]]:
        return await self._asking.near(await self._node(node_id))

    async def _node(self, node_id: str) -> NodeRecord:
        """Raises PeerLostError: it is not there."""
        deadline = self.loop.time() + self.settings.presence_grace
        while (node := self._neighbourhood.directory.node(node_id)) is None:  # its presence comes a moment later
            if not await self._neighbourhood.changed(deadline):
                raise PeerLostError(node_id, "it is not in the network", ran="no")
        return node

    # Retained values that this node alone keeps, when it leaves.

    async def _give_to_another(self, values: bytes) -> bool:
        """Whether another node of this host has taken them over."""
        for node in self._neighbourhood.directory.alive():
            if node.host_id == self.here.host_id and node.id != self.here.id:
                key, question = self.fabric.keys.ask(node.id), Question.TAKE_OVER + values
                if await self.fabric.ask(key, question, _CLOSE_WITHIN / 2):
                    return True
        return False

    # Changes of the network.

    def _link_changed(self, up: bool) -> None:
        if up and self._vouching is not None:
            self._vouching.link_changed()
        self._neighbourhood.link_changed(up)
        self._topics.keeping.link_changed(up)

    def _wide_link_changed(self, up: bool) -> None:
        if up and self._vouching is not None:
            self._vouching.link_changed()
        self._neighbourhood.wide_link_changed(up)

    def _node_lost(self, node: NodeRecord) -> None:
        self._pool.node_lost(node)

    def _hangs(self) -> None:
        """On the watchdog's thread: this loop turns no more. Let no others rely on it."""
        for medium in self._media:
            medium.withdraw_presence()

    def _turns_again(self) -> None:
        if not self.loop.is_closed():
            shown: list[Fabric | Wide] = [self.fabric]
            if self.wide is not None and self._answering_wide is not None:
                shown.append(self.wide)
            for medium in shown:
                task = self.loop.create_task(medium.show_presence())
                task.add_done_callback(lambda done: done.cancelled() or done.exception())
