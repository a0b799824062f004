"""The verbs as coroutines, the same for a node, for ``labc.aio``, and for what ``at(...)`` returns."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from typing import Any, ParamSpec, TypeVar, overload

from labc.directory import CORE, DEFAULT, NodeRecord, Order, Resolve, Scope, check_name, check_pattern, check_topic
from labc.errors import LabcError
from labc.functions import Options, Outcome, Registration, Run, make_registration
from labc.node.details import FunctionInfo, NodeInfo
from labc.node.faces import OnEnd, OnItem, Verbs
from labc.node.files import AsyncFiles
from labc.node.maps import Map, MapWish
from labc.node.runtime import Runtime
from labc.node.streams import Stream, StreamWatch, StreamWish, check_callbacks
from labc.registry import Registry
from labc.topics import Message, Subscription, WhenFull, check_retain, make_subscription

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

Operation = Callable[[Runtime], Awaitable[T]]


async def run_operation(operation: Operation[T], rooms: Runtime) -> T:
    return await operation(rooms)


class Registering:
    """``register`` and ``subscribe``: not asynchronous, and possible before the node runs."""

    _options = Options()
    _functions: Registry[Registration[..., Any]]
    _subscriptions: Registry[Subscription[..., Any]]

    @overload
    def register(
        self,
        function: Callable[P, R],
        /,
        *,
        name: str | None = None,
        run: Run | None = None,
        scope: Scope | None = None,
        listed: bool = True,
    ) -> Registration[P, R]: ...
    @overload
    def register(
        self,
        function: None = None,
        /,
        *,
        name: str | None = None,
        run: Run | None = None,
        scope: Scope | None = None,
        listed: bool = True,
    ) -> Callable[[Callable[P, R]], Registration[P, R]]: ...
    def register(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        name: str | None = None,
        run: Run | None = None,
        scope: Scope | None = None,
        listed: bool = True,
    ) -> Any:
        """Let the network call a function: as a decorator, with or without arguments, or as a call.

        Its type hints are checked before it runs. Registering a name again replaces the function.

        Args:
            name: under which it is called; its own name, without this.
            run: where: ``"loop"`` (the default of ``async def``), ``"thread"`` (the default of ``def``), or
                ``"process"``, for long computations; such a function must stand at the top of a module.
            scope: how far it is visible: in this ``"node"`` alone, in its ``"group"``, on its ``"host"``, in the
                ``"network"`` of this site (the default), or at all sites behind a router, too: ``"wan"``. For everybody
                else it does not exist, and its name does not leave the host, or the site.
            listed: False: no list or search shows it; who names host and node can call it.

        Returns:
            A handle: calling it calls the function here, ``close()`` withdraws it.

        Raises:
            NameInvalidError: the name can't be used.
        """
        if function is None:
            return lambda decorated: self.register(decorated, name=name, run=run, scope=scope, listed=listed)
        registration = make_registration(self._functions, function, name, run, self._scope(scope, "register"), listed)
        self._registered()
        return registration

    @overload
    def subscribe(
        self,
        function: Callable[P, R],
        /,
        *,
        topic: str | None = None,
        when_full: WhenFull | None = None,
        queue_size: int | None = None,
        scope: Scope | None = None,
    ) -> Subscription[P, R]: ...
    @overload
    def subscribe(
        self,
        function: None = None,
        /,
        *,
        topic: str | None = None,
        when_full: WhenFull | None = None,
        queue_size: int | None = None,
        scope: Scope | None = None,
    ) -> Callable[[Callable[P, R]], Subscription[P, R]]: ...
    def subscribe(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        topic: str | None = None,
        when_full: WhenFull | None = None,
        queue_size: int | None = None,
        scope: Scope | None = None,
    ) -> Any:
        """Have a function called with whatever is published to a topic: as a decorator or as a call.

        It gets the arguments as they were published, one message after the other; ``current_message()`` tells
        topic, sender and time. Subscribing a function twice calls it twice.

        Args:
            topic: levels between slashes; ``*`` stands for one level, ``**`` for any number. Without this, the
                function's own name.
            when_full: when messages come faster than they are handled: ``"drop-oldest"`` (the default; counted, and
                shown by ``labc nodes -v``), or ``"hold"`` the publisher back until there is room.
            queue_size: messages that may wait.
            scope: whose messages it gets: those of this ``"node"`` alone, its ``"group"``, its ``"host"``, the
                ``"network"`` of this site (the default), or also of other sites: ``"wan"``. Nobody else knows of it.

        Returns:
            A handle with ``close()``.

        Raises:
            NameInvalidError: the topic can't be used; says where the mistake is.
        """
        if function is None:
            return lambda decorated: self.subscribe(
                decorated, topic=topic, when_full=when_full, queue_size=queue_size, scope=scope
            )
        subscription = make_subscription(
            self._subscriptions, function, topic, when_full, queue_size, self._scope(scope, "subscribe")
        )
        self._registered()
        return subscription

    def _registered(self) -> None:
        """Something was registered or subscribed."""

    def _scope(self, given: Scope | None, verb: str) -> Scope:
        options = self._options
        if options.host is not None or options.node is not None:
            raise ValueError(f"{verb}() is for this program itself: at(host=..., node=...) has nothing to say about it")
        return given or options.scope or DEFAULT


class AsyncVerbs(Verbs, Registering):
    """The verbs as coroutines; see :mod:`labc.aio`."""

    @abstractmethod
    async def _do(self, operation: Operation[T]) -> T:
        """Run the operation with the running node's rooms, on that node's loop."""

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
    ) -> AsyncAt:
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
        return AsyncAt(self, options)

    def get_host(self, host: str, /, *, node: str | int | None = None) -> AsyncAt:
        return self.at(host=host, node=node)

    @property
    def network(self) -> AsyncAt:
        """The verbs for the whole network, and its functions as attributes."""
        return self.at(scope="network")

    @property
    def localhost(self) -> AsyncAt:
        """The same for this host."""
        return self.at(scope="host")

    @property
    def here(self) -> AsyncAt:
        """The same for this node."""
        return self.at(scope="node")

    @abstractmethod
    def _messages(self, pattern: str, queue_size: int | None, options: Options) -> Any: ...

    def messages(self, pattern: str, *, queue_size: int | None = None) -> Any:
        self._scope(None, "messages")
        return self._messages(check_pattern(pattern), queue_size, self._options)

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
            return Stream(self._do, wish)
        watch = StreamWatch(name, on_item, on_end)

        async def begin() -> None:
            try:
                await self._do(lambda rooms: watch.begin(rooms, wish))
            except BaseException as error:  # also of a node that can't be started
                watch.close()
                await watch.tell_end(lambda context, call: asyncio.to_thread(context.run, call), error)
                if isinstance(error, asyncio.CancelledError):
                    raise

        watch.beginning = asyncio.ensure_future(begin())
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
    ) -> Map:
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
        return Map(self._do, wish)

    async def call(self, name: str, /, *args: Any, **kwargs: Any) -> Any:
        check_name(name)
        options = self._options
        return await self._do(lambda rooms: rooms.call(name, args, kwargs, options))

    async def call_all(self, name: str, /, *args: Any, **kwargs: Any) -> list[Outcome]:
        check_name(name)
        options = self._options
        return await self._do(lambda rooms: rooms.call_all(name, args, kwargs, options))

    async def call_publish(self, name: str, /, *args: Any, **kwargs: Any) -> Any:
        check_name(name)
        options = self._options
        return await self._do(lambda rooms: rooms.call_publish(name, args, kwargs, options))

    async def publish(self, topic: str, /, *args: Any, retain: bool = False, **kwargs: Any) -> None:
        check_topic(topic)
        check_retain(retain)
        options = self._options

        async def operation(rooms: Runtime) -> None:
            if rooms.must_wait(options):
                await rooms.before_publishing(options)
            if published := rooms.publish_now(topic, args, kwargs, retain, options):
                await rooms.publish_rest(published, topic, args, kwargs, options)

        await self._do(operation)

    async def last(self, topic: str, /) -> Message:
        check_topic(topic)
        options = self._options
        return await self._do(lambda rooms: rooms.last(topic, options))

    async def forget(self, topic: str, /) -> None:
        check_topic(topic)
        options = self._options
        await self._do(lambda rooms: rooms.forget(topic, options))

    async def nodes(self) -> list[NodeInfo]:
        options = self._options
        return await self._do(lambda rooms: rooms.nodes(options))

    async def functions(self) -> list[FunctionInfo]:
        options = self._options
        return await self._do(lambda rooms: rooms.functions(options))

    async def ping(self) -> dict[NodeRecord, float | LabcError]:
        options = self._options
        return await self._do(lambda rooms: rooms.ping(options))


class AsyncAt(AsyncVerbs):
    """What ``at(...)`` returns: the verbs with options, and functions as attributes."""

    def __init__(self, verbs: AsyncVerbs, options: Options) -> None:
        self._verbs = verbs
        self._options = options
        self._functions = verbs._functions
        self._subscriptions = verbs._subscriptions

    async def _do(self, operation: Operation[T]) -> T:
        return await self._verbs._do(operation)

    def _messages(self, pattern: str, queue_size: int | None, options: Options) -> Any:
        return self._verbs._messages(pattern, queue_size, options)

    def _registered(self) -> None:
        self._verbs._registered()

    @property
    def files(self) -> AsyncFiles:
        """The files of the shares that are there."""
        return AsyncFiles(self._do, self._options)

    def __getattr__(self, name: str) -> RemoteFunction:
        return RemoteFunction(self, self._options, name)


_OF_THE_PROGRAM = ("close", "init", "node_events", "serve", "watch_nodes")


class RemoteFunction:
    """A function of the network, to be called as if it were here: ``labc.network.lights.on("lab 2")``."""

    def __init__(self, verbs: Verbs, options: Options, name: str) -> None:
        if name.startswith("_"):  # what Python itself looks for
            raise AttributeError(name)
        if name in _OF_THE_PROGRAM:
            raise AttributeError(f"{name}() is for the program as a whole, not for a place: labc.{name}(...)")
        self._verbs = verbs
        self._options = options
        self._name = name

    def __getattr__(self, name: str) -> RemoteFunction:
        if name.startswith("_"):
            raise AttributeError(name)
        return RemoteFunction(self._verbs, self._options, f"{self._name}.{name}")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What ``call`` of the verbs it belongs to returns, or raises; of ``core.`` functions, what ``call_all`` does,
        unless a node is named."""
        if self._name.startswith(CORE) and self._options.node is None:
            return self._verbs.call_all(self._name, *args, **kwargs)
        return self._verbs.call(self._name, *args, **kwargs)

    def __repr__(self) -> str:
        return f"<labc remote function {self._name!r}>"
