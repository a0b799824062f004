from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from labc.errors import ClosedError
from labc.topics.gathering import AT_ONCE, MAX_BYTES, MAX_ITEMS, WINDOW, Burst, Gathered, Gathering


def publish(burst: Burst, *times: float, head: bytes = b"x") -> list[int]:
    """How many messages were sent together, each time that some were."""
    return [len(burst.take()) for now in times if burst.add(head, 0.0, now)]


def test_the_first_of_each_window_go_at_once() -> None:
    burst = Burst()
    assert publish(burst, *[5.0] * 100) == [1] * AT_ONCE
    assert len(burst.items) == 100 - AT_ONCE


def test_a_message_for_each_answer_never_waits() -> None:
    every = WINDOW / AT_ONCE * 1.01
    assert publish(Burst(), *(n * every for n in range(1000))) == [1] * 1000


def test_in_a_flood_each_window_goes_as_one() -> None:
    every = WINDOW / 4 / AT_ONCE
    sizes = publish(Burst(), *(n * every for n in range(1000)))
    assert sizes[:AT_ONCE] == [1] * AT_ONCE
    assert sizes.count(1) == AT_ONCE
    assert len(sizes) < AT_ONCE + 1000 * every / WINDOW + 1


def test_after_a_pause_a_flood_is_over() -> None:
    burst = Burst()
    publish(burst, *[5.0] * (AT_ONCE + 1))
    burst.take()
    assert publish(burst, *[5.0 + 2.1 * WINDOW] * AT_ONCE) == [1] * AT_ONCE


def test_a_window_with_few_ends_a_flood() -> None:
    burst = Burst()
    publish(burst, *[5.0] * (AT_ONCE + 1))
    publish(burst, *[5.0 + 1.05 * WINDOW] * AT_ONCE)
    burst.take()
    assert publish(burst, *[5.0 + 2.1 * WINDOW] * AT_ONCE) == [1] * AT_ONCE


def test_what_is_gathered_goes_after_a_window() -> None:
    burst = Burst()
    publish(burst, *[5.0] * (AT_ONCE + 3))
    assert publish(burst, 5.0 + WINDOW / 2) == []
    assert publish(burst, 5.0 + WINDOW) == [5]


def test_a_flood_goes_in_pieces() -> None:
    burst = Burst()
    sizes = publish(burst, *[5.0] * (AT_ONCE + 3 * MAX_ITEMS))
    assert sizes == [1] * AT_ONCE + [MAX_ITEMS] * 3
    sizes = publish(Burst(), *[5.0] * (AT_ONCE + 20), head=bytes(MAX_BYTES // 10 + 1))
    assert sizes == [1] * AT_ONCE + [10] * 2


def test_in_order_and_all() -> None:
    burst = Burst()
    sent: list[bytes] = []
    for n in range(10_000):
        if burst.add(b"%d" % n, 0.0, n / 300_000):
            sent += [head for head, _ in burst.take()]
    sent += [head for head, _ in burst.take()]
    assert sent == [b"%d" % n for n in range(10_000)]


def in_one_window() -> float:
    """A clock that stands still: however busy the machine, all is published within one window."""
    return 0.0


class Sent:
    """What was published, by key."""

    def __init__(self) -> None:
        self.by_key: dict[str, list[bytes]] = {}
        self.times = 0

    def __call__(self, key: str, gathered: Gathered) -> None:
        assert gathered
        self.by_key.setdefault(key, []).extend(head for head, _ in gathered)
        self.times += 1


def test_the_last_ones_do_not_wait_for_another() -> None:
    async def main() -> None:
        sent = Sent()
        gathering = Gathering(asyncio.get_running_loop(), sent, in_one_window)
        thread = threading.Thread(target=lambda: [gathering.put("a", b"%d" % n, 0.0) for n in range(1000)])
        thread.start()
        async with asyncio.timeout(5):
            while len(sent.by_key.get("a", ())) < 1000:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        thread.join()
        assert sent.by_key["a"] == [b"%d" % n for n in range(1000)]
        assert sent.times < 500

    asyncio.run(main())


def test_a_signal_handler_publishes_in_the_middle_of_it() -> None:
    """It sends what was to be sent, and nothing is left to send then."""

    async def main() -> None:
        sent = Sent()
        gathering = Gathering(asyncio.get_running_loop(), sent, in_one_window)
        gathering.put("a", b"first", 0.0)
        burst = gathering._bursts["a"]
        add = burst.add

        class Interrupted(Burst):
            def add(self, head: bytes, seconds: float, now: float) -> bool:
                at_once = add(head, seconds, now)
                gathering._bursts["a"] = burst
                gathering.put("a", b"of the handler", 0.0)
                return at_once

        gathering._bursts["a"] = Interrupted()
        gathering.put("a", b"of the program", 0.0)
        assert sent.by_key["a"] == [b"first", b"of the program", b"of the handler"]

    asyncio.run(main())


def test_a_signal_handler_raises_in_the_middle_of_it() -> None:
    """The next burst goes out all the same."""

    async def main() -> None:
        sent = Sent()
        loop = asyncio.get_running_loop()
        interrupted = Interrupting(loop)
        gathering = Gathering(interrupted, sent, in_one_window)  # type: ignore[arg-type]
        for n in range(AT_ONCE):
            gathering.put("a", b"%d" % n, 0.0)
        with pytest.raises(KeyboardInterrupt):
            gathering.put("a", b"interrupted", 0.0)
        gathering.put("a", b"last", 0.0)
        async with asyncio.timeout(5):
            while sent.by_key["a"][-1] != b"last":  # noqa: ASYNC110
                await asyncio.sleep(0.001)

    asyncio.run(main())


class Interrupting:
    """A loop that is never reached the first time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.call_later = loop.call_later
        self._loop = loop
        self._interrupted = False

    def call_soon_threadsafe(self, function: Callable[[], None]) -> None:
        if not self._interrupted:
            self._interrupted = True
            raise KeyboardInterrupt
        self._loop.call_soon_threadsafe(function)


def test_flush() -> None:
    async def main() -> None:
        sent = Sent()
        gathering = Gathering(asyncio.get_running_loop(), sent, in_one_window)
        for n in range(AT_ONCE + 1):
            gathering.put("a", b"%d" % n, 0.0)
            gathering.put("b", b"%d" % n, 0.0)
        gathering.flush("b")
        assert (len(sent.by_key["a"]), len(sent.by_key["b"])) == (AT_ONCE, AT_ONCE + 1)
        gathering.flush()
        assert len(sent.by_key["a"]) == AT_ONCE + 1

    asyncio.run(main())


def test_after_its_end_nothing_waits() -> None:
    async def main() -> None:
        sent = Sent()
        gathering = Gathering(asyncio.get_running_loop(), sent, in_one_window)
        for n in range(AT_ONCE + 5):
            gathering.put("a", b"%d" % n, 0.0)
        gathering.close()
        assert len(sent.by_key["a"]) == AT_ONCE + 5
        gathering.put("a", b"last", 0.0)
        assert sent.by_key["a"][-1] == b"last"

    asyncio.run(main())


def test_no_end_of_topics() -> None:
    async def main() -> None:
        sent = Sent()
        gathering = Gathering(asyncio.get_running_loop(), sent, in_one_window)
        for n in range(5000):
            gathering.put(f"topic/{n}", b"x", 0.0)
        assert len(gathering._bursts) <= 1024
        assert len(sent.by_key) == 5000

    asyncio.run(main())


def test_when_the_loop_is_closed() -> None:
    loop = asyncio.new_event_loop()
    gathering = Gathering(loop, Sent(), in_one_window)
    loop.close()
    for _ in range(AT_ONCE):
        gathering.put("a", b"x", 0.0)
    with pytest.raises(ClosedError):
        gathering.put("a", b"x", 0.0)
