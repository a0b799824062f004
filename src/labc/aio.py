"""The verbs as coroutines::

    from labc import aio as labc

    await labc.call("echo", "Hello World!")

They work on any event loop: through the node whose function is running, else through the node that this program has
started (``async with labc.Node()``), else through one that is started with the first verb, on a thread of its own, and
leaves the network when the program ends.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from typing import Any, Self, TypeVar

from labc.blocking import terminated_by_signal, welcome
from labc.errors import ClosedError
from labc.eventstreams import AnyLoopNodeEvents
from labc.functions import Options, being_spawned, current_call, in_pool, outgoing
from labc.node import AsyncVerbs, Callback, Face, Node, NodeWatch, Operation, Runtime, process
from labc.portal import portal
from labc.topics import Message, Messages, current_message

T = TypeVar("T")


class _DefaultVerbs(AsyncVerbs, Face):
    """The module-level verbs."""

    def __init__(self) -> None:
        self._functions = process.functions
        self._subscriptions = process.subscriptions

    async def _do(self, operation: Operation[T]) -> T:
        return await (await _node())._do(operation)

    def messages(self, pattern: str, *, queue_size: int | None = None) -> AnyLoopMessages:
        messages: AnyLoopMessages = super().messages(pattern, queue_size=queue_size)
        return messages

    def _messages(self, pattern: str, queue_size: int | None, options: Options) -> AnyLoopMessages:
        return AnyLoopMessages(self, pattern, queue_size, options)

    def node_events(self) -> AnyLoopNodeEvents:
        return AnyLoopNodeEvents(_node)

    async def watch_nodes(self, callback: Callback) -> NodeWatch:
        return await (await _node()).watch_nodes(callback)

    def init(self, *, name: str | None = None, network: str | None = None, **settings: Any) -> None:
        portal.configure({"name": name, "network": network, **settings})

    async def close(self) -> None:
        await asyncio.to_thread(portal.close)

    async def serve(self) -> None:
        if being_spawned() or in_pool() or process.serving_is_handled:
            return
        with terminated_by_signal(), suppress(ClosedError):
            node = await _node()
            await node.declared()
            print(welcome(node), file=sys.stderr, flush=True)
            await node._do(lambda rooms: rooms.closed.wait())


async def _node() -> Node:
    """The node to work through, started off this loop if there is none."""
    running = process.node()
    return await asyncio.to_thread(portal.node) if running is None else running


class AnyLoopMessages:
    """:class:`labc.Messages` for a reader on another loop than the node's."""

    def __init__(self, verbs: AsyncVerbs, pattern: str, queue_size: int | None, options: Options) -> None:
        self._verbs = verbs
        self._pattern = pattern
        self._queue_size = queue_size
        self._options = options
        self._messages: Messages | None = None

    @property
    def dropped(self) -> int:
        """Messages that came faster than they were read."""
        return self._messages.dropped if self._messages else 0

    async def aclose(self) -> None:
        """End the subscription. Closing twice is harmless."""
        if (messages := self._messages) is not None:
            await self._verbs._do(lambda _: messages.aclose())

    async def __aenter__(self) -> Self:
        await self._start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        messages = await self._start()
        return await self._verbs._do(lambda _: messages.__anext__())

    async def _start(self) -> Messages:
        if self._messages is None:

            async def attach(rooms: Runtime) -> Messages:
                return await rooms.messages(self._pattern, self._queue_size, self._options).__aenter__()

            self._messages = await self._verbs._do(attach)
        return self._messages


_verbs = _DefaultVerbs()

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

network = _verbs.network
localhost = _verbs.localhost
here = _verbs.here

__all__ = [
    "Node",
    "at",
    "call",
    "call_all",
    "call_publish",
    "close",
    "current_call",
    "current_message",
    "forget",
    "functions",
    "get_host",
    "here",
    "init",
    "last",
    "localhost",
    "map",
    "messages",
    "network",
    "node_events",
    "nodes",
    "outgoing",
    "ping",
    "publish",
    "register",
    "serve",
    "stream",
    "subscribe",
    "watch_nodes",
]
