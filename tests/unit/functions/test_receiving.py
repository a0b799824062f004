"""The receiving end of a stream: credit, order, and its end."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any

import pytest

from labc.errors import CarryError, ClosedError, ForkedError, ProtocolError, RemoteError
from labc.functions.inbox import EndOfStream, WaitedLongEnoughError
from labc.functions.receiving import Receiver
from labc.wire import encode, encode_items


def items(*values: Any) -> bytes:
    return encode_items([encode(value).head for value in values])


class Case:
    """A receiver, and the credit that it has given."""

    def __init__(self, count: int = 8, size: int = 1000, *, latest: bool = False) -> None:
        self.credit: list[tuple[int, int]] = []
        self.closed: list[bool] = []
        self.receiver = Receiver(asyncio.get_running_loop(), "a value", count, size, latest=latest)
        self.receiver.on_close = lambda: self.closed.append(True)
        self.receiver.begin(lambda count, size: self.credit.append((count, size)))

    def come(self, *values: Any) -> None:
        self.receiver.arrived(items(*values), ())


def test_credit_is_given_back_for_what_was_read() -> None:
    async def main() -> None:
        case = Case(8, 1000)
        assert case.credit == [(8, 1000)]
        case.come(1)
        case.come(2)
        case.come(3, 4)
        assert await case.receiver.take_here() == [1]
        assert await case.receiver.take_here() == [2]
        await asyncio.sleep(0)
        assert case.credit[1:] == []  # 1 was read, and that is less than a part
        assert await case.receiver.take_here() == [3, 4]
        await asyncio.sleep(0)
        assert case.credit[1:] == [(2, 2)]

    asyncio.run(main())


def test_more_than_there_was_credit_for_is_refused() -> None:
    async def main() -> None:
        case = Case(2, 1000)
        with pytest.raises(ProtocolError, match="3 values"):
            case.come(1, 2, 3)
        case.come(1, 2)
        with pytest.raises(ProtocolError, match="without credit"):
            case.come(3)
        case = Case(100, 5)
        case.come("far more than five bytes")
        with pytest.raises(ProtocolError, match="without credit"):
            case.come(3)

    asyncio.run(main())


@pytest.mark.parametrize(
    "head", [b"", b"\x90", b"\xdd\0\0\0\0", b"\xdd\0\0\0\2\1", b"\xdd\xff\xff\xff\xff\1\1", b"\xc0" * 9]
)
def test_what_is_no_list_of_values_is_refused(head: bytes) -> None:
    async def main() -> None:
        with pytest.raises(ProtocolError):
            Case(100).receiver.arrived(head, ())

    asyncio.run(main())


def test_a_value_that_cant_be_decoded_ends_it_after_those_before_it() -> None:
    async def main() -> None:
        case = Case()
        case.receiver.arrived(encode_items([b"\1", b"\2", b"\xc7\1\x55\0", b"\3"]), ())
        case.come(5)
        assert await case.receiver.take_here() == [1, 2]
        for _ in range(2):
            with pytest.raises(CarryError, match="a value"):
                await case.receiver.take_here()
        await asyncio.sleep(0)
        assert case.closed

    asyncio.run(main())


def test_the_end_comes_last_and_stays() -> None:
    async def main() -> None:
        case = Case()
        case.come(1)
        case.receiver.ended()
        assert await case.receiver.take_here() == [1]
        for _ in range(2):
            with pytest.raises(EndOfStream):
                await case.receiver.take_here()
        case = Case()
        case.come(1)
        case.receiver.ended(RemoteError("ValueError", "oh"))
        case.receiver.ended()
        assert await case.receiver.take_here() == [1]
        for _ in range(2):
            with pytest.raises(RemoteError, match="oh"):
                await case.receiver.take_here()

    asyncio.run(main())


def test_who_waits_is_woken() -> None:
    async def main() -> None:
        case = Case()
        waiting = asyncio.create_task(case.receiver.take_here())
        await asyncio.sleep(0)
        case.come(1, 2)
        assert await waiting == [1, 2]
        got: list[Any] = []
        thread = threading.Thread(target=lambda: got.extend(case.receiver.take(5.0)))
        thread.start()
        await asyncio.sleep(0.02)
        case.come(3)
        while thread.is_alive():  # noqa: ASYNC110 - a thread tells nobody
            await asyncio.sleep(0.001)
        assert got == [3]

    asyncio.run(main())


def test_a_thread_waits_no_longer_than_it_says() -> None:
    async def main() -> None:
        case = Case()
        with pytest.raises(WaitedLongEnoughError):
            await asyncio.to_thread(case.receiver.take, 0.02)
        with pytest.raises(ClosedError, match="nobody waits any more"):
            await asyncio.to_thread(case.receiver.take, 5.0, lambda: True)

    asyncio.run(main())


def test_closing_it_tells_the_sender_once_and_drops_what_is_there() -> None:
    async def main() -> None:
        case = Case()
        case.come(1)
        for _ in range(2):
            case.receiver.close()
            await asyncio.sleep(0)
        assert case.closed == [True]
        case.come(2)  # was on its way
        with pytest.raises(ClosedError):
            await case.receiver.take_here()

    asyncio.run(main())


def test_latest_has_the_newest_and_credit_at_once() -> None:
    async def main() -> None:
        case = Case(latest=True)
        for number in range(10):
            case.come(number)
        assert len(case.credit) == 11
        assert await case.receiver.take_here() == [9]
        assert case.receiver.skipped == 9

    asyncio.run(main())


def test_in_a_forked_child_it_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        case = Case()
        monkeypatch.setattr(os, "getpid", lambda: -1)
        case.receiver.close()
        with pytest.raises(ForkedError):
            case.receiver.take(0.1)
        await asyncio.sleep(0)
        assert case.closed == []

    asyncio.run(main())
