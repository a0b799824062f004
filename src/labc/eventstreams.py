"""What ``labc.node_events()`` and ``labc.aio.node_events()`` return: the events of the nodes, for readers who are not
on the node's own loop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Self

from labc.directory import NodeEvent
from labc.errors import ClosedError, ForkedError
from labc.node import Node, NodeEvents, Runtime
from labc.portal import Portal


async def _attach(rooms: Runtime) -> NodeEvents:
    return await rooms.watching.events().__aenter__()


class BlockingNodeEvents:
    """What becomes of the other nodes, as it happens: ``for event in labc.node_events()``.

    First it tells ``"joined"`` of each node that is there already. It ends when this program leaves the network.
    """

    def __init__(self, portal: Portal) -> None:
        self._portal = portal
        self._node = portal.node()
        self._events = portal.run("node_events", _attach, self._node)

    @property
    def dropped(self) -> int:
        """Events that were taken out because too many waited; see :class:`labc.NodeEvents`."""
        return self._events.dropped

    def close(self) -> None:
        """Watch no more, from any thread: who waits for the next event comes to the end. Twice is harmless."""
        with suppress(ClosedError, ForkedError):  # the node has left the network, or is another process's
            self._portal.run("node_events", lambda _: self._events.aclose(), self._node)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[NodeEvent]:
        return self

    def __next__(self) -> NodeEvent:
        try:
            return self._portal.run("node_events", lambda _: self._events.__anext__(), self._node)
        except (StopAsyncIteration, ClosedError):
            raise StopIteration from None


class AnyLoopNodeEvents:
    """:class:`labc.NodeEvents` for a reader on another loop than the node's."""

    def __init__(self, find: Callable[[], Awaitable[Node]]) -> None:
        self._find = find
        self._node: Node | None = None
        self._events: NodeEvents | None = None

    @property
    def dropped(self) -> int:
        """Events that were taken out because too many waited; see :class:`labc.NodeEvents`."""
        return self._events.dropped if self._events else 0

    async def aclose(self) -> None:
        """Watch no more. Closing twice is harmless."""
        if (events := self._events) is not None and self._node is not None:
            with suppress(ClosedError, ForkedError):  # the node has left the network, or is another process's
                await self._node._do(lambda _: events.aclose())

    async def __aenter__(self) -> Self:
        await self._start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> NodeEvent:
        node, events = await self._start()
        try:
            return await node._do(lambda _: events.__anext__())
        except ClosedError:
            raise StopAsyncIteration from None

    async def _start(self) -> tuple[Node, NodeEvents]:
        if self._node is None or self._events is None:
            self._node = await self._find()
            self._events = await self._node._do(_attach)
        return self._node, self._events
