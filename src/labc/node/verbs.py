"""The verbs as coroutines, the same for a node, for ``labc.aio``, and for what ``at(...)`` returns."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, TypeVar, overload

from labc.directory import NodeRecord, check_name, check_topic
from labc.errors import LabcError
from labc.functions import Options, Outcome, Registration, Run, make_registration
from labc.node.details import FunctionInfo, NodeInfo
from labc.node.faces import Verbs
from labc.node.runtime import Runtime
from labc.registry import Registry
from labc.topics import Subscription, WhenFull, make_subscription

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

Operation = Callable[[Runtime], Awaitable[T]]


async def run_operation(operation: Operation[T], rooms: Runtime) -> T:
    return await operation(rooms)


class Registering:
    """``register`` and ``subscribe``: not asynchronous, and possible before the node runs."""

    _functions: Registry[Registration[..., Any]]
    _subscriptions: Registry[Subscription[..., Any]]

    @overload
    def register(
        self, function: Callable[P, R], /, *, name: str | None = None, run: Run | None = None
    ) -> Registration[P, R]: ...
    @overload
    def register(
        self, function: None = None, /, *, name: str | None = None, run: Run | None = None
    ) -> Callable[[Callable[P, R]], Registration[P, R]]: ...
    def register(
        self, function: Callable[..., Any] | None = None, /, *, name: str | None = None, run: Run | None = None
    ) -> Any:
        """Let the network call a function: as a decorator, with or without arguments, or as a call.

        Its type hints are checked before it runs. Registering a name again replaces the function.

        Args:
            name: under which it is called; its own name, without this.
            run: where: ``"loop"`` (the default of ``async def``), ``"thread"`` (the default of ``def``), or
                ``"process"``, for long computations; such a function must stand at the top of a module.

        Returns:
            A handle: calling it calls the function here, ``close()`` withdraws it.

        Raises:
            NameInvalidError: the name can't be used.
        """
        if function is None:
            return lambda decorated: self.register(decorated, name=name, run=run)
        registration = make_registration(self._functions, function, name, run)
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
    ) -> Callable[[Callable[P, R]], Subscription[P, R]]: ...
    def subscribe(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        topic: str | None = None,
        when_full: WhenFull | None = None,
        queue_size: int | None = None,
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

        Returns:
            A handle with ``close()``.

        Raises:
            NameInvalidError: the topic can't be used; says where the mistake is.
        """
        if function is None:
            return lambda decorated: self.subscribe(decorated, topic=topic, when_full=when_full, queue_size=queue_size)
        subscription = make_subscription(self._subscriptions, function, topic, when_full, queue_size)
        self._registered()
        return subscription

    def _registered(self) -> None:
        """Something was registered or subscribed."""


class AsyncVerbs(Verbs):
    """The verbs as coroutines; see :mod:`labc.aio`."""

    _options = Options()

    @abstractmethod
    async def _do(self, operation: Operation[T]) -> T:
        """Run the operation with the running node's rooms, on that node's loop."""

    def at(
        self,
        *,
        timeout: float | None = None,
        find_timeout: float | None = None,
        host: str | None = None,
        node: str | None = None,
        retry: int | None = None,
    ) -> AsyncVerbs:
        options = self._options.but(timeout=timeout, find_timeout=find_timeout, host=host, node=node, retry=retry)
        return _At(self, options)

    async def call(self, name: str, /, *args: Any, **kwargs: Any) -> Any:
        check_name(name)
        options = self._options
        return await self._do(lambda rooms: rooms.call(name, args, kwargs, options))

    async def call_all(self, name: str, /, *args: Any, **kwargs: Any) -> list[Outcome]:
        check_name(name)
        options = self._options
        return await self._do(lambda rooms: rooms.call_all(name, args, kwargs, options))

    async def publish(self, topic: str, /, *args: Any, **kwargs: Any) -> None:
        check_topic(topic)
        options = self._options

        async def operation(rooms: Runtime) -> None:
            if rooms.fabric.looks_around:
                await rooms.fabric.looked_around()
            if holders := rooms.publish_now(topic, args, kwargs):
                await rooms.publish_held(holders, topic, args, kwargs, options)

        await self._do(operation)

    async def nodes(self) -> list[NodeInfo]:
        options = self._options
        return await self._do(lambda rooms: rooms.nodes(options))

    async def functions(self) -> list[FunctionInfo]:
        options = self._options
        return await self._do(lambda rooms: rooms.functions(options))

    async def ping(self) -> dict[NodeRecord, float | LabcError]:
        options = self._options
        return await self._do(lambda rooms: rooms.ping(options))


class _At(AsyncVerbs):
    """Verbs with options."""

    def __init__(self, verbs: AsyncVerbs, options: Options) -> None:
        self._verbs = verbs
        self._options = options

    async def _do(self, operation: Operation[T]) -> T:
        return await self._verbs._do(operation)
