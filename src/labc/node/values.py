"""What a verb has to give bit by bit, as something to iterate over asynchronously."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable
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

    @abstractmethod
    async def open(self, rooms: Runtime, keep: Callable[[Any], object]) -> Inbox[Any]:
        """On the node's loop: returns when somebody was asked. ``keep`` is given the inbox before anything else, so
        that who is interrupted can close it."""

    def ended(self) -> None:  # noqa: B027 - a stream has nothing to do then
        """Nobody reads any more of it. From any thread; it may be told twice."""

    def too_late(self, inbox: Inbox[Any]) -> CallTimeoutError:
        """No value came in time."""
        return CallTimeoutError(self.name, self.patience or 0.0, ran="yes" if inbox.begun else "maybe")


class Values:
    """Values as they come. It asks for them with the first ``async for``, or at the beginning of an ``async with``.

    For one reader; let go of, by ``break`` for one, it is closed.
    """

    def __init__(self, do: Do, wish: Wish) -> None:
        self._do = do
        self._wish = wish
        self._opened = False
        self._values: deque[Any] = deque()
        self._inbox: Any = None
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
        if self._inbox is not None and self._opened:
            return self._inbox  # type: ignore[no-any-return]

        async def open(rooms: Runtime) -> None:
            self._inbox = await self._wish.open(rooms, self._keep)

        try:
            await self._do(open)
        except BaseException:
            self._close()
            raise
        assert self._inbox is not None
        if self._closed:  # meanwhile
            self._close()
            raise StopAsyncIteration
        self._opened = True
        return self._inbox  # type: ignore[no-any-return]

    def _close(self) -> None:
        self._wish.ended()
        if self._inbox is not None:
            self._inbox.close()

    def _keep(self, inbox: Inbox[Any]) -> None:
        self._inbox = inbox

    def __del__(self) -> None:
        if getattr(self, "_inbox", None) is not None:
            self._close()
