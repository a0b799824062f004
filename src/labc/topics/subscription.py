"""``subscribe``: having a function called with what is published."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal, ParamSpec, TypeVar, cast

from labc.directory import DEFAULT, Scope, check_pattern, check_scope
from labc.errors import NameInvalidError
from labc.registry import Handle, Registry, is_coroutine_function, plain
from labc.topics.message import Message, set_current_message
from labc.topics.queue import MessageQueue

logger = logging.getLogger("labc.topics")

P = ParamSpec("P")
R = TypeVar("R")
WhenFull = Literal["drop-oldest", "hold"]


class Subscription(Handle[P, R]):
    """A handler that gets the messages of a topic or pattern, until :meth:`close`. Calling it calls the handler."""

    def __init__(
        self,
        registry: Registry[Any],
        function: Callable[P, R],
        topic: str,
        when_full: WhenFull | None,
        queue_size: int | None,
        scope: Scope = DEFAULT,
    ) -> None:
        super().__init__(function, topic)
        self.scope: Scope = scope
        self._registry = registry
        self.topic = topic
        self.closed = False
        self.when_full = when_full
        self.queue_size = queue_size

    def close(self) -> None:
        """Take no more messages; those that wait are still handled. Closing twice is harmless."""
        self.closed = True  # at once, whatever is on its way
        self._registry.remove(self)

    def __repr__(self) -> str:
        return f"<labc subscription of {self.__name__} to {self.topic!r}>"


def make_subscription(
    registry: Registry[Any],
    function: Callable[P, R],
    topic: str | None,
    when_full: WhenFull | None,
    queue_size: int | None,
    scope: Scope = DEFAULT,
) -> Subscription[P, R]:
    function = plain(function)
    if not callable(function):
        raise TypeError(f"subscribe() takes a function, not {function!r}")
    if topic is None:
        topic = getattr(function, "__name__", "<lambda>")
        if topic == "<lambda>":
            raise NameInvalidError(f"{function!r} has no name of its own: say subscribe(..., topic='...')")
    if when_full not in (None, "drop-oldest", "hold"):
        raise ValueError(f"subscribe(when_full={when_full!r}): expected 'drop-oldest' or 'hold'")
    if queue_size is not None and (type(queue_size) is not int or queue_size < 1):
        raise ValueError(f"subscribe(queue_size={queue_size!r}): expected a whole number of at least 1")
    check_scope(scope, "subscribe")
    subscription = Subscription(registry, function, check_pattern(topic), when_full, queue_size, scope)
    registry.add(subscription)
    return subscription


class Delivery:
    """Calls one subscription's handler, one message after the other, in the order in which they came."""

    def __init__(
        self,
        subscription: Subscription[..., Any],
        queue_size: int,
        prepare: Callable[[], object],
        in_thread: Callable[[contextvars.Context, Callable[[], None]], Any],
    ) -> None:
        self.subscription = subscription
        self.queue = MessageQueue(queue_size)
        self.handled = 0
        self.failed = 0
        self._prepare = prepare
        self._in_thread = in_thread
        self._is_coroutine = is_coroutine_function(subscription.function)
        self._loop = asyncio.get_running_loop()
        self._work = asyncio.Event()
        self._room = asyncio.Event()
        self.held_back = 0
        """Messages whose publishers had to wait for room."""
        self._waiting_for_room = 0
        """Publishers who wait for it now."""
        self._task = asyncio.create_task(self._deliver(), name=f"labc topic {subscription.topic}")
        self._closing = False
        self._closed = False

    def put(self, *messages: Message) -> None:
        """From the loop: handle them when it is their turn."""
        if self.subscription.closed:
            return
        self.queue.put(*messages)
        self._work.set()

    async def put_when_room(self, message: Message) -> None:
        """The same, for a publisher who is held back until there is room."""
        self.held_back += self.queue.full
        await self.wait_for_room()
        self.put(message)

    async def wait_for_room(self) -> None:
        """Returns when there is room in the queue, or nobody to read it any more."""
        while self.queue.full and not self.subscription.closed:
            self._room.clear()
            self._waiting_for_room += 1
            try:
                if self.queue.full:  # still, now that who takes one knows of this
                    await self._room.wait()
            finally:
                self._waiting_for_room -= 1

    def finish(self) -> None:
        """End when everything that waits is handled."""
        self._closing = True
        self._room.set()
        self._work.set()

    async def close(self) -> None:
        """End now; a handler in a thread after the message that it has."""
        self._closed = True
        self._task.cancel()
        await asyncio.wait([self._task], timeout=0.2)

    async def _deliver(self) -> None:
        while True:
            while not self.queue:
                if self._closing:
                    return
                self._work.clear()
                await self._work.wait()
            self._prepare()
            if self._is_coroutine:
                await self._handle_here()
            else:
                await self._in_thread(contextvars.copy_context(), self._handle_burst)

    def _take(self) -> Message:
        """From any thread. Raises IndexError: it was dropped meanwhile to make room."""
        message = self.queue.take()
        if self._waiting_for_room:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._room.set)
        return message

    async def _handle_here(self) -> None:
        message = self._take()
        set_current_message(message)
        try:
            await cast(Any, self.subscription.function(*message.args, **message.kwargs))
            self.handled += 1
        except BaseException as error:
            if self._closed and isinstance(error, asyncio.CancelledError):
                raise
            self._log(message, error)

    def _handle_burst(self) -> None:
        """In a thread: whatever waits, with one change of thread for all of it."""
        for _ in range(len(self.queue)):
            if self._closed:
                return
            try:
                message = self._take()
            except IndexError:
                return
            set_current_message(message)
            try:
                self.subscription.function(*message.args, **message.kwargs)
                self.handled += 1
            except BaseException as error:
                self._log(message, error)

    def _log(self, message: Message, error: BaseException) -> None:
        self.failed += 1
        logger.warning(
            "the handler %s of topic %r raised %s: %s",
            self.subscription.__name__,
            message.topic,
            type(error).__name__,
            error,
            exc_info=error,
        )
