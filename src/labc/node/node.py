"""Node: one process's place in the network."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import Future
from typing import Any, Self, TypeVar

from labc.directory import NodeRecord
from labc.errors import ClosedError, MembershipError
from labc.fabric import new_id, router_endpoints
from labc.functions import Options, Registration
from labc.node.identity import host_id, host_name, program_name, secret_digest
from labc.node.process import process
from labc.node.rights import Rights
from labc.node.runtime import Runtime
from labc.node.verbs import AsyncVerbs, Operation, run_operation
from labc.node.watching import Callback, NodeEvents, NodeWatch, check_callback
from labc.registry import Registry
from labc.security import Credentials, credentials_of
from labc.settings import Settings
from labc.topics import Messages, Subscription

logger = logging.getLogger("labc")

T = TypeVar("T")


class Node(AsyncVerbs):
    """A node of the network, on the event loop of this program::

        async with labc.Node(name="adder") as node:
            print(await node.call("add", 2, b=3))

    The first node of a process offers what ``labc.register`` and ``labc.subscribe`` were given; further ones only what
    was given to themselves. Leaving the block leaves the network, in less than a second.

    Args:
        name: readable, need not be unique; without it the name of the program's file.
        network: nodes with the same network name find each other.
        settings: any other field of :class:`labc.Settings`.

    Raises:
        SettingsError: a bad setting; says which, and what was expected.
    """

    def __init__(self, *, name: str | None = None, network: str | None = None, **settings: Any) -> None:
        self.settings, self._sources = Settings.load_with_sources(name=name, network=network, **settings)
        group = secret_digest("group", self.settings.group) if self.settings.group else ""
        self._record = NodeRecord(new_id(), host_id(), host_name(), self.settings.name or program_name(), group)
        self._functions: Registry[Registration[..., Any]] = Registry()
        self._subscriptions: Registry[Subscription[..., Any]] = Registry()
        self._rooms: Runtime | None = None
        self._credentials: Credentials | None = None
        self.opened = False
        """Whether it has taken its place: before that, others wait for it."""

    @property
    def id(self) -> str:
        """Unique to this node, in this life."""
        return self._record.id

    @property
    def name(self) -> str:
        return self._record.name

    @property
    def host(self) -> str:
        """The name of this computer."""
        return self._record.host

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """On which it runs. Raises ClosedError."""
        return self._running().loop

    @property
    def dead(self) -> bool:
        """Whether its event loop has ended under it."""
        return self._rooms is not None and self._rooms.loop.is_closed()

    @property
    def is_root(self) -> bool:
        """Whether it is the root of its host now."""
        return self._running().fabric.root_port is not None

    @property
    def is_encrypted(self) -> bool:
        """Whether its network has a key, so that nobody else can read or call. Known when the node is started."""
        return self._credentials is not None

    async def start(self) -> Self:
        """What ``async with`` does at its beginning.

        Raises:
            FabricError: no root can be reached or opened on this host.
            SettingsError: the setting ``routers`` does not fit the network.
            MembershipError: the network has a key, and this user's membership can't be used (any more); or it has none
                for this user, and the setting ``encrypted`` wants one.
            ForkedError: in the child of a process that used labc.
        """
        process.check_not_forked()
        if self._rooms is not None:
            raise ClosedError("this node is running, or was; make another")
        self._credentials = self._membership()
        router_endpoints(self.settings, self._credentials)  # or it would have begun to start
        process.started(self)
        functions, subscriptions = [self._functions], [self._subscriptions]
        if process.owner is self:
            functions.append(process.functions)
            subscriptions.append(process.subscriptions)
        enter, credentials = lambda: process.enter(self), self._credentials
        rights = Rights(self._record, self.settings, self._sources, credentials)
        rooms = Runtime(self._record, self.settings, functions, subscriptions, enter, credentials, rights)
        self._rooms = rooms
        try:
            await rooms.open()
        except BaseException:
            await self.close()
            raise
        self.opened = True
        return self

    def _membership(self) -> Credentials | None:
        credentials = credentials_of(self.settings.network)
        if credentials is None and self.settings.encrypted:
            raise MembershipError(
                f"this user is no member of a keyed network {self.settings.network!r} here, and the setting encrypted "
                "forbids an open one: `labc network list` lists those there are, `labc network join` joins one"
            )
        return credentials

    async def close(self) -> None:
        """Leave the network. Closing twice is harmless."""
        if self in process.nodes:
            process.stopped(self)
            await asyncio.shield(self._running().close())

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def messages(self, pattern: str, *, queue_size: int | None = None) -> Messages:
        messages: Messages = super().messages(pattern, queue_size=queue_size)
        return messages

    def _messages(self, pattern: str, queue_size: int | None, options: Options) -> Messages:
        return self._running().messages(pattern, queue_size, options)

    def node_events(self) -> NodeEvents:
        """Iterate over what becomes of the other nodes; see :class:`labc.NodeEvents`."""
        return self._running().watching.events()

    async def watch_nodes(self, callback: Callback) -> NodeWatch:
        """Have a function called when another node joins, leaves or is lost; see ``labc.watch_nodes``.

        Raises:
            ClosedError: this node is not running.
        """
        check_callback(callback)
        return await self._do(lambda rooms: rooms.watching.watch(callback))

    async def declared(self) -> None:
        """Returns when everything registered or subscribed so far is known to the network."""
        await self._do(lambda rooms: rooms.declared())

    def abandon(self) -> None:
        """After fork, in the child."""
        if self._rooms is not None:
            self._rooms.abandon()

    def rooms(self) -> Runtime:
        """For labc's own faces. Raises ClosedError."""
        return self._running()

    def _running(self) -> Runtime:
        process.check_not_forked()
        if self._rooms is None:
            raise ClosedError(f"the node {self.name!r} is not running: use it inside `async with`")
        return self._rooms

    async def _do(self, operation: Operation[T]) -> T:
        rooms = self._running()
        if self not in process.nodes:
            raise ClosedError(f"the node {self.name!r} is closed")
        if asyncio.get_running_loop() is rooms.loop:
            return await operation(rooms)
        return await _crossed(asyncio.run_coroutine_threadsafe(run_operation(operation, rooms), rooms.loop))


async def _crossed(future: Future[T]) -> T:
    """The result of what runs on another loop. Raises ClosedError: its node was closed."""
    try:
        return await asyncio.wrap_future(future)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise ClosedError("the node was closed before its answer came") from None
