"""The rooms of one running node, joined. What each verb does, with its options, on the node's own loop."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import msgspec

from labc.directory import NodeRecord, near_names
from labc.errors import LabcError, NotFoundError, PeerLostError
from labc.fabric import Declared, Fabric, Neighbourhood, Publication
from labc.functions import Caller, Options, Outcome, Provider, Registration, current_call
from labc.lanes import Pool
from labc.node.details import Catalogue, Details, FunctionDetails, FunctionInfo, NodeInfo, Question, TopicDetails
from labc.node.watchdog import Watchdog
from labc.node.watching import Watching
from labc.registry import Registry
from labc.settings import Settings
from labc.topics import Messages, Sender, Subscription, Topics
from labc.version import __version__

_ASK_WITHIN = 5.0
_ASK_AGAIN = 0.1
"""Seconds until those who did not hear a question are asked again; then twice as long."""
_CLOSE_WITHIN = 0.2
_MAX_RELAY_PIECES = 100_000
_HELD = "\0held"
"""The internal function that takes messages for subscribers which hold publishers back. No user's name has a NUL."""

Told = TypeVar("Told", Catalogue, Details)


class Runtime:
    """Open it on the loop that shall do the node's work, and close it there."""

    def __init__(
        self,
        here: NodeRecord,
        settings: Settings,
        functions: Sequence[Registry[Registration[..., Any]]],
        subscriptions: Sequence[Registry[Subscription[..., Any]]],
        prepare: Callable[[], object],
    ) -> None:
        self.here = here
        self.settings = settings
        self.loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._functions = functions
        self._subscriptions = subscriptions
        self._by_name: dict[str, Registration[..., Any]] = {}
        self._offers: dict[str, Declared] = {}
        self._jobs: asyncio.Queue[Coroutine[Any, Any, None]] = asyncio.Queue()
        self._keeper: asyncio.Task[None] | None = None
        self.closed = asyncio.Event()
        self.fabric = Fabric(settings, here, self._link_changed)
        self._neighbourhood = Neighbourhood(self.fabric, settings.presence_grace, self._node_lost)
        self._pool = Pool(here, settings, __version__, self)
        self._internal = {_HELD: Registration(Registry(), self._take_held, _HELD, "loop")}
        self._provider = Provider(here, settings, self._find_function, lambda: list(self._by_name), prepare)
        self._pool.calls = self._provider
        self.caller = Caller(here, settings, self.fabric, self._neighbourhood, self._pool, self._provider)
        self._topics = Topics(here, settings, self.fabric, self._deliver_held, prepare, self._provider.threads.run)
        self.watching = Watching(here, settings, self.fabric, self._neighbourhood, prepare, self._provider.threads.run)
        self._watchdog = Watchdog(
            self.loop,
            settings.heartbeat_timeout,
            settings.fabric_lease,
            self._hangs,
            self._turns_again,
            self.fabric.resumed,
        )

    async def open(self) -> None:
        """Take the node's place in the network, and offer what is registered.

        Raises:
            FabricError: no root can be reached or opened on this host.
        """
        await self.fabric.open()
        await self._pool.open()
        keys = self.fabric.keys
        await self.fabric.subscribe(keys.relays_to(self.here.id), self._relay_arrived, _MAX_RELAY_PIECES)
        await self.fabric.answer(keys.ask(self.here.id), self._answer)
        await asyncio.gather(self._neighbourhood.open(), self._topics.open(), self.fabric.show_presence())
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
        self._pool.abandon()

    async def close(self) -> None:
        """Leave the network. Takes less than a second, whatever runs."""
        self._watchdog.stop()
        for functions in self._functions:
            functions.detach()
        for subscriptions in self._subscriptions:
            subscriptions.detach()
        if self._keeper:
            self._keeper.cancel()
        while not self._jobs.empty():
            self._jobs.get_nowait().close()
        try:
            leaving = self.fabric.say_goodbye(), self.watching.close()
            await asyncio.gather(*leaving, self._topics.close(), self._provider.close(_CLOSE_WITHIN))
        finally:
            self._neighbourhood.close()
            self._pool.close()
        await self.fabric.close()
        self.closed.set()

    async def declared(self) -> None:
        """Returns when all that was registered, subscribed and closed until now is known to the network."""
        await self._jobs.join()
        await self.fabric.spread()

    # Verbs.

    def call(
        self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Options
    ) -> Coroutine[Any, Any, Any]:
        return self.caller.call(self.caller.prepare(name, args, kwargs, options))

    async def call_all(
        self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Options
    ) -> list[Outcome]:
        await self.fabric.looked_around()
        return await self.caller.call_all(name, args, kwargs, options)

    def is_here(self) -> bool:
        """Whether this is code on the node's own loop, which must not block."""
        return threading.get_ident() == self._thread and self.loop.is_running()

    def publish_now(self, topic: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[str]:
        """From any thread; see :meth:`Topics.publish_now`."""
        return self._topics.publish_now(topic, args, kwargs)

    def is_held(self, topic: str) -> bool:
        """Whether a subscriber holds the publishers of this topic back. From any thread."""
        return bool(self._topics.holders(topic))

    async def publish_held(
        self, holders: Sequence[str], topic: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Options
    ) -> None:
        timeout = self.settings.timeout if options.timeout is None else options.timeout
        await self._topics.publish_held(holders, topic, args, kwargs, timeout)

    def messages(self, pattern: str, queue_size: int | None) -> Messages:
        size = queue_size or self.settings.queue_size
        return Messages(pattern, size, self._topics.attach_messages, self._topics.detach_messages)

    async def nodes(self, options: Options) -> list[NodeInfo]:
        """Every node of the network, with its details if it answers."""
        await self.fabric.looked_around()
        details = await self._ask_all(Question.DETAILS, Details, options)
        records = self._neighbourhood.directory.nodes()
        if self.here not in records:
            records.append(self.here)
        chosen = [record for record in records if _wanted(record, options)]
        infos = [NodeInfo.make(record, details.get(record.id), record.id == self.here.id) for record in chosen]
        return sorted(infos, key=lambda info: (info.host, info.name, info.id))

    async def functions(self, options: Options) -> list[FunctionInfo]:
        """Every function that is offered, with where."""
        await self.fabric.looked_around()
        catalogues = await self._ask_all(Question.FUNCTIONS, Catalogue, options)
        infos = [
            FunctionInfo(function.name, function.signature, function.doc, record.host, record.name, record.id)
            for record in [*self._neighbourhood.directory.nodes(), self.here]
            if _wanted(record, options) and record.id in catalogues
            for function in catalogues.pop(record.id).functions
        ]
        return sorted(infos, key=lambda info: (info.name, info.host, info.node))

    async def ping(self, options: Options) -> dict[NodeRecord, float | LabcError]:
        """Round trips in seconds, or what prevented them, of the nodes that the options name.

        Without a name, of all others; none, where this is the only one.
        """
        await self.fabric.looked_around()
        timeout = 2.0 if options.timeout is None else options.timeout
        named = options.node or options.host
        known = self._neighbourhood.directory.nodes()
        records = [r for r in known if _wanted(r, options) and (named or r.id != self.here.id)]
        if named and not records:
            near = near_names(named, {name for record in known for name in (record.name, record.host)})
            hosts = len({record.host_id for record in known})
            raise NotFoundError(named, near=near, nodes=len(known), hosts=hosts, kind="node")

        async def one(record: NodeRecord) -> float | LabcError:
            try:
                return await self.caller.ping(record, timeout)
            except LabcError as error:
                return error

        return dict(zip(records, await asyncio.gather(*map(one, records)), strict=True))

    # What is registered here.

    def _function_changed(self, registration: Registration[..., Any], added: bool) -> None:
        """From any thread. Calls from this node see it at once, others when the fabric has spread it."""
        name = registration.name
        if added:
            self._by_name[name] = registration
            self._later(self._declare_offer(name))
        elif self._by_name.get(name) is registration:
            del self._by_name[name]
            self._later(self._withdraw_offer(name))
        self.caller.forget_routes()

    def _subscription_changed(self, subscription: Subscription[..., Any], added: bool) -> None:
        self._later((self._topics.add if added else self._topics.remove)(subscription))

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

    async def _declare_offer(self, name: str) -> None:
        if name in self._by_name and name not in self._offers:
            self._offers[name] = await self.fabric.declare_token(self.fabric.keys.function(name, self.here))

    async def _withdraw_offer(self, name: str) -> None:
        """Also if it is back by now: who has met the gap waits for a new token."""
        if (offer := self._offers.pop(name, None)) is not None:
            await offer.close()

    def _find_function(self, name: str) -> Registration[..., Any] | None:
        return self._by_name.get(name) or self._internal.get(name)

    # Questions of other nodes.

    async def _answer(self, question: bytes) -> bytes:
        if question == Question.ADDRESSES:
            return msgspec.msgpack.encode(self._pool.listener.addresses())
        if question == Question.FUNCTIONS:
            functions = list(self._by_name.values())
            offered = [FunctionDetails(r.name, str(r.signature), r.summary) for r in functions]
            return msgspec.msgpack.encode(Catalogue(self.here.id, offered))
        return msgspec.msgpack.encode(self._details())

    def _details(self) -> Details:
        counts = self._provider.counts
        return Details(
            node_id=self.here.id,
            pid=os.getpid(),
            version=__version__,
            root_port=self.fabric.root_port or 0,
            addresses=self._pool.listener.addresses(),
            functions=len(self._by_name),
            topics=[TopicDetails(**row) for row in self._topics.statistics()],
            running=self._provider.running,
            served=counts.served,
            failed=counts.failed,
            refused=counts.refused,
            cancelled=counts.cancelled,
            unsent=self.fabric.dropped,
            undecodable=self._topics.undecodable,
            lanes=[f"{lane} ({lane.kind})" for lane in self._pool.lanes()],
        )

    async def _ask_all(self, question: bytes, kind: type[Told], options: Options) -> dict[str, Told]:
        """What each node tells, by its id. Who was given up is not waited for when all others have told."""
        timeout = _ASK_WITHIN if options.timeout is None else options.timeout
        deadline = self.loop.time() + timeout
        found: dict[str, Told] = {}

        def take(answers: list[bytes]) -> None:
            for answer in answers:
                with suppress(msgspec.DecodeError):
                    told = msgspec.msgpack.decode(answer, type=kind)
                    found[told.node_id] = told
            self._neighbourhood.wake()

        def complete() -> bool:
            alive = self._neighbourhood.directory.alive()
            return self.fabric.linked and all(node.id in found for node in alive if _wanted(node, options))

        pause = _ASK_AGAIN
        while (left := deadline - self.loop.time()) > 0:
            await self._ask_round(question, left, take, complete)
            if complete():
                break
            # Some did not hear the question: the root has just changed, and they come back one by one.
            until = min(deadline, self.loop.time() + pause)
            await asyncio.sleep(min(_ASK_AGAIN, until - self.loop.time()))
            await self._neighbourhood.changed(until)
            pause *= 2
        return found

    async def _ask_round(
        self, question: bytes, timeout: float, take: Callable[[list[bytes]], None], complete: Callable[[], bool]
    ) -> None:
        """Ask once. Returns when all who heard it have answered, or nobody is missing."""
        asking = self.loop.create_task(self.fabric.ask_each(self.fabric.keys.ask_all, question, timeout, take))
        asking.add_done_callback(lambda _: self._neighbourhood.wake())
        deadline = self.loop.time() + timeout
        try:
            while not (asking.done() or complete()):
                if not await self._neighbourhood.changed(deadline):
                    break
            if asking.done():
                asking.result()
        finally:
            asking.cancel()

    # What the pool of lanes needs: see lanes.connector.Surroundings.

    async def addresses_of(self, node: NodeRecord) -> list[str]:
        """Asked for each new lane: a host changes its addresses while it runs."""
        timeout = self.settings.connect_timeout
        answers = await self.fabric.ask(self.fabric.keys.ask(node.id), Question.ADDRESSES, timeout)
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

    def relay(self, node_id: str, relay_id: str, piece: bytes) -> None:
        self.fabric.publish_reliably(self.fabric.keys.relay(node_id, self.here.id, relay_id), piece)

    def _relay_arrived(self, publications: list[Publication]) -> None:
        for publication in publications:
            if parsed := self.fabric.keys.parse_relay(publication.key):
                self._pool.relay_arrived(*parsed, publication.payload)

    # Messages that hold their publisher back.

    async def _deliver_held(self, node_id: str, message: Sequence[Any]) -> None:
        deadline = self.loop.time() + self.settings.presence_grace
        while (node := self._neighbourhood.directory.node(node_id)) is None:  # its presence comes a moment later
            if not await self._neighbourhood.changed(deadline):
                raise PeerLostError(node_id, "it is not in the network", ran="no")
        await self.caller.call_node(node, _HELD, message)

    async def _take_held(self, topic: str, args: Any, kwargs: Any, seconds: float) -> None:
        call = current_call()
        await self._topics.take_held(Sender(call.host, call.node, call.node_id), topic, args, kwargs, seconds)

    # Changes of the network.

    def _link_changed(self, up: bool) -> None:
        self._neighbourhood.link_changed(up)

    def _node_lost(self, node: NodeRecord) -> None:
        self._pool.node_lost(node)

    def _hangs(self) -> None:
        """On the watchdog's thread: this loop turns no more. Let no others rely on it."""
        self.fabric.withdraw_presence()

    def _turns_again(self) -> None:
        if not self.loop.is_closed():
            task = self.loop.create_task(self.fabric.show_presence())
            task.add_done_callback(lambda done: done.cancelled() or done.exception())


def _wanted(record: NodeRecord, options: Options) -> bool:
    return (options.host is None or record.host == options.host) and (
        options.node is None or options.node in (record.name, record.id)
    )
