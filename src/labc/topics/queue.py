"""PURE. The messages that wait for one subscription: bounded, and nothing lost in silence."""

from __future__ import annotations

from collections import deque
from contextlib import suppress

from labc.topics.message import Message


class MessageQueue:
    """At most ``size`` messages. When it is full the oldest makes room, and is counted in ``dropped``."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._messages: deque[Message] = deque()
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def full(self) -> bool:
        return len(self._messages) >= self._size

    def put(self, *messages: Message) -> None:
        self._messages.extend(messages)
        while len(self._messages) > self._size:
            with suppress(IndexError):  # a handler's thread has just taken it
                self._messages.popleft()
                self.dropped += 1

    def take(self) -> Message:
        """The oldest. Raises IndexError: there is none."""
        return self._messages.popleft()
