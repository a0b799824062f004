"""What a verb has to give bit by bit, as something to iterate over asynchronously."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, ClassVar, Self

from labc.errors import CallTimeoutError, ClosedError
from labc.functions import EndOfStream, Inbox
from labc.node.runtime import Runtime

Do = Callable[[Callable[[Runtime], Awaitable[Any]]], Awaitable[Any]]
"""Runs an operation on the node's loop, from any."""


class Wish(ABC):
    """What is asked for with such a verb."""

    verb: ClassVar[str]
    name: str
    """Of the function."""
    patience: float | None = None
    """Seconds that the next value may take."""
    blocked: asyncio.AbstractEventLoop | None = None
    """Of the thread that reads, which turns not while that waits: what is asynchronous is read elsewhere."""

    @abstractmethod
    async def open(self, rooms: Runtime, keep: Callable[[Any], object]) -> Inbox[Any]:
        """On the node's loop: returns when somebody was asked. ``keep`` is given the inbox before anything else, so
        that who is interrupted can close it."""

    begin: Callable[[], object] | None = None
    """Called when somebody was asked, in a thread without a loop."""

    def ended(self) -> None:  # noqa: B027 - a stream has nothing to do then
        """Nobody reads any more of it. From any thread; it may be told twice."""

    def too_late(self, inbox: Inbox[Any]) -> CallTimeoutError:
        """No value came in time."""
        return CallTimeoutError(self.name, self.patience or 0.0, ran="yes" if inbox.begun else "maybe")


class _Opening:
    """Asking for values, and what they come into. It does not keep its reader alive: who is let go of is closed."""

    def __init__(self, do: Do, wish: Wish) -> None:
        self._do = do
        self._wish = wish
        self._loop = asyncio.get_running_loop()
        self.inbox: Any = None
        self.task = self._loop.create_task(self._open())
        self.task.add_done_callback(lambda task: task.cancelled() or task.exception())

    def close(self) -> None:
        """From any thread; closing twice is harmless."""
        with suppress(RuntimeError):  # the loop is closed
            if not self.task.done():
                self._loop.call_soon_threadsafe(self.task.cancel)
        if self.inbox is not None:
            self.inbox.close()

    async def _open(self) -> None:
        def keep(inbox: Inbox[Any]) -> None:
            self.inbox = inbox

        try:
            await self._do(lambda rooms: self._wish.open(rooms, keep))
        except BaseException:
            self.close()
            raise
        if self._wish.begin is not None:
            await asyncio.to_thread(self._wish.begin)


class Values:
    """Values as they come. It asks for them with the first ``async for``, or at the beginning of an ``async with``.

    For one reader; let go of, by ``break`` for one, it is closed.
    """

    def __init__(self, do: Do, wish: Wish) -> None:
        self._do = do
        self._wish = wish
        self._opening: _Opening | None = None
        self._values: deque[Any] = deque()
        self._closed = False

    async def aclose(self) -> None:
        """Read no more. Closing twice is harmless."""
        self._closed = True
        self._values.clear()
        self._close()

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
            inbox = await self._start()
            try:
                self._values.extend(await self._next_values(inbox))
            except EndOfStream:
                self._wish.ended()
                raise StopAsyncIteration from None
            except ClosedError:
                self._wish.ended()
                if self._closed:  # meanwhile, by another task
                    raise StopAsyncIteration from None
                raise
            except Exception:
                self._wish.ended()
                raise
        return self._values.popleft()

    async def _next_values(self, inbox: Inbox[Any]) -> list[Any]:
        """They are taken here, and not on the node's loop: who is cancelled meanwhile has lost none."""
        while (values := inbox.take_now()) is None:
            try:
                await self._do(lambda _: asyncio.wait_for(inbox.wait_here(), self._wish.patience))
            except TimeoutError:
                inbox.close()
                raise self._wish.too_late(inbox) from None
        return values

    async def _start(self) -> Inbox[Any]:
        """Who is cancelled meanwhile has lost nothing either: the next one who reads goes on with the opening."""
        opening = self._opening = self._opening or _Opening(self._do, self._wish)
        try:
            await asyncio.shield(opening.task)
        except asyncio.CancelledError:
            if opening.task.cancelled() and self._closed:  # meanwhile, by another task
                raise ClosedError(f"this {self._wish.verb} was closed before it began") from None
            raise
        except Exception:
            self._opening = None
            raise
        return opening.inbox  # type: ignore[no-any-return]

    def _close(self) -> None:
        self._wish.ended()
        if self._opening is not None:
            self._opening.close()

    @property
    def _inbox(self) -> Any:
        return None if self._opening is None else self._opening.inbox

    def __del__(self) -> None:
        if getattr(self, "_opening", None) is not None:
            self._close()
