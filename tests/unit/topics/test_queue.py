"""The messages that wait for one subscription."""

from __future__ import annotations

import pytest

from labc.topics import Message
from labc.topics.queue import MessageQueue


def message(number: int) -> Message:
    return Message("t", (number,))


def test_first_in_first_out() -> None:
    queue = MessageQueue(3)
    assert len(queue) == 0
    for number in range(3):
        assert not queue.full
        queue.put(message(number))
    assert queue.full
    assert [queue.take().value for _ in range(3)] == [0, 1, 2]
    assert queue.dropped == 0
    with pytest.raises(IndexError):
        queue.take()


def test_the_oldest_makes_room_and_is_counted() -> None:
    queue = MessageQueue(3)
    for number in range(10):
        queue.put(message(number))
    assert len(queue) == 3
    assert queue.dropped == 7
    assert [queue.take().value for _ in range(3)] == [7, 8, 9]


def test_one_place() -> None:
    queue = MessageQueue(1)
    queue.put(message(1))
    queue.put(message(2))
    assert (queue.take().value, queue.dropped) == (2, 1)
