"""The ways to watch nodes: callbacks, loops, asyncio; closing, errors, and readers that are slow."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading

import pytest
from network.watchers import Watcher

import labc
from labc import aio

pytestmark = pytest.mark.usefixtures("here")

SERVER = """
import sys
import labc
labc.init(name=sys.argv[1])
labc.register(lambda: sys.argv[1], name=sys.argv[1])
labc.serve()
"""


def test_a_callback_that_raises_is_told_the_next_event_all_the_same(serve, caplog) -> None:
    told = queue.SimpleQueue[str]()

    def fail(event: labc.NodeEvent) -> None:
        told.put(f"{event.kind} {event.name}")
        raise SystemExit("no coffee")

    labc.nodes()
    with labc.watch_nodes(fail), caplog.at_level(logging.WARNING, "labc"):
        serve(SERVER, "a", name="a")
        assert told.get(timeout=5) == "joined a"
        serve(SERVER, "b", name="b")
        assert told.get(timeout=5) == "joined b"
    assert "the callback fail of watch_nodes raised SystemExit at a on " in caplog.text
    assert "no coffee" in caplog.text


def test_callbacks_come_one_after_the_other_and_can_call(serve) -> None:
    for name in "abc":
        serve(SERVER, name, name=name)
    told: queue.SimpleQueue[object] = queue.SimpleQueue()
    busy = threading.Lock()

    def ask(event: labc.NodeEvent) -> None:
        told.put(busy.acquire(blocking=False) and (event.kind, labc.call(event.name) == event.name))
        busy.release()

    with labc.watch_nodes(ask):
        assert [told.get(timeout=5) for _ in range(3)] == [("joined", True)] * 3


def test_a_watch_can_be_closed_in_its_callback(serve, until) -> None:
    for name in "abc":
        serve(SERVER, name, name=name)
    told = []

    def once(event: labc.NodeEvent) -> None:
        opened.wait(5)
        told.append(event.name)
        handle.close()

    opened = threading.Event()
    handle = labc.watch_nodes(once)
    opened.set()
    watching = labc.blocking.portal.node().rooms().watching
    until(lambda: not watching._inflows and watching._history is None)
    assert len(told) == 1
    handle.close()


def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(TypeError, match=r"watch_nodes\(\) takes a function, not 3"):
        labc.watch_nodes(3)


def test_a_watch_on_the_node_s_own_loop_is_refused(until) -> None:
    async def watch() -> str:
        try:
            labc.watch_nodes(print)
        except labc.BlockingCallError as error:
            return str(error)
        return ""

    labc.register(watch, name="watch")
    assert "labc.aio" in labc.call("watch")


# Iterating.


def test_iterating_ends_when_the_node_is_closed(serve) -> None:
    serve(SERVER, "a", name="a")
    events = labc.node_events()
    closer = threading.Timer(0.3, labc.close)
    closer.start()
    assert [f"{event.kind} {event.name}" for event in events] == ["joined a"]
    closer.join()
    events.close()


def test_iterating_ends_when_it_is_closed_by_another_thread() -> None:
    with labc.node_events() as events:
        closer = threading.Timer(0.2, events.close)
        closer.start()
        assert list(events) == []
        closer.join()


def test_who_let_go_of_it_watches_no_more(serve, until) -> None:
    serve(SERVER, "a", name="a")
    for _event in labc.node_events():
        break
    watching = labc.blocking.portal.node().rooms().watching
    until(lambda: not watching._inflows and watching._history is None)


def test_a_new_watch_is_not_told_of_who_has_left(serve) -> None:
    program = serve(SERVER, "a", name="a")
    with Watcher() as watcher:
        watcher.expect("joined a")
        program.terminate()
        watcher.expect("left a")
    with Watcher() as watcher:  # the directory has it still, for a second
        watcher.told_nothing_within(1.5)


def test_several_readers_are_told_the_same(serve) -> None:
    readers = [labc.node_events() for _ in range(3)]
    program = serve(SERVER, "a", name="a")
    assert [next(reader).kind for reader in readers] == ["joined"] * 3
    readers.pop().close()
    program.terminate()
    assert [next(reader).kind for reader in readers] == ["left"] * 2
    for reader in readers:
        reader.close()


def test_who_is_slow_is_told_what_counts(serve, monkeypatch) -> None:
    monkeypatch.setenv("LABC_QUEUE_SIZE", "3")
    with labc.node_events() as events, Watcher() as other:
        for name in "abcd":
            serve(SERVER, name, name=name).terminate()
            other.expect(f"joined {name}", f"left {name}")
        serve(SERVER, "e", name="e")
        other.expect("joined e")
        assert events.dropped > 0
        told = []
        while not told or told[-1] != "joined e":
            event = next(events)
            told.append(f"{event.kind} {event.name}")
        assert len(told) + events.dropped == 9
        assert all(f"left {t.split()[1]}" in told for t in told[:-1])


# In asyncio.


def test_in_asyncio_on_another_loop_than_the_node_s(serve) -> None:
    program = serve(SERVER, "a", name="a")

    async def main() -> list[str]:
        told: list[str] = []
        at_work = asyncio.Event()
        loop = asyncio.get_running_loop()

        async def note(event: labc.NodeEvent) -> None:
            told.append(f"{event.kind} {event.name}")
            loop.call_soon_threadsafe(at_work.set)

        with await aio.watch_nodes(note):
            await asyncio.wait_for(at_work.wait(), 5)
            async with aio.node_events() as events:
                async for event in events:
                    if event.kind == "left":
                        break
                    program.terminate()
        await aio.close()
        return told

    assert asyncio.run(main())[0] == "joined a"


def test_in_asyncio_on_the_node_s_loop(serve) -> None:
    async def main() -> None:
        program = await asyncio.to_thread(serve, SERVER, "a", name="a")
        told: asyncio.Queue[str] = asyncio.Queue()

        async def note(event: labc.NodeEvent) -> None:
            assert asyncio.get_running_loop() is loop
            await told.put(event.kind)
            raise ValueError("is logged")

        loop = asyncio.get_running_loop()
        async with labc.Node(name="watcher") as node, asyncio.timeout(10):
            await node.watch_nodes(note)
            assert await told.get() == "joined"
            events = node.node_events()
            assert (await anext(events)).name == "a"
            program.terminate()
            assert (await anext(events)).kind == "left"
            assert await told.get() == "left"
        assert [event async for event in events] == []

    asyncio.run(main())


def test_a_reader_in_asyncio_that_is_cancelled_is_told_the_next_event(serve) -> None:
    async def main() -> None:
        async with labc.Node(name="watcher") as node, node.node_events() as events:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(events), 0.1)
            await asyncio.to_thread(serve, SERVER, "a", name="a")
            assert (await asyncio.wait_for(anext(events), 5)).name == "a"

    asyncio.run(main())


def test_a_callback_that_hangs_does_not_hold_up_the_end() -> None:
    async def main() -> None:
        begun = asyncio.Event()

        async def hang(_: labc.NodeEvent) -> None:
            begun.set()
            await asyncio.sleep(3600)

        async with labc.Node(name="watcher") as node, labc.Node(name="other"):
            await node.watch_nodes(hang)
            await asyncio.wait_for(begun.wait(), 5)
            loop = asyncio.get_running_loop()
            began = loop.time()
        assert loop.time() - began < 2.0

    asyncio.run(main())


def test_a_reader_whose_first_read_was_cancelled_reads_on(serve) -> None:
    async def read() -> None:
        async with labc.Node(name="watcher") as node:
            events = node.node_events()
            for patience in (0, 0, 0.001):
                try:
                    await asyncio.wait_for(anext(events), patience)
                except TimeoutError:
                    pass
            await asyncio.to_thread(serve, SERVER, "a", name="a")
            async with asyncio.timeout(5):
                while (event := await anext(events)).name != "a":
                    pass
            assert event.kind == "joined"
            await events.aclose()

    asyncio.run(read())
