"""Messages past the fabric: in order for each node, bounded, and held up by nobody else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from labc.errors import CallTimeoutError, PeerLostError
from labc.topics import telling
from labc.topics.telling import Told


class Nodes:
    """Takes what is sent; a node that is stopped takes it when it goes on."""

    def __init__(self) -> None:
        self.taken: dict[str, list[str]] = {}
        self.together: list[int] = []
        self.errors: dict[str, Exception] = {}
        self.stopped: dict[str, asyncio.Event] = {}

    async def send(self, node_id: str, messages: Sequence[Told]) -> None:
        if (stopped := self.stopped.get(node_id)) is not None:
            await stopped.wait()
        if (error := self.errors.get(node_id)) is not None:
            raise error
        self.together.append(len(messages))
        self.taken.setdefault(node_id, []).extend(told.topic for told in messages)


def told(topic: object, size: int = 1) -> Told:
    return Told(False, str(topic), b"x" * size, b"")


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 20))


async def settle(condition: Callable[[], object]) -> None:
    for _ in range(10_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to this")


def test_each_node_gets_all_in_order_and_only_its_own() -> None:
    async def test() -> None:
        nodes = Nodes()
        made = telling.Telling(nodes.send, "here", lambda told: None)
        for number in range(1000):
            made.put(["a", "b"] if number % 2 else ["a"], told(number))
        await settle(lambda: len(nodes.taken.get("a", ())) == 1000 and len(nodes.taken.get("b", ())) == 500)
        assert nodes.taken == {"a": [str(n) for n in range(1000)], "b": [str(n) for n in range(1, 1000, 2)]}
        assert made.dropped == 0
        assert len(nodes.together) < 100  # many go together
        await made.close(1.0)

    run(test)


def test_a_node_that_takes_nothing_holds_up_no_other_and_loses_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "_MAX_WAITING", 10)
    monkeypatch.setattr(telling, "_MAX_TOGETHER", 1)

    async def test() -> None:
        nodes = Nodes()
        nodes.stopped["slow"] = asyncio.Event()
        made = telling.Telling(nodes.send, "here", lambda told: None)
        for number in range(100):
            made.put(["slow", "good"], told(number))
            await settle(lambda n=number: len(nodes.taken.get("good", ())) == n + 1)
        assert made.dropped == 100 - 10 - 1  # one is on its way
        nodes.stopped["slow"].set()
        await settle(lambda: len(nodes.taken.get("slow", ())) == 11)
        assert nodes.taken["slow"] == ["0", *(str(n) for n in range(90, 100))]
        await made.close(1.0)

    run(test)


def test_what_waits_is_bounded_in_bytes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "_MAX_BYTES", 1000)
    monkeypatch.setattr(telling, "_MAX_TOGETHER", 1)

    async def test() -> None:
        nodes = Nodes()
        nodes.stopped["a"] = asyncio.Event()
        made = telling.Telling(nodes.send, "here", lambda told: None)
        for number in range(10):
            made.put(["a"], told(number, 300))
            await asyncio.sleep(0.001)
        assert made.dropped == 10 - 3 - 1
        made.put(["a"], told("large", 5000))  # larger than all that may wait: alone
        await asyncio.sleep(0.001)
        assert made.dropped == 10 - 1
        nodes.stopped["a"].set()
        await settle(lambda: len(nodes.taken.get("a", ())) == 2)
        assert nodes.taken["a"] == ["0", "large"]
        await made.close(1.0)

    run(test)


def test_large_messages_do_not_all_go_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "_ENOUGH_BYTES", 1000)

    async def test() -> None:
        nodes = Nodes()
        made = telling.Telling(nodes.send, "here", lambda told: None)
        for number in range(9):
            made.put(["a"], told(number, 400))
        await settle(lambda: len(nodes.taken.get("a", ())) == 9)
        assert max(nodes.together) == 3
        await made.close(1.0)

    run(test)


def test_one_that_is_gone_loses_what_waits_and_it_is_counted() -> None:
    async def test() -> None:
        nodes = Nodes()
        nodes.errors["gone"] = PeerLostError("gone", "it is not in the network", ran="no")
        made = telling.Telling(nodes.send, "here", lambda told: None)
        for number in range(5):
            made.put(["gone", "good"], told(number))
        await settle(lambda: made.dropped == 5)
        await settle(lambda: len(nodes.taken.get("good", ())) == 5)
        del nodes.errors["gone"]  # and when it is back, it gets what comes
        made.put(["gone"], told("new"))
        await settle(lambda: nodes.taken.get("gone") == ["new"])
        await made.close(1.0)

    run(test)


def test_one_that_is_late_loses_what_it_was_given_and_it_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "_MAX_TOGETHER", 2)

    async def test() -> None:
        nodes = Nodes()
        nodes.errors["late"] = CallTimeoutError("told", 10.0, where="late")
        made = telling.Telling(nodes.send, "here", lambda told: None)
        for number in range(5):
            made.put(["late"], told(number))
        await settle(lambda: made.dropped == 5)
        await made.close(1.0)

    run(test)


def test_what_waits_goes_out_when_the_node_leaves_and_nobody_waits_long_for_a_stopped_one() -> None:
    async def test() -> None:
        nodes = Nodes()
        nodes.stopped["stopped"] = asyncio.Event()
        made = telling.Telling(nodes.send, "here", lambda told: None)
        made.put(["stopped", "good"], told("last"))
        began = asyncio.get_running_loop().time()
        await made.close(0.1)
        assert nodes.taken == {"good": ["last"]}
        assert asyncio.get_running_loop().time() - began < 1.0
        made.put(["good"], told("too late"))
        await asyncio.sleep(0.001)
        assert nodes.taken == {"good": ["last"]}

    run(test)


def test_what_is_for_this_node_takes_no_detour() -> None:
    async def check() -> None:
        nodes, taken = Nodes(), []
        made = telling.Telling(nodes.send, "here", taken.extend)
        for number in range(3):
            made.put(["here"], told(number))
        await asyncio.sleep(0.01)
        assert [each.topic for each in taken] == ["0", "1", "2"]
        await made.close(0.1)

    asyncio.run(check())


def test_a_thread_waits_for_a_node_that_takes_what_comes_and_nothing_is_lost() -> None:
    async def check() -> None:
        nodes = Nodes()
        made = telling.Telling(nodes.send, "here", lambda told: None)
        count = 3 * telling._MAX_WAITING

        def publish() -> None:
            for number in range(count):
                made.put(["taker"], told(number))

        await asyncio.to_thread(publish)
        await settle(lambda: len(nodes.taken["taker"]) == count)
        assert made.dropped == 0
        await made.close(0.1)

    asyncio.run(check())


@pytest.mark.parametrize("size", [1, 100], ids=["count", "bytes"])
def test_what_threads_publish_has_room_with_what_waits_already(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """However the loop's turns fall: what waits for the node and what is on its way there count together."""
    monkeypatch.setattr(telling, "_MAX_WAITING", 1000)
    monkeypatch.setattr(telling, "_MAX_BYTES", 50_000)
    most = min(1000, 50_000 // size)

    def publish(made: telling.Telling, count: int) -> None:
        for _ in range(count):
            made.put(["taker"], told(0, size))

    async def check(before: int) -> None:
        nodes = Nodes()
        nodes.stopped["taker"] = asyncio.Event()
        made = telling.Telling(nodes.send, "here", lambda told: None)
        publish(made, before)
        await asyncio.sleep(0)
        thread = threading.Thread(target=publish, args=(made, most))
        thread.start()
        thread.join(0.5)  # without a turn of the loop
        assert thread.is_alive() == (before > 0)
        await asyncio.sleep(0)
        assert made.dropped == 0
        nodes.stopped["taker"].set()
        await settle(lambda: sum(nodes.together) == before + most)
        await asyncio.to_thread(thread.join)
        assert made.dropped == 0
        await made.close(0.1)

    for before in (0, most // 4, most // 2, most - 1):
        asyncio.run(check(before))


def test_a_coroutine_that_publishes_without_a_pause_keeps_what_waits_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "_MAX_BYTES", 1000)

    async def check() -> None:
        nodes = Nodes()
        nodes.stopped["taker"] = asyncio.Event()
        made = telling.Telling(nodes.send, "here", lambda told: None)
        for number in range(100):
            made.put(["taker"], told(number, 300))
        assert made.dropped >= 100 - 3 - 3  # there, and on their way
        nodes.stopped["taker"].set()
        await settle(lambda: nodes.taken and nodes.taken["taker"][-1] == "99")
        await made.close(0.1)

    asyncio.run(check())
