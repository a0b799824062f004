"""What a function gets where its caller gave ``labc.outgoing(...)``."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from labc.errors import BlockingCallError
from labc.functions.inbox import EndOfStream
from labc.functions.receiving import Receiver


class Incoming(Iterator[Any], AsyncIterator[Any]):
    """The values that the caller sends, as they come: ``for value in values``, or ``async for`` in an ``async def``.

    The caller is held back while the function does not read. It ends when the caller's values do; what the caller's
    iterable raised is raised here as a `RemoteError`. When the call is over, nothing more comes: ClosedError. For one
    reader.
    """

    def __init__(self, receiver: Receiver, is_on_loop: Callable[[], bool]) -> None:
        self._receiver = receiver
        self._taken: deque[Any] = deque()
        self._is_on_loop = is_on_loop

    def __next__(self) -> Any:
        if self._is_on_loop():
            raise BlockingCallError("outgoing", "`async for`")
        if not self._taken:
            try:
                self._taken.extend(self._receiver.take())
            except EndOfStream:
                raise StopIteration from None
        return self._taken.popleft()

    async def __anext__(self) -> Any:
        if not self._taken:
            try:
                self._taken.extend(await self._receiver.take_here())
            except EndOfStream:
                raise StopAsyncIteration from None
        return self._taken.popleft()
