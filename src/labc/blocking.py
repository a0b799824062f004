"""The blocking face: every verb for code that is not asynchronous, from any thread.

The process's default node runs on an event loop in a thread of its own; a blocking verb hands its work over and
waits. It refuses only where it would wait for itself: on the node's own loop.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import AsyncIterable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from labc.directory import NodeRecord, Order, Resolve, Scope, check_name, check_pattern, check_topic
from labc.errors import BlockingCallError, ClosedError, FabricError, LabcError
from labc.eventstreams import BlockingNodeEvents
from labc.fileverbs import BlockingFiles
from labc.functions import Options, Outcome, Registration, being_spawned, in_pool
from labc.node import (
    Callback,
    Face,
    FunctionInfo,
    MapWish,
    Node,
    NodeInfo,
    NodeWatch,
    OnEnd,
    OnItem,
    Registering,
    RemoteFunction,
    Runtime,
    StreamWatch,
    StreamWish,
    Verbs,
    check_callback,
    check_callbacks,
    process,
)
from labc.portal import Portal, portal, running_loop
from labc.streams import BlockingMap, BlockingStream, interrupted
from labc.topics import Message, Messages, Subscription, check_retain

logger = logging.getLogger("labc")


class BlockingVerbs(Verbs, Registering):
    """What ``labc.at(...)`` returns: the verbs of ``labc``, with options, and functions as attributes."""

    def __init__(self, portal: Portal, options: Options) -> None:
        self._portal = portal
        self._options = options
        self._functions = process.functions
        self._subscriptions = process.subscriptions

    @property
    def files(self) -> BlockingFiles:
        """The files of the shares that are there."""
        return BlockingFiles(self._portal, self._options)

    def __getattr__(self, name: str) -> RemoteFunction:
        return RemoteFunction(self, self._options, name)

    def at(
        self,
        *,
        timeout: float | None = None,
        find_timeout: float | None = None,
        host: str | None = None,
        node: str | int | None = None,
        retry: int | None = None,
        scope: Scope | None = None,
        perspective: str | None = None,
        resolve: Resolve | None = None,
        order: Order | None = None,
    ) -> BlockingVerbs:
        options = self._options.but(
            timeout=timeout,
            find_timeout=find_timeout,
            host=host,
            node=node,
            retry=retry,
            scope=scope,
            perspective=perspective,
            resolve=resolve,
            order=order,
        )
        return BlockingVerbs(self._portal, options)

    def get_host(self, host: str, /, *, node: str | int | None = None) -> BlockingVerbs:
        return self.at(host=host, node=node)

    def call(self, name: str, /, *args: Any, **kwargs: Any) -> Any:
        check_name(name)
        return self._portal.call(name, args, kwargs, self._options)

    def stream(
        self,
        name: str,
        /,
        *args: Any,
        on_item: OnItem | None = None,
        on_end: OnEnd | None = None,
        latest: bool = False,
        **kwargs: Any,
    ) -> Any:
        check_name(name)
        check_callbacks(on_item, on_end)
        wish = StreamWish(name, args, kwargs, self._options, latest)
        if on_item is None:
            return BlockingStream(self._portal, wish)
        watch = StreamWatch(name, on_item, on_end)
        with interrupted(watch.close):
            self._portal.run("stream", lambda rooms: watch.begin(rooms, wish))
        return watch

    def map(
        self,
        name: str,
        items: Iterable[Any] | AsyncIterable[Any],
        /,
        *,
        ordered: bool = True,
        window: int = 2,
        retry: bool | int = True,
        timeout: float | None = None,
        progress: bool = False,
    ) -> BlockingMap:
        check_name(name)
        wish = MapWish(
            name,
            items,
            self._options,
            ordered=ordered,
            window=window,
            retry=retry,
            timeout=timeout,
            progress=progress,
        )
        return BlockingMap(self._portal, wish)

    def call_all(self, name: str, /, *args: Any, **kwargs: Any) -> list[Outcome]:
        check_name(name)
        return self._portal.run("call_all", lambda rooms: rooms.call_all(name, args, kwargs, self._options))

    def call_publish(self, name: str, /, *args: Any, **kwargs: Any) -> Any:
        check_name(name)
        return self._portal.run("call_publish", lambda rooms: rooms.call_publish(name, args, kwargs, self._options))

    def messages(self, pattern: str, *, queue_size: int | None = None) -> BlockingMessages:
        self._scope(None, "messages")
        return BlockingMessages(self._portal, check_pattern(pattern), queue_size, self._options)

    def publish(self, topic: str, /, *args: Any, retain: bool = False, **kwargs: Any) -> None:
        check_topic(topic)
        check_retain(retain)
        node = self._portal.node()
        rooms = node.rooms()
        if rooms.is_here():
            if rooms.is_held(topic, self._options):  # otherwise it does not block
                raise BlockingCallError("publish")
        elif rooms.must_wait(self._options):
            self._portal.run("publish", lambda r: r.before_publishing(self._options))
        try:
            published = rooms.publish_now(topic, args, kwargs, retain, self._options)
        except (ClosedError, FabricError):
            if node in process.nodes:
                raise
            self._portal.stay_out_if_leaving()
            raise ClosedError(f"the node {node.name!r} is closed") from None
        if published and not (retain and rooms.is_here()):
            self._portal.run("publish", lambda r: r.publish_rest(published, topic, args, kwargs, self._options))

    def last(self, topic: str, /) -> Message:
        check_topic(topic)
        return self._portal.run("last", lambda rooms: rooms.last(topic, self._options))

    def forget(self, topic: str, /) -> None:
        check_topic(topic)
        self._portal.run("forget", lambda rooms: rooms.forget(topic, self._options))

    def nodes(self) -> list[NodeInfo]:
        return self._portal.run("nodes", lambda rooms: rooms.nodes(self._options))

    def functions(self) -> list[FunctionInfo]:
        return self._portal.run("functions", lambda rooms: rooms.functions(self._options))

    def ping(self) -> dict[NodeRecord, float | LabcError]:
        return self._portal.run("ping", lambda rooms: rooms.ping(self._options))

    def _registered(self) -> None:
        """With a running node, return when the network knows it (but on the node's own loop, where one can't wait)."""
        node = process.owner
        if node is not None and node.opened and running_loop() is not node.loop:
            self._portal.run("register", lambda rooms: rooms.declared(), node)


class _DefaultVerbs(BlockingVerbs, Face):
    """The module-level verbs of ``labc``."""

    def node_events(self) -> BlockingNodeEvents:
        return BlockingNodeEvents(self._portal)

    def watch_nodes(self, callback: Callback) -> NodeWatch:
        check_callback(callback)
        return self._portal.run("watch_nodes", lambda rooms: rooms.watching.watch(callback))

    def init(self, *, name: str | None = None, network: str | None = None, **settings: Any) -> None:
        self._portal.configure({"name": name, "network": network, **settings})

    def close(self) -> None:
        self._portal.close()

    def serve(self) -> None:
        if being_spawned() or in_pool() or process.serving_is_handled:
            return
        with terminated_by_signal(), suppress(KeyboardInterrupt):
            node = self._portal.node()
            self._portal.run("serve", lambda rooms: rooms.declared())
            try:
                print(welcome(node), file=sys.stderr, flush=True)
                self._portal.wait_closed()
            except BaseException:  # Ctrl-C, or SIGTERM
                self._portal.leave()
                raise
            finally:  # a process that computes would hold up the end of the program
                self._portal.close()


class BlockingMessages:
    """The messages of a topic or pattern, as they come: ``for message in labc.messages("a/*")``."""

    def __init__(self, portal: Portal, pattern: str, queue_size: int | None, options: Options) -> None:
        self._portal = portal
        self._node = portal.node()

        async def attach(rooms: Runtime) -> Messages:
            return await rooms.messages(pattern, queue_size, options).__aenter__()

        self._messages = portal.run("messages", attach, self._node)

    @property
    def dropped(self) -> int:
        """Messages that came faster than they were read."""
        return self._messages.dropped

    def close(self) -> None:
        """End the subscription. Closing twice is harmless."""
        with suppress(ClosedError):  # the node has left the network, and this subscription with it
            self._portal.run("messages", lambda _: self._messages.aclose(), self._node)

    def __enter__(self) -> BlockingMessages:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Message]:
        return self

    def __next__(self) -> Message:
        try:
            return self._portal.run("messages", lambda _: self._messages.__anext__(), self._node)
        except (StopAsyncIteration, ClosedError):
            raise StopIteration from None


@contextmanager
def serving_elsewhere() -> Iterator[None]:
    """In here ``serve()`` returns at once: somebody else keeps the program alive afterwards (``labc serve``)."""
    process.serving_is_handled = True
    try:
        yield
    finally:
        process.serving_is_handled = False


def registered() -> tuple[list[Registration[..., Any]], list[Subscription[..., Any]]]:
    """The functions and the subscriptions of this process, in their order."""
    return list(process.functions.entries()), list(process.subscriptions.entries())


def welcome(node: Node) -> str:
    """The line with which a serving program starts."""
    network = node.settings.network
    state = "open: anybody on this network" if not node.is_encrypted else "encrypted: only its members"
    return (
        f"labc: {node.name} on {node.host} is in the network {network!r}, which is {state} can call what it offers. "
        "Ctrl-C ends it."
    )


@contextmanager
def terminated_by_signal() -> Iterator[None]:
    """SIGTERM leaves the network like Ctrl-C, and ends the program with 143."""

    def terminate(*_: object) -> None:
        raise SystemExit(143)

    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


_verbs = _DefaultVerbs(portal, Options())

at = _verbs.at
call = _verbs.call
call_all = _verbs.call_all
call_publish = _verbs.call_publish
close = _verbs.close
forget = _verbs.forget
functions = _verbs.functions
get_host = _verbs.get_host
init = _verbs.init
last = _verbs.last
map = _verbs.map
messages = _verbs.messages
node_events = _verbs.node_events
nodes = _verbs.nodes
ping = _verbs.ping
publish = _verbs.publish
register = _verbs.register
serve = _verbs.serve
stream = _verbs.stream
subscribe = _verbs.subscribe
watch_nodes = _verbs.watch_nodes

network = _verbs.at(scope="network")
localhost = _verbs.at(scope="host")
here = _verbs.at(scope="node")
