"""``subscribe`` and ``publish``: patterns, order, slow handlers, and who is told what."""

from __future__ import annotations

import asyncio
import datetime
import functools
import logging
import threading
import time

import pytest

import labc
from labc import Node
from labc.fabric import Publication
from labc.topics import Sender
from labc.topics.message import identity, pack
from labc.wire import encode_arguments

pytestmark = pytest.mark.usefixtures("here")

PUBLISHER = """
import labc, sys, time
labc.init(name="publisher")

@labc.register
def publish(topic, /, *args, **kwargs):
    labc.publish(topic, *args, **kwargs)

@labc.register
def burst(topic, count):
    for number in range(count):
        labc.publish(topic, number)
    return time.time()

labc.serve()
"""


def test_every_form(serve, until) -> None:
    got = []

    @labc.subscribe
    def bare(*args: int) -> None:
        got.append(("bare", *args))

    @labc.subscribe(topic="a/*/b")
    def pattern(*args: int) -> None:
        got.append(("pattern", *args))

    @labc.subscribe()
    async def coroutine(*args: int) -> None:
        got.append(("coroutine", *args))

    class Camera:
        def show(self, *args: int) -> None:
            got.append(("method", *args))

        async def __call__(self, *args: int) -> None:
            got.append(("object", *args))

    labc.subscribe(Camera().show)
    labc.subscribe(Camera().show, topic="other")
    labc.subscribe(Camera(), topic="object")
    labc.subscribe(lambda *args: got.append(("lambda", *args)), topic="lambda")
    serve(PUBLISHER)
    for number, topic in enumerate(("bare", "a/x/b", "coroutine", "show", "other", "object", "lambda")):
        labc.call("publish", topic, number)
    kinds = ["bare", "pattern", "coroutine", "method", "method", "object", "lambda"]
    until(lambda: sorted(got) == sorted((kind, number) for number, kind in enumerate(kinds)))


def test_wildcards(serve, until) -> None:
    got: dict[str, list[str]] = {}
    patterns = ("a/b", "a/*", "*/b", "**", "a/**", "**/c", "a/**/c", "*")
    for pattern in patterns:
        got[pattern] = []
        labc.subscribe(lambda topic, pattern=pattern: got[pattern].append(topic), topic=pattern)
    serve(PUBLISHER)
    topics = ["a", "b", "a/b", "a/c", "x/b", "a/b/c", "a/x/y/c", "a/b/c/d", "last"]
    for topic in topics:
        labc.call("publish", topic, topic)
    until(lambda: "last" in got["**"] and "last" in got["*"])
    assert got == {
        "a/b": ["a/b"],
        "a/*": ["a/b", "a/c"],
        "*/b": ["a/b", "x/b"],
        "**": topics,
        "a/**": ["a", "a/b", "a/c", "a/b/c", "a/x/y/c", "a/b/c/d"],
        "**/c": ["a/c", "a/b/c", "a/x/y/c"],
        "a/**/c": ["a/c", "a/b/c", "a/x/y/c"],
        "*": ["a", "b", "last"],
    }


def test_subscribed_twice_is_called_twice(until) -> None:
    got = []

    def handler(value: int) -> None:
        got.append(value)

    first, second = labc.subscribe(handler), labc.subscribe(handler)
    labc.publish("handler", 1)
    until(lambda: got == [1, 1])
    first.close()
    first.close()
    labc.publish("handler", 2)
    until(lambda: got[2:] == [2])
    second.close()
    end = threading.Event()
    labc.subscribe(end.set, topic="end")
    labc.publish("handler", 3)
    labc.publish("end")
    assert end.wait(5.0)
    assert got == [1, 1, 2]
    second(4)
    assert got == [1, 1, 2, 4]


def test_arguments_as_they_were_published(serve, until) -> None:
    got = []
    labc.subscribe(lambda *args, **kwargs: got.append((args, kwargs)), topic="t")
    serve(PUBLISHER)
    labc.call("publish", "t")
    labc.call("publish", "t", 1, "two", [3.0], x=None, topic="inner", self=(4,))
    until(lambda: len(got) == 2)
    assert got == [((), {}), ((1, "two", [3.0]), {"x": None, "topic": "inner", "self": (4,)})]


def test_handlers_do_not_see_each_others_changes(until) -> None:
    got = []

    def handler(items: list[int]) -> None:
        got.append(list(items))
        items.clear()

    labc.subscribe(handler)
    labc.subscribe(handler)
    labc.subscribe(handler, topic="handler", when_full="hold")
    labc.subscribe(handler, topic="handler", when_full="hold")
    mine = [1, 2]
    labc.publish("handler", mine)
    until(lambda: len(got) == 4)
    assert got == [[1, 2]] * 4
    assert mine == [1, 2]


def test_current_message(serve, until) -> None:
    got = []

    def plain(*_: int, x: int) -> None:
        got.append(labc.current_message())

    async def coroutine(*_: int, x: int) -> None:
        await asyncio.sleep(0)
        got.append(labc.current_message())

    labc.subscribe(plain, topic="p/*")
    labc.subscribe(coroutine, topic="c/*")
    labc.subscribe(plain, topic="h/*", when_full="hold")
    serve(PUBLISHER)
    [publisher] = [info for info in labc.nodes() if info.name == "publisher"]
    for topic in ("p/1", "c/1", "h/1"):
        before = datetime.datetime.now(datetime.UTC)
        labc.call("publish", topic, 1, x=2)
        until(lambda: got)
        message = got.pop()
        assert message.topic == topic
        assert message.args == (1,)
        assert message.value == 1
        assert message.kwargs == {"x": 2}
        assert (message.sender.node, message.sender.host, message.sender.node_id) == (
            "publisher",
            publisher.host,
            publisher.id,
        )
        assert before - datetime.timedelta(seconds=0.01) <= message.time <= datetime.datetime.now(datetime.UTC)
    with pytest.raises(labc.OutsideError):
        labc.current_message()


def test_order_is_kept(serve, until) -> None:
    plain: list[int] = []
    coroutine: list[int] = []
    labc.init(queue_size=10000)
    labc.subscribe(plain.append, topic="t")

    @labc.subscribe(topic="t")
    async def handler(value: int) -> None:
        if value % 100 == 0:
            await asyncio.sleep(0.001)
        coroutine.append(value)

    serve(PUBLISHER)
    labc.call("burst", "t", 3000)
    until(lambda: len(plain) == len(coroutine) == 3000)
    assert plain == coroutine == list(range(3000))


def test_small_and_larger_messages_in_quick_succession_keep_their_order(serve, until) -> None:
    got: list[tuple[int, int]] = []
    labc.init(queue_size=10000)
    labc.subscribe(lambda number, text: got.append((number, len(text))), topic="t")
    mixed = """
@labc.register
def mixed():
    for number in range(2000):
        labc.publish("t", number, "x" * (6000 if number % 50 == 49 else 10))

labc.serve()"""
    serve(PUBLISHER.replace("labc.serve()", mixed))
    labc.call("mixed")
    until(lambda: len(got) == 2000)
    assert got == [(n, 6000 if n % 50 == 49 else 10) for n in range(2000)]


def test_a_flood_of_large_messages_is_slowed_down_and_not_dropped(serve, until) -> None:
    got: list[int] = []
    labc.subscribe(lambda number, _: got.append(number), topic="t")
    flood = """
@labc.register
def flood(count):
    for number in range(count):
        labc.publish("t", number, bytes(1 << 20))

labc.serve()"""
    serve(PUBLISHER.replace("labc.serve()", flood))
    labc.call("flood", 300)  # several times of what may wait
    until(lambda: len(got) == 300)
    assert got == list(range(300))


def test_what_a_program_publishes_last_arrives(start, until) -> None:
    got: list[int] = []
    labc.init(queue_size=10000)
    labc.subscribe(got.append, topic="t")
    labc.nodes()
    program = start("import labc\nfor n in range(500): labc.publish('t', n)")
    assert program.wait() == 0
    until(lambda: len(got) == 500)
    assert got == list(range(500))


def test_a_slow_handler_loses_the_oldest_and_nobody_else_suffers(serve, until) -> None:
    go, started, slow, fast, other = threading.Event(), threading.Event(), [], [], []

    @labc.subscribe(topic="slow", queue_size=10)
    def handler(value: int) -> None:
        started.set()
        go.wait(10.0)
        slow.append(value)

    labc.subscribe(fast.append, topic="slow")
    labc.subscribe(other.append, topic="other")
    serve(PUBLISHER)
    labc.call("publish", "slow", -1)
    assert started.wait(5.0)
    labc.call("burst", "slow", 100)
    labc.call("burst", "other", 50)
    until(lambda: len(fast) == 101)
    until(lambda: len(other) == 50)  # the same node's other topic, while the handler still waits
    assert slow == []
    [here] = [info for info in labc.nodes() if info.here]
    by_handler = {(t.topic, t.handler): t for t in here.topics}
    held = by_handler["slow", "handler"]
    assert (held.waiting, held.dropped, held.handled) == (10, 90, 0)
    assert here.dropped == 90
    go.set()
    until(lambda: len(slow) == 11)
    assert slow == [-1, *range(90, 100)]


def test_a_slow_coroutine_loses_the_oldest(serve, until) -> None:
    slow = []

    @labc.subscribe(topic="slow", queue_size=5)
    async def handler(value: int) -> None:
        slow.append(value)
        while value == -1 and len(fast) < 101:  # noqa: ASYNC110
            await asyncio.sleep(0.005)

    fast: list[int] = []
    labc.subscribe(fast.append, topic="slow")
    serve(PUBLISHER)
    labc.call("publish", "slow", -1)
    until(lambda: slow == [-1])
    labc.call("burst", "slow", 100)
    until(lambda: len(slow) == 6)
    assert slow == [-1, 95, 96, 97, 98, 99]


ERRORS = [ValueError, SystemExit, KeyboardInterrupt, asyncio.CancelledError, StopIteration, GeneratorExit]


def test_a_handler_that_raises_is_logged_and_lives_on(until, caplog) -> None:
    got = []

    @labc.subscribe(topic="t")
    def plain(value: int) -> None:
        if value < len(ERRORS):
            raise ERRORS[value]
        got.append(value)

    @labc.subscribe(topic="t")
    async def coroutine(value: int) -> None:
        if value < len(ERRORS):
            raise ERRORS[value]
        got.append(value)

    count = len(ERRORS)
    with caplog.at_level(logging.WARNING, "labc"):
        for number in range(count + 1):
            labc.publish("t", number)
        until(lambda: got == [count, count])
    handlers = [record.getMessage().split()[2] for record in caplog.records]
    assert sorted(handlers) == ["coroutine"] * count + ["plain"] * count
    [here] = labc.nodes()
    assert [(t.handled, t.failed) for t in here.topics] == [(1, count), (1, count)]


def test_a_handler_that_does_not_take_the_arguments(until, caplog) -> None:
    got = []
    labc.subscribe(lambda value: got.append(value), topic="t")
    labc.publish("t", 1, 2)
    labc.publish("t", wrong=1)
    labc.publish("t", 3)
    until(lambda: got == [3])
    assert sum("TypeError" in r.getMessage() for r in caplog.records) == 2


def test_handlers_use_the_network(serve, until) -> None:
    """A handler may call, publish, subscribe and close, itself too."""
    got = []
    serve(PUBLISHER)

    @labc.subscribe(topic="t")
    def plain(value: int) -> None:
        labc.call("publish", "u", value)
        plain.close()

    @labc.subscribe(topic="u")
    async def coroutine(value: int) -> None:
        await labc.aio.call("publish", "v", value)
        await labc.aio.publish("v", value)

    labc.subscribe(got.append, topic="v")
    labc.call("publish", "t", 1)
    until(lambda: got == [1, 1])
    until(lambda: "t" not in [t.topic for n in labc.nodes() for t in n.topics])


def test_messages(serve) -> None:
    serve(PUBLISHER)
    with labc.messages("a/*") as messages:
        labc.call("burst", "a/b", 3)
        labc.call("publish", "a/c", 1, 2)
        got = [(m.topic, m.value, m.sender.node) for _, m in zip(range(4), messages, strict=False)]
        assert got == [("a/b", n, "publisher") for n in range(3)] + [("a/c", (1, 2), "publisher")]
        assert messages.dropped == 0


def test_messages_that_are_not_read_are_counted(serve, until) -> None:
    serve(PUBLISHER)
    with labc.messages("t", queue_size=3) as messages:
        labc.call("burst", "t", 10)
        until(lambda: messages.dropped == 7)
        assert [next(messages).value for _ in range(3)] == [7, 8, 9]


def test_messages_end_with_the_node() -> None:
    messages = labc.messages("t")
    threading.Timer(0.2, labc.close).start()
    assert list(messages) == []
    messages.close()
    assert labc.node.process.nodes == []


def test_nothing_is_kept_for_who_comes_later(serve, until) -> None:
    before: list[int] = []
    labc.subscribe(before.append, topic="t")
    serve(PUBLISHER)
    labc.call("publish", "t", 1)
    until(lambda: before)
    got: list[int] = []
    labc.subscribe(got.append, topic="t")
    labc.call("publish", "t", 2)
    until(lambda: got)
    assert got == [2]


@pytest.mark.parametrize("size", [10, 300_000, 2_000_000])
def test_what_is_published_last_is_not_lost(start, until, size: int) -> None:
    """A program may end right after it has published, as the client of the first example does."""
    got: list[int] = []
    labc.subscribe(lambda number, data: got.append((number, len(data))), topic="t")
    labc.nodes()
    for number in range(5):
        program = start(f"import labc, sys; labc.publish('t', {number}, bytes({size}))")
        assert program.wait() == 0
        assert program.errors == ""
    until(lambda: got == [(number, size) for number in range(5)])


@pytest.mark.parametrize("topic", ["", "/a", "a/", "a//b", "a\n", "x" * 256, 7])
def test_topics_that_can_not_be_used(topic: str) -> None:
    with pytest.raises(labc.NameInvalidError):
        labc.publish(topic, 1)
    with pytest.raises(labc.NameInvalidError):
        labc.subscribe(print, topic=topic)
    with pytest.raises(labc.NameInvalidError):
        labc.messages(topic)


def test_wildcards_are_for_subscribing() -> None:
    for topic in ("*", "a/*", "**/b"):
        with pytest.raises(labc.NameInvalidError, match="wildcard"):
            labc.publish(topic, 1)
    for pattern in ("a*", "a/b*", "***"):
        with pytest.raises(labc.NameInvalidError, match="stand alone"):
            labc.subscribe(print, topic=pattern)


def test_any_printable_topic(until) -> None:
    for topic in ("a b", "größe/1", "a?b#c$d/%2F", "@x/y", "labc"):
        got: list[str] = []
        labc.subscribe(lambda got=got: got.append(labc.current_message().topic), topic=topic)
        labc.publish(topic)
        until(lambda got=got, topic=topic: got == [topic])


def test_a_value_that_can_not_be_published() -> None:
    with pytest.raises(labc.CarryError, match=r"args\[1\]\['x'\]"):
        labc.publish("t", 1, {"x": object()})


def test_latency_of_a_quiet_topic(serve, until) -> None:
    """Messages are not collected before they are delivered."""
    got = []
    labc.subscribe(lambda sent: got.append(time.time() - sent), topic="t")
    serve("import labc, time\nlabc.register(lambda: labc.publish('t', time.time()), name='p')\nlabc.serve()")
    for number in range(20):
        labc.call("p")
        until(lambda number=number: len(got) > number)
    assert sorted(got)[10] < 0.05


def test_an_iterator_that_is_let_go_of_ends_its_subscription(network: str, until) -> None:
    async def check() -> None:
        async with labc.Node(name="reader") as node:
            patterns = node.rooms()._topics._patterns._patterns
            iterator = node.messages("t")
            waiting = asyncio.create_task(anext(iterator))
            await asyncio.to_thread(until, lambda: patterns and patterns["t"].declared)
            await node.publish("t", 1)
            assert (await waiting).value == 1
            del iterator, waiting
            await asyncio.to_thread(until, lambda: not patterns)

    asyncio.run(check())


def test_threads_that_publish_to_more_topics_than_are_kept_ready(here, until) -> None:
    got: list[tuple[int, int]] = []
    labc.init(queue_size=10000)
    labc.subscribe(lambda *number: got.append(number), topic="many/**")
    labc.nodes()

    def publish(thread: int) -> None:
        for number in range(1500):
            labc.publish(f"many/{number}", thread, number)

    threads = [threading.Thread(target=publish, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    until(lambda: len(got) == 6000)
    assert sorted(got) == [(thread, number) for thread in range(4) for number in range(1500)]


def test_a_publication_that_comes_twice_is_taken_once(network: str) -> None:
    """The engine may bring one by two ways, while the roots find new ones to each other."""

    async def check() -> list[tuple[str, int]]:
        got: list[tuple[str, int]] = []
        ended = {"t": asyncio.Event(), "*": asyncio.Event()}

        async def take(pattern: str, value: int) -> None:
            got.append((pattern, value))
            if value == 5:
                ended[pattern].set()

        async with Node(name="publisher") as publisher, Node(name="subscriber") as subscriber:
            for pattern in ended:
                subscriber.subscribe(functools.partial(take, pattern), topic=pattern)
            await subscriber.declared()
            fabric, sender = publisher.rooms().fabric, Sender("host", "publisher", publisher.id)
            for value, number in [(1, 7), (2, 8), (1, 7), (2, 8), (3, 9), (4, 0), (4, 0), (5, 10)]:
                publication = pack(sender, time.time(), encode_arguments([value], {}), number=number)
                fabric.publish(fabric.keys.topic("t"), *publication)
            for event in ended.values():
                await event.wait()
        return got

    got = asyncio.run(asyncio.wait_for(check(), 10))
    for pattern in ("t", "*"):
        assert [value for taken_by, value in got if taken_by == pattern] == [1, 2, 3, 4, 4, 5]


def test_each_publication_of_a_node_has_a_number_of_its_own(network: str) -> None:
    async def check() -> list[tuple[str, int]]:
        found: list[tuple[str, int]] = []
        came = asyncio.Event()

        def take(publications: list[Publication]) -> None:
            found.extend(identity(each.attachment) for each in publications)
            came.set()

        async with Node(name="publisher") as publisher, Node(name="subscriber") as subscriber:
            fabric = subscriber.rooms().fabric
            await fabric.subscribe(fabric.keys.topic("**"), take, 1000)
            await fabric.spread()
            for value, retain in [(1, False), (bytes(100_000), False), (bytes(1_000_000), False), (2, True), (3, True)]:
                came.clear()
                await publisher.publish("t", value, retain=retain)
                await came.wait()
            for number in range(100):  # they travel together
                await publisher.publish("together", number)
            while len(found) < 7:
                came.clear()
                await came.wait()
            assert {node_id for node_id, _ in found} == {publisher.id}
        return found

    found = asyncio.run(asyncio.wait_for(check(), 20))
    assert all(number > 0 for _, number in found)
    assert len(set(found)) == len(found)
