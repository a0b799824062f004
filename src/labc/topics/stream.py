"""``messages``: a topic as something to iterate over."""

from __future__ import annotations

from labc import reading
from labc.directory import DEFAULT, Scope
from labc.reading import Change, Reader
from labc.topics.message import Message
from labc.topics.queue import MessageQueue


class Inflow(reading.Inflow[Message]):
    """What the node's topics know of a reader: where its messages go."""

    queue: MessageQueue

    def __init__(self, pattern: str, queue_size: int, scope: Scope = DEFAULT) -> None:
        super().__init__(MessageQueue(queue_size))
        self.pattern = pattern
        self.scope: Scope = scope

    async def wait_for_room(self) -> None:
        """Returns when there is room in the queue, or nobody to read it any more."""
        while self.queue.full and not self.finished:
            self.taken.clear()
            await self.taken.wait()


class Messages(Reader[Message]):
    """The messages of a topic or pattern, as they come: ``async for message in node.messages("a/*")``.

    It takes messages from the first ``async for`` on, until it is let go of; ``async with`` takes them from its
    beginning to its end. When the reader is slower than the messages, the oldest are dropped, and counted in
    ``dropped``. For one reader.
    """

    def __init__(self, pattern: str, queue_size: int, attach: Change, detach: Change, scope: Scope = DEFAULT) -> None:
        super().__init__(Inflow(pattern, queue_size, scope), attach, detach)
        self.pattern = pattern
