"""What can be subscribed, and how its messages are handed to it."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import threading
from collections.abc import Callable
from typing import Any

import pytest

from labc.errors import NameInvalidError
from labc.registry import Registry
from labc.topics import Message, Subscription, current_message, make_subscription
from labc.topics.subscription import Delivery


def subscribed(
    function: Any, topic: str | None = None, when_full: Any = None, size: Any = None
) -> Subscription[..., Any]:
    return make_subscription(Registry(), function, topic, when_full, size)


def plain(*_: int) -> None: ...


class Device:
    function = "square"

    def __call__(self, *args: int) -> str:
        return "called"

    def show(self) -> None: ...


def test_the_topic() -> None:
    assert subscribed(plain).topic == "plain"
    assert subscribed(print).topic == "print"
    assert subscribed(Device().show).topic == "show"
    assert subscribed(plain, "a/*/**").topic == "a/*/**"


@pytest.mark.parametrize("function", [lambda: 1, functools.partial(plain), Device()])
def test_what_has_no_name_of_its_own(function: Any) -> None:
    with pytest.raises(NameInvalidError, match="say subscribe"):
        subscribed(function)
    assert subscribed(function, "t").topic == "t"


@pytest.mark.parametrize("topic", ["", "/", "a/", "/a", "a//b", "a*", "a/**b", 5])
def test_topics_that_can_not_be_used(topic: Any) -> None:
    with pytest.raises(NameInvalidError):
        subscribed(plain, topic)


@pytest.mark.parametrize(
    ("when_full", "size"), [("wait", None), (None, 0), (None, -1), (None, 2.5), (5, None), (None, True)]
)
def test_bad_options(when_full: Any, size: Any) -> None:
    with pytest.raises(ValueError, match="subscribe"):
        subscribed(plain, "t", when_full, size)


def test_what_can_not_be_called() -> None:
    with pytest.raises(TypeError, match="takes a function"):
        subscribed(5, "t")


def test_only_handles_are_unwrapped() -> None:
    assert subscribed(Device(), "t")() == "called"
    assert subscribed(subscribed(plain), "again").function is plain


def test_the_same_function_twice() -> None:
    registry: Registry[Any] = Registry()
    first = make_subscription(registry, plain, None, None, None)
    second = make_subscription(registry, plain, None, None, None)
    assert registry.entries() == [first, second]
    first.close()
    first.close()
    assert registry.entries() == [second]


async def in_any_thread(context: contextvars.Context, burst: Callable[[], None]) -> None:
    await asyncio.to_thread(context.run, burst)


def deliver(
    function: Any, work: Callable[[Delivery], Any], size: int = 100, in_thread: Callable[..., Any] = in_any_thread
) -> None:
    async def main() -> None:
        delivery = Delivery(subscribed(function, "t"), size, lambda: None, in_thread)
        async with asyncio.timeout(5.0):
            await work(delivery)
            await delivery.close()

    asyncio.run(main())


async def until(condition: Callable[[], Any]) -> None:
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.001)


def message(*args: Any, **kwargs: Any) -> Message:
    return Message("t/x", args, kwargs)


def test_one_after_the_other_in_order() -> None:
    got: list[int] = []
    running = [0]

    async def handler(value: int) -> None:
        running[0] += 1
        assert running[0] == 1
        await asyncio.sleep(0)
        got.append(value)
        running[0] -= 1

    async def work(delivery: Delivery) -> None:
        for number in range(50):
            delivery.put(message(number))
        await until(lambda: delivery.handled == 50)

    deliver(handler, work)
    assert got == list(range(50))


@pytest.mark.parametrize("is_async", [True, False])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, asyncio.CancelledError, GeneratorExit])
def test_what_a_handler_raises_does_not_end_the_delivery(is_async: bool, error: type[BaseException]) -> None:
    def handler(value: int) -> None:
        if value < 3:
            raise error

    async def async_handler(value: int) -> None:
        handler(value)

    async def work(delivery: Delivery) -> None:
        for number in range(6):
            delivery.put(message(number))
        await until(lambda: (delivery.handled, delivery.failed) == (3, 3))

    deliver(async_handler if is_async else handler, work)


def test_the_message_is_known_to_its_handler_only() -> None:
    seen: list[str] = []

    async def work(delivery: Delivery) -> None:
        delivery.put(message(1))
        await until(lambda: seen)
        with pytest.raises(LookupError):
            current_message()

    deliver(lambda _: seen.append(current_message().topic), work)
    assert seen == ["t/x"]


def test_a_closed_subscription_takes_no_more_but_handles_what_waits() -> None:
    got: list[int] = []

    async def work(delivery: Delivery) -> None:
        delivery.put(message(1))
        delivery.put(message(2))
        delivery.subscription.close()
        delivery.put(message(3))
        delivery.finish()
        await until(lambda: got == [1, 2])

    deliver(got.append, work)
    assert got == [1, 2]


def test_a_publisher_that_is_held_waits_for_room() -> None:
    go = asyncio.Event()

    async def handler(_: int) -> None:
        await go.wait()

    async def work(delivery: Delivery) -> None:
        delivery.put(message(0))
        await until(lambda: len(delivery.queue) == 0)
        delivery.put(message(1))
        held = [asyncio.create_task(delivery.put_when_room(message(n))) for n in (2, 3)]
        await asyncio.sleep(0.02)
        assert not any(task.done() for task in held)
        go.set()
        await asyncio.gather(*held)
        await until(lambda: delivery.handled == 4)
        assert delivery.queue.dropped == 0
        assert delivery.held_back == 2

    deliver(handler, work, size=1)


def test_a_publisher_waits_for_room_and_not_for_the_handler() -> None:
    may_begin, may_end = asyncio.Event(), threading.Event()

    async def in_thread(context: contextvars.Context, burst: Callable[[], None]) -> None:
        await may_begin.wait()
        await asyncio.to_thread(context.run, burst)

    async def work(delivery: Delivery) -> None:
        delivery.put(message(0), message(1))
        held = [asyncio.create_task(delivery.put_when_room(message(n))) for n in (2, 3)]
        await asyncio.sleep(0.01)
        may_begin.set()
        await until(lambda: any(task.done() for task in held))
        assert delivery.handled == 0
        assert not all(task.done() for task in held)
        may_end.set()
        await asyncio.gather(*held)
        await until(lambda: delivery.handled == 4)
        assert delivery.queue.dropped == 0

    deliver(lambda _: may_end.wait(), work, 2, in_thread)


def test_who_is_held_goes_on_when_the_subscription_closes() -> None:
    async def handler(_: int) -> None:
        await asyncio.Event().wait()

    async def work(delivery: Delivery) -> None:
        delivery.put(message(0))
        await until(lambda: len(delivery.queue) == 0)
        delivery.put(message(1))
        held = asyncio.create_task(delivery.put_when_room(message(2)))
        await asyncio.sleep(0)
        delivery.subscription.close()
        delivery.finish()
        await held

    deliver(handler, work, size=1)
