"""``stream``: the values of a generator elsewhere, as something to iterate over, or told to a function."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Self, cast

from labc.errors import ClosedError, LabcError
from labc.functions import EndOfStream, Options, Receiver
from labc.node.faces import OnEnd, OnItem
from labc.node.runtime import Runtime
from labc.node.values import Values, Wish
from labc.registry import is_coroutine_function

logger = logging.getLogger("labc")

InThread = Callable[[contextvars.Context, Callable[[], None]], Awaitable[None]]


class StreamWish(Wish):
    """What a stream is asked for with."""

    verb = "stream"

    def __init__(
        self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Options, latest: bool
    ) -> None:
        self.name = name
        self.patience = options.timeout
        self._args = args
        self._kwargs = kwargs
        self._options = options
        self._latest = latest

    async def open(self, rooms: Runtime, keep: Callable[[Receiver], object]) -> Receiver:
        asked = rooms.caller.prepare(self.name, self._args, self._kwargs, self._options, streams=True)
        for outgoing in asked.streams:
            outgoing.avoid(self.blocked)
        receiver = rooms.caller.new_receiver(self.name, self._latest)
        keep(receiver)
        await rooms.caller.open_stream(asked, receiver, self._latest)
        return receiver


class Stream(Values):
    """The values of a generator of the network, as they come: ``async for value in node.stream("camera")``.

    It asks for them with the first ``async for``, or at the beginning of an ``async with``. The generator is closed
    when it is let go of, by ``break`` for one, when it is closed, and when this program ends or dies. For one reader.
    """

    @property
    def skipped(self) -> int:
        """With ``latest``: values that came here and were not read, as a newer one came."""
        return self._inbox.skipped if self._inbox else 0


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

    async def begin(self, rooms: Runtime, wish: StreamWish) -> None:
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


def _name_of(function: Any) -> str:
    return str(getattr(function, "__name__", repr(function)))
