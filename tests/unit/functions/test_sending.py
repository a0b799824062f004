"""The sending end of a stream: what goes when, and who is held back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from labc.errors import CarryError
from labc.functions.sending import Sender
from labc.wire import Body, Failure, count_items, decode_items, encode, encode_items

FAILURE = Failure.from_exception(ValueError("oh"), host="h", node="n")


class Other:
    """What the other side has seen."""

    def __init__(self) -> None:
        self.messages: list[Body] = []
        self.ends: list[Failure | None] = []
        self.limit = 1 << 30
        self.room_there = asyncio.Event()
        self.room_there.set()

    @property
    def has_room(self) -> bool:
        return self.room_there.is_set()

    async def room(self) -> None:
        await self.room_there.wait()

    def finish(self, failure: Failure | None) -> None:
        self.ends.append(failure)

    def send(self, values: Sequence[Body]) -> None:
        items = Body(encode_items([each.head for each in values]), values[0].buffers)
        assert items.size <= self.limit
        self.messages.append(items)

    @property
    def counts(self) -> list[int]:
        return [count_items(each.head) for each in self.messages]

    @property
    def values(self) -> list[Any]:
        return [value for each in self.messages for value in decode_items(each.head, each.buffers, "x")[0]]


def sender(other: Other, **options: Any) -> Sender:
    return Sender(asyncio.get_running_loop(), other, **options)


def test_nothing_goes_without_credit_and_what_is_there_goes_together() -> None:
    async def main() -> None:
        other = Other()
        out = sender(other)
        putting = asyncio.create_task(put_all(out, 5))
        await asyncio.sleep(0.02)
        assert other.messages == []
        out.granted(3, 1000)
        await asyncio.sleep(0.02)
        assert other.values == [0, 1, 2]
        assert not putting.done()
        out.granted(100, 1000)
        await putting
        out.end()
        await asyncio.sleep(0.02)
        assert other.values == [0, 1, 2, 3, 4]
        assert other.ends == [None]

    asyncio.run(main())


async def put_all(out: Sender, count: int) -> None:
    for number in range(count):
        assert await out.put_here(encode(number))


def test_messages_are_a_part_of_the_window_at_most() -> None:
    async def main() -> None:
        other = Other()
        out = sender(other)
        out.granted(80, 10_000)
        await put_all(out, 60)
        await asyncio.sleep(0)
        assert other.values == list(range(60))
        assert max(other.counts) == 10

    asyncio.run(main())


def test_a_thread_is_held_back_and_let_go() -> None:
    async def main() -> None:
        other = Other()
        out = sender(other)
        wanted: list[bool] = []
        thread = threading.Thread(target=lambda: wanted.extend(out.put(encode(n)) for n in range(4)))
        thread.start()
        out.granted(2, 1000)
        while len(wanted) < 2:  # noqa: ASYNC110 - a thread tells nobody
            await asyncio.sleep(0.001)
        out.close()
        thread.join()
        assert wanted == [True, True, False, False]
        await asyncio.sleep(0.02)
        assert other.ends == []

    asyncio.run(main())


def test_an_item_may_overdraw_the_bytes() -> None:
    async def main() -> None:
        other = Other()
        out = sender(other)
        out.granted(10, 1)
        assert await out.put_here(encode("a long text"))
        waiting = asyncio.create_task(out.put_here(encode("x")))
        await asyncio.sleep(0.02)
        assert other.values == ["a long text"]
        out.granted(0, 100)
        assert await waiting

    asyncio.run(main())


def test_latest_keeps_the_newest_and_never_waits() -> None:
    async def main() -> None:
        other = Other()
        out = sender(other, latest=True)
        await put_all(out, 10)
        out.granted(1, 100)
        assert other.values == [9]
        await put_all(out, 20)
        out.end(FAILURE)
        await asyncio.sleep(0.02)
        assert other.ends == []  # the newest is still to come
        out.granted(1, 100)
        assert other.values == [9, 19]
        assert other.ends == [FAILURE]

    asyncio.run(main())


def test_while_the_lane_has_no_room_little_waits_whatever_credit_there_is() -> None:
    async def main() -> None:
        other = Other()
        other.room_there.clear()
        out = sender(other)
        out.granted(1 << 31, 1 << 60)
        megabyte = encode(bytes(1 << 20))
        taken: list[bool] = []

        async def put() -> None:
            for _ in range(100):
                taken.append(await out.put_here(megabyte))

        putting = asyncio.create_task(put())
        await asyncio.sleep(0.05)
        assert 7 <= len(taken) <= 9
        other.room_there.set()
        await putting
        out.end()
        await asyncio.sleep(0.02)
        assert sum(other.counts) == 100
        assert other.ends == [None]

    asyncio.run(main())


def test_a_value_that_the_other_does_not_take_is_the_producers_and_those_before_it_go() -> None:
    async def main() -> None:
        other = Other()
        other.limit = 100
        out = sender(other)
        out.granted(1000, 10_000)
        for number in range(300):
            assert await out.put_here(encode(number))
        with pytest.raises(CarryError, match="207 bytes are more than max_message_bytes=100"):
            await out.put_here(encode("x" * 200))
        out.end(FAILURE)
        await asyncio.sleep(0.02)
        assert other.values == list(range(300))
        assert other.ends == [FAILURE]

    asyncio.run(main())


def test_little_values_count_for_more_than_their_bytes() -> None:
    """Each is an object."""

    async def main() -> None:
        other = Other()
        other.room_there.clear()
        out = sender(other)
        out.granted(1 << 31, 1 << 60)
        taken = 0
        while out.put_if_room(encode(1)):
            taken += 1
        assert taken < 100_000
        out.close()
        assert not out.put_if_room(encode(1))

    asyncio.run(main())


def test_latest_never_sends_an_older_value_after_a_newer_one() -> None:
    async def main() -> None:
        other = Other()
        out = sender(other, latest=True)
        await out.put_here(encode(1))  # without credit
        other.room_there.clear()
        out.granted(1, 100)
        await out.put_here(encode(2))
        out.end()
        await asyncio.sleep(0.02)
        other.room_there.set()
        await asyncio.sleep(0.02)
        assert other.values == [2]
        assert other.ends == [None]

    asyncio.run(main())


def test_it_is_told_that_it_is_closed_once() -> None:
    async def main() -> None:
        told: list[bool] = []
        out = sender(Other(), on_close=lambda: told.append(True))
        out.close()
        out.close()
        assert told == [True]
        out.granted(1, 1)
        assert not await out.put_here(encode(1))

    asyncio.run(main())


def test_it_ends_once() -> None:
    async def main() -> None:
        other = Other()
        out = sender(other)
        out.granted(10, 1000)
        out.end()
        out.end(FAILURE)
        await asyncio.sleep(0.02)
        out.end(FAILURE)
        await asyncio.sleep(0.02)
        assert other.ends == [None]

    asyncio.run(main())


def test_the_first_credit_is_told_once() -> None:
    async def main() -> None:
        told: list[bool] = []
        out = sender(Other(), on_first_credit=lambda: told.append(True))
        out.granted(1, 1)
        out.granted(1, 1)
        assert told == [True]

    asyncio.run(main())
