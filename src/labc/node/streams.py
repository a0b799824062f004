"""``stream``: the values of a generator elsewhere, as something to iterate over, or told to a function."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Self, cast

from labc.errors import CallTimeoutError, ClosedError, LabcError
from labc.functions import EndOfStream, Options, Receiver
from labc.node.faces import OnEnd, OnItem
from labc.node.runtime import Runtime
from labc.registry import is_coroutine_function

logger = logging.getLogger("labc")

Do = Callable[[Callable[[Runtime], Awaitable[Any]]], Awaitable[Any]]
"""Runs an operation on the node's loop, from any."""
InThread = Callable[[contextvars.Context, Callable[[], None]], Awaitable[None]]


class Wish(NamedTuple):
    """What a stream is asked for with."""

    name: str
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    options: Options
    latest: bool

    async def open(self, rooms: Runtime, keep: Callable[[Receiver], object]) -> Receiver:
        """On the node's loop: returns when somebody was asked. ``keep`` is given the receiver before anything else, so
        that who is interrupted can close it."""
        asked = rooms.caller.prepare(self.name, self.args, self.kwargs, self.options, streams=True)
        receiver = rooms.caller.new_receiver(self.name, self.latest)
        keep(receiver)
        await rooms.caller.open_stream(asked, receiver, self.latest)
        return receiver


class Stream:
    """The values of a generator of the network, as they come: ``async for value in node.stream("camera")``.

    It asks for them with the first ``async for``, or at the beginning of an ``async with``. The generator is closed
    when it is let go of, by ``break`` for one, when it is closed, and when this program ends or dies. For one reader.
    """

    def __init__(self, do: Do, wish: Wish) -> None:
        self._do = do
        self._wish = wish
        self._opened = False
        self._values: deque[Any] = deque()
        self._receiver: Receiver | None = None
        self._closed = False

    @property
    def skipped(self) -> int:
        """With ``latest``: values that came here and were not read, as a newer one came."""
        return self._receiver.skipped if self._receiver else 0

    async def aclose(self) -> None:
        """Read no more; the generator is closed. Closing twice is harmless."""
        self._closed = True
        self._values.clear()
        if self._receiver is not None:
            self._receiver.close()

    async def __aenter__(self) -> Self:
        await self._start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        if not self._values:
            if self._closed:
                raise StopAsyncIteration
            receiver = await self._start()
            try:
                self._values.extend(await self._next_values(receiver))
            except EndOfStream:
                raise StopAsyncIteration from None
            except ClosedError:
                if self._closed:  # meanwhile, by another task
                    raise StopAsyncIteration from None
                raise
        return self._values.popleft()

    async def _next_values(self, receiver: Receiver) -> list[Any]:
        """They are taken here, and not on the node's loop: who is cancelled meanwhile has lost none."""
        while (values := receiver.take_now()) is None:
            try:
                await self._do(lambda _: asyncio.wait_for(receiver.wait_here(), self._wish.options.timeout))
            except TimeoutError:
                receiver.close()
                raise too_late(self._wish, receiver) from None
        return values

    async def _start(self) -> Receiver:
        if self._receiver is not None and self._opened:
            return self._receiver

        async def open(rooms: Runtime) -> None:
            self._receiver = await self._wish.open(rooms, self._keep)

        try:
            await self._do(open)
        except BaseException:
            if self._receiver is not None:
                self._receiver.close()
            raise
        assert self._receiver is not None
        if self._closed:  # meanwhile
            self._receiver.close()
            raise StopAsyncIteration
        self._opened = True
        return self._receiver

    def _keep(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def __del__(self) -> None:
        receiver: Receiver | None = getattr(self, "_receiver", None)
        if receiver is not None:
            receiver.close()


class StreamWatch:
    """What ``stream`` returns with ``on_item``: a function that is told each value, until the end or :meth:`close`."""

    def __init__(self, name: str, on_item: OnItem, on_end: OnEnd | None) -> None:
        self.closed = False
        """Whether it tells nothing more."""
        self._name = name
        self._ended = False
        self._on_item = on_item
        self._on_end = on_end
        self._receiver: Receiver | None = None
        self.beginning: asyncio.Future[None] | None = None
        """For labc itself: keeps what begins it alive."""

    def close(self) -> None:
        """Tell no more of it; the generator is closed. From any thread, and from the function itself; closing twice is
        harmless. It does not wait for a call of the function that is under way."""
        self.closed = True
        if self._receiver is not None:
            self._receiver.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<labc stream of {self._name!r} to {_name_of(self._on_item)}>"

    async def begin(self, rooms: Runtime, wish: Wish) -> None:
        """On the node's loop: returns when somebody was asked, and tells what comes from then on."""
        receiver = await wish.open(rooms, self._keep)
        rooms.keep(self._tell_all(rooms, receiver), f"labc {self!r}")

    async def tell_end(self, in_thread: InThread, error: BaseException | None) -> None:
        """Once, when there is no more to tell."""
        self.closed = True
        if self._ended:
            return
        self._ended = True
        if self._on_end is None:
            if error is not None:
                logger.warning("the stream of %r ended: %s: %s", self._name, type(error).__name__, error)
            return
        await self._call(in_thread, self._on_end, [error])

    def _keep(self, receiver: Receiver) -> None:
        self._receiver = receiver
        if self.closed:
            receiver.close()

    async def _tell_all(self, rooms: Runtime, receiver: Receiver) -> None:
        error: BaseException | None = None
        try:
            while not self.closed:
                await self._call(rooms.in_thread, self._on_item, await receiver.take_here())
        except EndOfStream:
            pass
        except (LabcError, asyncio.CancelledError) as ended:
            error = None if self.closed else ended
            if isinstance(ended, asyncio.CancelledError):
                error = ClosedError("this program has left the network")
        except BaseException as ended:  # of the iterable of outgoing()
            error = ended
        receiver.close()
        await self.tell_end(rooms.in_thread, error)

    async def _call(self, in_thread: InThread, function: Callable[[Any], Any], values: list[Any]) -> None:
        if not is_coroutine_function(function):
            await in_thread(contextvars.copy_context(), partial(self._call_in_thread, function, values))
            return
        for value in values:
            result = None
            try:
                result = await cast(Any, function(value))
            except Exception as error:
                self._log(function, error)
            if not self._goes_on(function, result):
                return

    def _call_in_thread(self, function: Callable[[Any], Any], values: list[Any]) -> None:
        for value in values:
            result = None
            try:
                result = function(value)
            except BaseException as error:
                self._log(function, error)
            if not self._goes_on(function, result):
                return

    def _goes_on(self, function: Callable[[Any], Any], result: Any) -> bool:
        if result is False and function is self._on_item:
            self.closed = True
        return not self.closed

    def _log(self, function: Callable[[Any], Any], error: BaseException) -> None:
        what = type(error).__name__
        logger.warning(
            "%s raised %s with a value of the stream of %r: %s",
            _name_of(function),
            what,
            self._name,
            error,
            exc_info=error,
        )


def check_callbacks(on_item: Any, on_end: Any) -> None:
    """Raises TypeError: one is no function."""
    for key, value in (("on_item", on_item), ("on_end", on_end)):
        if value is not None and not callable(value):
            raise TypeError(f"stream({key}=...) takes a function, not {value!r}")
    if on_end is not None and on_item is None:
        raise TypeError("stream(on_end=...) goes with on_item=...: who iterates sees the end")


def too_late(wish: Wish, receiver: Receiver) -> CallTimeoutError:
    """No value came in time."""
    return CallTimeoutError(wish.name, wish.options.timeout or 0.0, ran="yes" if receiver.begun else "maybe")


def _name_of(function: Any) -> str:
    return str(getattr(function, "__name__", repr(function)))
