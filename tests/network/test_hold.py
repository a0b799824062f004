"""``when_full="hold"``: nothing is lost, the publisher waits, and a lost subscriber holds up nobody."""

from __future__ import annotations

import threading
import time

import pytest

import labc

pytestmark = pytest.mark.usefixtures("here")

SUBSCRIBER = """
import labc, threading
go = threading.Event()
got = []

@labc.subscribe(topic="data/*", when_full="hold", queue_size=4)
def handler(value):
    go.wait()
    got.append(value)

@labc.register(run="loop")
def release(): go.set()

@labc.register(run="loop")
def handled(): return got

@labc.register
def close(): handler.close()

labc.serve()
"""

PUBLISHER = """
import labc, sys
published = 0

@labc.register
def burst(count):
    global published
    for number in range(count):
        labc.publish("data/x", number)
        published += 1
    return published

@labc.register
async def burst_aio(count):
    global published
    from labc import aio
    for number in range(count):
        await aio.publish("data/x", number)
        published += 1

@labc.register(run="loop")
def done(): return published

labc.serve()
"""


@pytest.mark.parametrize("verb", ["burst", "burst_aio"])
def test_nothing_is_lost_and_the_publisher_waits(serve, until, verb: str) -> None:
    serve(SUBSCRIBER)
    serve(PUBLISHER)
    burst = threading.Thread(target=labc.call, args=(verb, 50))
    burst.start()
    until(lambda: labc.call("done") == 5)  # one is handled, four wait
    time.sleep(0.2)
    assert labc.call("done") == 5
    assert labc.call("handled") == []
    labc.call("release")
    burst.join(5.0)
    until(lambda: labc.call("handled") == list(range(50)))


def test_several_publishers_keep_their_order(serve, until) -> None:
    serve(SUBSCRIBER)
    labc.call("handled")
    labc.call("release")
    until(lambda: True)

    def publish(name: str) -> None:
        for number in range(40):
            labc.publish("data/x", (name, number))

    publishers = [threading.Thread(target=publish, args=(name,)) for name in "abc"]
    for publisher in publishers:
        publisher.start()
    for publisher in publishers:
        publisher.join(10.0)
    handled = until(lambda: len(got := labc.call("handled")) == 120 and got)
    for name in "abc":
        assert [number for who, number in handled if who == name] == list(range(40))


def test_the_timeout_of_a_publisher_that_is_held_back(serve) -> None:
    serve(SUBSCRIBER)
    labc.nodes()
    for number in range(5):
        labc.publish("data/x", number)
    started = time.monotonic()
    with pytest.raises(TimeoutError) as caught:
        labc.at(timeout=0.3).publish("data/x", 5)
    assert isinstance(caught.value, labc.LabcError)
    assert 0.25 < time.monotonic() - started < 0.7


def test_a_subscriber_killed_while_it_holds(serve, until) -> None:
    subscriber = serve(SUBSCRIBER)
    serve(PUBLISHER)
    burst = threading.Thread(target=labc.call, args=("burst", 500))
    burst.start()
    until(lambda: labc.call("done") == 5)
    subscriber.kill()
    killed = time.monotonic()
    burst.join(10.0)
    assert not burst.is_alive()
    assert time.monotonic() - killed < 3.0
    assert labc.call("done") == 500


def test_a_subscriber_that_closes_while_it_holds(serve, until) -> None:
    serve(SUBSCRIBER)
    serve(PUBLISHER)
    burst = threading.Thread(target=labc.call, args=("burst", 200))
    burst.start()
    until(lambda: labc.call("done") == 5)
    labc.call("close")
    burst.join(5.0)
    assert not burst.is_alive()


def test_other_subscribers_do_not_wait(serve, until) -> None:
    """The others of the topic get each message when it is published, not when the holder has room."""
    got: list[int] = []
    labc.subscribe(got.append, topic="data/x")
    serve(SUBSCRIBER)
    serve(PUBLISHER)
    burst = threading.Thread(target=labc.call, args=("burst", 20))
    burst.start()
    try:
        until(lambda: got == [0, 1, 2, 3, 4, 5])
    finally:
        assert got == [0, 1, 2, 3, 4, 5], labc.call("done")
    labc.call("release")
    burst.join(5.0)
    until(lambda: got == list(range(20)))


def test_two_that_hold_in_one_node(serve, until) -> None:
    got: list[tuple[str, int]] = []
    first = labc.subscribe(lambda v: got.append(("a", v)), topic="data/*", when_full="hold")
    second = labc.subscribe(lambda v: got.append(("b", v)), topic="data/*", when_full="hold")
    serve(PUBLISHER)
    labc.call("burst", 2)
    until(lambda: sorted(got) == [("a", 0), ("a", 1), ("b", 0), ("b", 1)])
    first.close()
    labc.call("burst", 1)
    until(lambda: got[4:] == [("b", 0)])
    second.close()
    labc.call("burst", 1)
    labc.subscribe(lambda v: got.append(("c", v)), topic="data/*", when_full="hold")
    labc.call("burst", 1)
    until(lambda: got[5:] == [("c", 0)])


def test_as_a_setting_of_the_node(start, serve, until) -> None:
    program = start(
        """
        import labc, threading
        labc.init(when_full="hold", queue_size=2)
        go = threading.Event()

        @labc.subscribe(topic="data/x")
        def handler(value):
            go.wait()
            print(value, flush=True)

        labc.nodes()
        print("ready", flush=True)
        input()
        go.set()
        labc.serve()
        """
    )
    program.expect("ready")
    serve(PUBLISHER)
    burst = threading.Thread(target=labc.call, args=("burst", 10))
    burst.start()
    until(lambda: labc.call("done") == 3)
    program.send_line("")
    burst.join(5.0)
    for number in range(10):
        program.expect(str(number))
