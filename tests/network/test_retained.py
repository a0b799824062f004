"""``publish(..., retain=True)``, ``last`` and ``forget``: who comes later gets the last value, once."""

from __future__ import annotations

import asyncio
import logging
import threading
import time

import numpy as np
import pytest

import labc
from labc import aio

pytestmark = pytest.mark.usefixtures("here")

PUBLISHER = """
import labc, sys, threading, time
labc.init(name="publisher")

@labc.register
def retain(topic, /, *args, **kwargs):
    labc.publish(topic, *args, retain=True, **kwargs)

@labc.register
def retain_many(count, retain=True, topic="many"):
    # The seconds that it takes.
    began = time.monotonic()
    for number in range(count):
        labc.publish(f"{topic}/{number}", number, retain=retain)
    return time.monotonic() - began

going = threading.Event()

@labc.register
def keep_retaining(topic, plain=False):
    # Until stop() is called. Returns the number of the last one.
    going.set()
    number = 0
    while going.is_set():
        number += 1
        labc.publish(topic, number, retain=True)
        if plain:
            number += 1
            labc.publish(topic, number)
        time.sleep(0.001)  # a flood would be dropped, on a busy machine
    labc.publish(topic, number + 1, retain=True)
    return number + 1

@labc.register(run="loop")
def stop(): going.clear()

@labc.register(run="loop")
def from_the_loop(topic, value):
    labc.publish(topic, value, retain=True)

labc.serve()
"""


def take(pattern: str, count: int) -> list[labc.Message]:
    with labc.messages(pattern) as messages:
        return [message for _, message in zip(range(count), messages, strict=False)]


def test_who_subscribes_later_gets_the_last_value(serve, until) -> None:
    serve(PUBLISHER)
    with labc.messages("lab/*") as live:  # until they have come: who subscribes meanwhile gets the last one live
        labc.call("retain", "lab/door", "open")
        labc.call("retain", "lab/door", "closed", by="Ada")
        labc.call("retain", "lab/window", "open")
        assert [message.retained for _, message in zip(range(3), live, strict=False)] == [False] * 3
    got = []

    @labc.subscribe(topic="lab/*")
    def handler(*args: str, **kwargs: str) -> None:
        message = labc.current_message()
        got.append((message.topic, args, kwargs, message.retained, message.sender.node))

    expected = [
        ("lab/door", ("closed",), {"by": "Ada"}, True, "publisher"),
        ("lab/window", ("open",), {}, True, "publisher"),
    ]
    until(lambda: sorted(got) == expected)
    labc.call("retain", "lab/door", "ajar")
    until(lambda: got[2:] == [("lab/door", ("ajar",), {}, False, "publisher")])
    handler.close()


def test_each_subscription_gets_it_once(until) -> None:
    labc.publish("t", 1, retain=True)
    got: list[tuple[str, int]] = []

    def subscribe(name: str, topic: str, when_full: str) -> None:
        labc.subscribe(lambda value: got.append((name, value)), topic=topic, when_full=when_full)

    subscribe("plain", "t", "drop-oldest")
    subscribe("plain again", "t", "drop-oldest")
    subscribe("pattern", "**", "drop-oldest")
    subscribe("held", "t", "hold")
    names = ["held", "pattern", "plain", "plain again"]
    until(lambda: sorted(got) == [(name, 1) for name in names])
    labc.publish("t", 2, retain=True)
    until(lambda: sorted(got[4:]) == [(name, 2) for name in names])
    time.sleep(1.2)  # a subscription that holds back has asked a second time by now
    labc.publish("t", 3)
    until(lambda: sorted(got[8:]) == [(name, 3) for name in names])


def test_what_is_not_retained_is_gone(until) -> None:
    labc.publish("t", 1, retain=True)
    labc.publish("t", 2)
    assert labc.last("t").value == 1
    assert [message.value for message in take("t", 1)] == [1]


def test_messages_has_the_values_at_once() -> None:
    for number in range(5):
        labc.publish(f"t/{number}", number, retain=True)
    with labc.messages("t/*") as messages:
        labc.publish("t/5", 5, retain=True)
        got = [message for _, message in zip(range(6), messages, strict=False)]
    assert sorted(message.value for message in got[:5]) == list(range(5))
    assert [message.retained for message in got] == [True] * 5 + [False]
    assert got[5].value == 5


def test_the_last_one() -> None:
    with pytest.raises(labc.NotFoundError, match="no value of the topic 't' is retained") as caught:
        labc.last("t")
    assert caught.value.kind == "value"
    labc.publish("t", 1, 2, x=3, retain=True)
    message = labc.last("t")
    assert (message.topic, message.args, message.kwargs, message.retained) == ("t", (1, 2), {"x": 3}, True)
    assert message.time is not None
    with pytest.raises(labc.NameInvalidError):
        labc.last("*")


def test_the_same_in_asyncio() -> None:
    async def main() -> None:
        async with aio.Node(name="async") as node:
            await node.publish("t", "value", retain=True)
            assert (await node.last("t")).value == "value"
            async with node.messages("t") as messages:
                assert (await anext(messages)).value == "value"
            await node.forget("t")
            with pytest.raises(labc.NotFoundError):
                await node.at(timeout=1.0).last("t")

    asyncio.run(main())


def test_from_the_nodes_own_loop(serve, until) -> None:
    serve(PUBLISHER)
    labc.call("from_the_loop", "t", 5)
    until(lambda: take("t", 1)[0].value == 5)


def test_forget(serve) -> None:
    serve(PUBLISHER)
    labc.publish("t", 1, retain=True)
    labc.call("retain", "t", 2)
    labc.call("retain", "u", 3)
    labc.forget("t")
    labc.forget("never")
    with pytest.raises(labc.NotFoundError):
        labc.last("t")
    assert take("**", 1)[0].value == 3
    labc.publish("t", 4, retain=True)
    assert labc.last("t").value == 4


def test_retain_is_true_or_false() -> None:
    with pytest.raises(TypeError, match="expected True or False"):
        labc.publish("t", retain="forever")  # type: ignore[arg-type]
    got: list[dict[str, int]] = []
    done = threading.Event()
    labc.subscribe(lambda **kwargs: (got.append(kwargs), done.set()), topic="t")
    labc.publish("t", retain=False, x=1)
    assert done.wait(5.0)
    assert got == [{"x": 1}]


def test_arrays(serve) -> None:
    image = np.arange(600_000, dtype=np.uint8).reshape(2, 300, 1000)
    labc.publish("camera", image, name="left", retain=True)
    (message,) = take("camera", 1)
    assert np.array_equal(message.value, image)
    assert message.kwargs == {"name": "left"}
    serve(PUBLISHER)
    labc.call("retain", "copy", image)
    assert np.array_equal(labc.last("copy").value, image)


def test_what_is_kept_is_bounded(caplog) -> None:
    labc.init(max_retained=3, max_retained_bytes=10_000)
    with caplog.at_level(logging.WARNING, "labc.topics"):
        for number in range(6):
            labc.publish(f"t/{number}", number, retain=True)
    assert [message.value for message in take("t/*", 3)] == [3, 4, 5]
    (info,) = labc.nodes()
    assert (info.retained, info.retained_dropped) == (3, 3)
    assert [record.message for record in caplog.records] == [
        "more is retained here than max_retained (values) or max_retained_bytes allow: the oldest are dropped"
    ]
    labc.publish("large", bytes(6000), retain=True)
    labc.publish("large2", bytes(6000), retain=True)
    assert len(labc.last("large2").value) == 6000
    with pytest.raises(labc.NotFoundError):
        labc.last("large")
    with pytest.raises(labc.OverloadedError, match="max_retained_bytes is 10000: it was neither"):
        labc.publish("too large", bytes(20_000), retain=True)


def test_a_publisher_with_more_than_its_root_keeps_does_not_ask_on_and_on(serve, until) -> None:
    labc.init(max_retained=10)
    labc.publish("first", 0, retain=True)
    serve(PUBLISHER)
    labc.call("retain_many", 50)

    def dropped_here() -> int:
        return next(info for info in labc.nodes() if info.here).retained_dropped

    until(lambda: dropped_here() >= 41)  # of 51, 10 stay
    dropped = dropped_here()
    time.sleep(0.5)
    assert dropped_here() - dropped <= 50


@pytest.mark.parametrize("when_full", ["drop-oldest", "hold"])
def test_more_values_than_the_queue_holds(serve, until, when_full: str) -> None:
    serve(PUBLISHER)
    passed: list[int] = []
    labc.subscribe(passed.append, topic="many/**")
    labc.call("retain_many", 300)
    until(lambda: len(passed) == 300)  # those that are on their way still would come as they are published
    got: list[int] = []
    labc.subscribe(got.append, topic="many/*", when_full=when_full, queue_size=4)
    until(lambda: len(got) == 300)
    assert sorted(got) == list(range(300))


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("when_full", ["drop-oldest", "hold"])
def test_no_value_twice_and_none_out_of_order_when_it_begins_in_a_burst(
    serve, until, when_full: str, plain: bool
) -> None:
    serve(PUBLISHER)
    last: list[int] = []
    burst = threading.Thread(target=lambda: last.append(labc.call("keep_retaining", "t", plain)))
    burst.start()
    got: list[list[int]] = []
    for _ in range(10):
        values: list[int] = []
        got.append(values)
        labc.subscribe(values.append, topic="t", when_full=when_full, queue_size=100_000)
    for values in got:
        until(lambda values=values: len(values) > 3)
    labc.call("stop")
    burst.join(10.0)
    for values in got:
        until(lambda values=values: values[-1] == last[0], timeout=20.0)
        assert values == sorted(set(values)), "a value came twice, or an older one after a newer one"


def test_thousands_are_published_in_seconds(serve) -> None:
    labc.publish("first", 0, retain=True)
    serve(PUBLISHER)
    took = labc.call("retain_many", 5000)
    plain = labc.call("retain_many", 5000, retain=False, topic="plain")
    with labc.messages("many/*", queue_size=10_000) as messages:
        values = {message.value for _, message in zip(range(5000), messages, strict=False)}
    assert values == set(range(5000))
    assert took < 2 + 8 * plain, f"{took:.1f} s, without retain {plain:.1f} s"


def test_who_leaves_in_good_order_leaves_its_values(serve) -> None:
    publisher = serve(PUBLISHER)  # the root
    labc.call("retain", "t", 1)
    publisher.terminate()
    publisher.wait()
    assert labc.at(timeout=5.0).last("t").value == 1


def test_a_value_published_at_the_very_end(start) -> None:
    labc.publish("first", 0, retain=True)
    program = start("import labc\nfor n in range(100): labc.publish(f't/{n}', n, retain=True)")
    assert program.wait(20.0) == 0
    assert sorted(message.value for message in take("t/*", 100)) == list(range(100))
