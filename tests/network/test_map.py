"""One function, many providers: who is given what, as they come and go, and what becomes of each item."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import itertools
import signal
import threading
import time
import tracemalloc
import weakref
from collections import Counter

import numpy
import pytest

import labc
from labc import aio

pytestmark = pytest.mark.usefixtures("here")

FUNCTIONS = """
import asyncio, os, signal, sys, threading, time
import labc

running = 0
most = 0
seen = []
cancelled = []
lock = threading.Lock()

def double(x):
    if x == 13:
        raise KeyError("unlucky")
    return 2 * x

async def double_aio(x):
    return double(x)

def timed(x):
    global running, most
    with lock:
        running += 1
        most = max(most, running)
    time.sleep(0.02)
    with lock:
        running -= 1
    return x

def most_at_once():
    return most

async def slow(seconds):
    seen.append(seconds)
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        cancelled.append(seconds)
        raise
    return seconds

def cancelled_so_far():
    return cancelled

def seen_so_far():
    return seen

def die(x):
    if x == "now":
        os.kill(os.getpid(), signal.SIGKILL)
    return x

def size(array):
    return array.shape, int(array[0, 0])

def two(a, b):
    return a

def doubled(values):
    for value in values:
        yield 2 * value

def doubled_list(values):
    return [2 * value for value in values]

labc.register(doubled_list, name="doubled list")

def unfit(x):
    return threading.Lock() if x == 1 else x

for function in (double, double_aio, timed, most_at_once, slow, cancelled_so_far, seen_so_far):
    labc.register(function)
for function in (die, size, two, unfit, doubled):
    labc.register(function)
"""
SERVER = FUNCTIONS + "\nlabc.serve()\n"


@pytest.fixture
def three(serve):
    return [serve(SERVER, name=f"w{number}") for number in range(3)]


def values(outcomes) -> list:
    return [outcome.result() for outcome in outcomes]


@pytest.mark.parametrize("name", ["double", "double_aio"])
@pytest.mark.parametrize("n", [0, 1, 13])
def test_outcomes_in_the_order_of_the_items(anywhere, name, n) -> None:
    assert values(labc.map(name, range(n))) == [2 * x for x in range(n)]


def test_all_who_offer_it_take_part(three, until) -> None:
    until(lambda: len(labc.nodes()) == 4)
    mapped = labc.map("timed", range(60))
    assert values(mapped) == list(range(60))
    assert sum(mapped.shares.values()) == 60
    assert set(mapped.shares) == {"w0", "w1", "w2"}
    assert min(mapped.shares.values()) > 10, mapped.shares


def test_the_outcome_says_who_ran_it(serve) -> None:
    serve(SERVER, name="w")
    (outcome,) = labc.map("double", [4])
    assert (outcome.value, outcome.node, outcome.host, outcome.ok) == (8, "w", labc.nodes()[0].host, True)


def test_as_they_finish(anywhere) -> None:
    found = list(labc.map("slow", [0.4, 0.0, 0.1], ordered=False, window=3))
    assert [(index, outcome.value) for index, outcome in found] == [(1, 0.0), (2, 0.1), (0, 0.4)]


def test_an_item_that_fails_is_an_outcome(anywhere) -> None:
    outcomes = list(labc.map("double", range(12, 16)))
    assert [outcome.value for outcome in outcomes] == [24, None, 28, 30]
    failed = outcomes[1]
    assert not failed.ok
    assert isinstance(failed.error, labc.RemoteError)
    assert failed.error.type == "KeyError"
    with pytest.raises(labc.RemoteError, match="unlucky"):
        failed.result()


def test_what_cannot_be_carried_is_an_outcome_of_its_item(anywhere) -> None:
    outcomes = list(labc.map("double", [1, [threading.Lock()], 3]))
    assert [outcome.value for outcome in outcomes] == [2, None, 6]
    assert isinstance(outcomes[1].error, labc.CarryError)
    assert outcomes[1].error.where == "items[1][0]"
    assert outcomes[1].node == ""
    answers = list(labc.map("unfit", range(3)))
    assert [outcome.ok for outcome in answers] == [True, False, True]


def test_arguments_that_do_not_fit(anywhere) -> None:
    (outcome,) = labc.map("two", [1])
    assert isinstance(outcome.error, labc.ArgumentsError)


@pytest.mark.parametrize("window", [1, 3])
def test_no_node_has_more_than_its_window(serve, window) -> None:
    serve(SERVER)
    assert values(labc.map("timed", range(20), window=window)) == list(range(20))
    assert labc.call("most_at_once") == window


def test_endless_items_are_read_as_they_are_needed(anywhere) -> None:
    read = []
    closed = threading.Event()

    def numbers():
        try:
            for number in itertools.count():
                read.append(number)
                yield number + 100
        finally:
            closed.set()

    mapped = labc.map("double", numbers())
    assert values(itertools.islice(mapped, 300)) == [2 * (x + 100) for x in range(300)]
    mapped.close()
    assert closed.wait(5)
    assert list(mapped) == []


def test_items_are_not_read_far_ahead(serve) -> None:
    """Of work that is slow only what keeps the workers busy, of work that is quick what its reader may be behind."""
    labc.init(stream_items=50)
    serve(SERVER)
    slow, quick = Reading(), Reading()
    with labc.map("slow", slow.of(60.0), window=2), labc.map("double", quick.of(1)) as mapped:
        slow.until_still()
        assert slow.count <= 2 + 2 + 1  # under way, waiting, and one that waits for room
        quick.until_still()
        assert 20 < quick.count <= 51
        assert next(mapped).value == 2
    slow.until_closed()
    quick.until_closed()


class Reading:
    """An iterable that counts how often it was read."""

    def __init__(self) -> None:
        self.count = 0
        self.closed = threading.Event()

    def of(self, value):
        try:
            while True:
                self.count += 1
                yield value
        finally:
            self.closed.set()

    def until_still(self) -> None:
        """It has not been read for half a second."""
        deadline = time.monotonic() + 10
        before = -1
        while before != self.count or not self.count:
            assert time.monotonic() < deadline, f"still read, {self.count} times by now"
            before = self.count
            time.sleep(0.5)

    def until_closed(self) -> None:
        assert self.closed.wait(5)


def test_a_large_outcome_holds_reading_back(serve) -> None:
    labc.init(stream_bytes=1_000_000)
    serve("import labc\n@labc.register\ndef large(x): return bytes(400_000)\nlabc.serve()")
    reading = Reading()
    with labc.map("large", reading.of(1), window=1) as mapped:
        reading.until_still()
        assert reading.count <= 8
        assert [len(outcome.value) for outcome in itertools.islice(mapped, 30)] == [400_000] * 30


def test_items_that_come_slowly_are_given_on_at_once(serve) -> None:
    serve(SERVER)
    go_on = threading.Semaphore(0)

    def numbers():
        for number in range(3):
            go_on.acquire()
            yield number

    mapped = labc.map("double", numbers())
    for number in range(3):
        go_on.release()
        assert next(mapped).value == 2 * number
    assert list(mapped) == []


def test_what_the_items_raise_comes_after_the_outcomes_before(anywhere) -> None:
    def numbers():
        yield 1
        yield 2
        raise KeyError("no more")

    mapped = labc.map("double", numbers())
    assert [next(mapped).value, next(mapped).value] == [2, 4]
    for _ in range(2):
        with pytest.raises(KeyError, match="no more"):
            next(mapped)


def test_large_items_that_are_written_to_again(anywhere) -> None:
    def pictures():
        picture = numpy.empty((1000, 1000))
        for number in range(10):
            picture[:] = number
            yield picture

    assert values(labc.map("size", pictures())) == [((1000, 1000), number) for number in range(10)]


def test_nobody_offers_it(here) -> None:
    read = []
    began = time.monotonic()
    with pytest.raises(labc.NotFoundError, match="nothing"):
        labc.at(find_timeout=0.2).map("nothing", (read.append(x) for x in range(3)))
    assert time.monotonic() - began < 3
    assert read == []


def test_a_node_that_comes_later_takes_part(serve) -> None:
    serve(SERVER, name="w0")
    mapped = labc.map("timed", itertools.count(), window=1)
    assert next(mapped).node == "w0"
    serve(SERVER, name="w1")
    deadline = time.monotonic() + 10
    while "w1" not in mapped.shares:
        assert time.monotonic() < deadline
        next(mapped)
    mapped.close()


def test_a_node_that_leaves_gives_its_items_to_others(three, until) -> None:
    until(lambda: len(labc.nodes()) == 4)
    mapped = labc.map("timed", range(300), window=2)
    found = [next(mapped).result() for _ in range(30)]
    three[1].send_signal(signal.SIGTERM)
    assert found + values(mapped) == list(range(300))


def test_a_function_that_is_withdrawn(serve, until) -> None:
    serve(SERVER, name="w0")
    registration = labc.register(lambda x: time.sleep(0.01) or x, name="timed")
    until(lambda: len(labc.nodes()) == 2)
    mapped = labc.map("timed", range(200))
    found = [next(mapped).result() for _ in range(20)]
    registration.close()
    assert found + values(mapped) == list(range(200))


@pytest.mark.parametrize(("retry", "tries"), [(True, 4), (False, 1), (1, 2)])
def test_an_item_that_kills_its_workers(serve, until, retry, tries) -> None:
    for number in range(5):
        serve(SERVER, name=f"w{number}")
    until(lambda: len(labc.nodes()) == 6)
    outcomes = list(labc.map("die", [*range(4), "now", *range(4)], retry=retry, window=1))
    assert [outcome.value for outcome in outcomes] == [*range(4), None, *range(4)]
    assert isinstance(outcomes[4].error, labc.PeerLostError)
    until(lambda: len(labc.nodes()) == 6 - tries)


def test_when_nobody_is_left(serve) -> None:
    server = serve(SERVER, name="w0")
    mapped = labc.at(find_timeout=0.5).map("timed", range(1000), retry=True)
    found = [next(mapped).result() for _ in range(10)]
    server.kill()
    with pytest.raises(labc.NotFoundError):
        found.extend(outcome.result() for outcome in mapped)
    assert found == list(range(len(found)))


def test_when_somebody_comes_in_time(serve) -> None:
    server = serve(SERVER, name="w0")
    mapped = labc.at(find_timeout=20).map("timed", range(100))
    found = [next(mapped).result() for _ in range(10)]
    server.kill()
    serve(SERVER, name="w1")
    assert found + values(mapped) == list(range(100))


def test_items_that_take_too_long(serve) -> None:
    serve(SERVER)
    outcomes = list(labc.map("slow", [0.0, 30.0, 0.0], timeout=0.4))
    assert [outcome.ok for outcome in outcomes] == [True, False, True]
    assert isinstance(outcomes[1].error, labc.CallTimeoutError)
    (outcome,) = labc.at(timeout=0.2).map("slow", [30.0])
    assert isinstance(outcome.error, labc.CallTimeoutError)


def test_without_a_timeout_items_take_as_long_as_they_take(serve) -> None:
    labc.init(timeout=0.2)
    serve(SERVER)
    assert values(labc.map("slow", [0.6])) == [0.6]


def test_within_a_call_that_will_not_be_waited_for_longer(serve) -> None:
    serve(SERVER)

    @labc.register
    def spread():
        return [type(outcome.error).__name__ for outcome in labc.map("slow", [30.0])]

    with pytest.raises(labc.CallTimeoutError):
        labc.at(timeout=0.5).call("spread")
    assert_cancelled(0)


def assert_cancelled(finished: int) -> None:
    """All that began, and more than those that came to their end."""
    deadline = time.monotonic() + 5
    while (began := len(labc.call("seen_so_far"))) == finished or len(labc.call("cancelled_so_far")) < began - finished:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("how", ["close", "break", "with"])
def test_what_is_under_way_is_cancelled_when_it_is_let_go_of(serve, how) -> None:
    serve(SERVER)
    items = [0.0, *[30.0] * 100]
    match how:
        case "close":
            mapped = labc.map("slow", items)
            next(mapped)
            mapped.close()
            mapped.close()
        case "break":
            for _ in labc.map("slow", items):
                break
            gc.collect()
        case "with":
            with labc.map("slow", items) as mapped:
                next(mapped)
    assert_cancelled(1)


def test_a_provider_that_takes_no_more_calls_is_asked_again(serve, until) -> None:
    serve(SERVER, name="busy", LABC_MAX_CALLS="3")
    for _ in range(3):
        threading.Thread(target=lambda: labc.call("slow", 1.0), daemon=True).start()
    until(lambda: [node.running for node in labc.nodes() if node.name == "busy"] == [3])
    with pytest.raises(labc.OverloadedError):
        labc.call("double", 1)
    with pytest.raises(labc.OverloadedError):
        list(labc.at(find_timeout=0.1).map("double", range(10)))
    assert values(labc.at(find_timeout=10).map("double", range(10))) == [2 * x for x in range(10)]


def test_who_refuses_is_left_out(serve, until) -> None:
    serve(SERVER, name="open")
    serve(SERVER, name="closed", LABC_ACCESS="call double=nobody")
    until(lambda: len(labc.nodes()) == 3)
    mapped = labc.map("double", range(14, 60))
    assert values(mapped) == [2 * x for x in range(14, 60)]
    assert set(mapped.shares) == {"open"}
    with pytest.raises(labc.RefusedError):
        list(labc.at(node="closed").map("double", range(10)))


def test_who_was_stopped_takes_part_again(three, until) -> None:
    until(lambda: len(labc.nodes()) == 4)
    mapped = labc.map("timed", itertools.count())
    next(mapped)
    three[1].stop()
    deadline = time.monotonic() + 20

    def read_until(condition) -> None:
        while not condition():
            assert time.monotonic() < deadline, mapped.shares
            next(mapped)

    read_until(lambda: mapped.shares.get("w0", 0) > 300)
    without = mapped.shares.get("w1", 0)
    assert without < 50
    three[1].cont()
    read_until(lambda: mapped.shares.get("w1", 0) > without + 20)
    mapped.close()


def test_workers_of_one_name(serve, until) -> None:
    for _ in range(2):
        serve(SERVER, name="worker")
    until(lambda: len(labc.nodes()) == 3)
    mapped = labc.map("timed", range(40))
    assert values(mapped) == list(range(40))
    assert len(mapped.shares) == 2
    assert sum(mapped.shares.values()) == 40
    assert all(name.startswith("worker on ") for name in mapped.shares)


def test_an_item_whose_attributes_fail_is_an_outcome_of_its_own(anywhere) -> None:
    @dataclasses.dataclass
    class Broken:
        x: int = 0

        def __getattribute__(self, name):
            if name == "x":
                raise ValueError("no x")
            return super().__getattribute__(name)

    outcomes = list(labc.map("double", [1, Broken(), 3]))
    assert [outcome.value for outcome in outcomes] == [2, None, 6]
    assert isinstance(outcomes[1].error, labc.CarryError)
    assert outcomes[1].error.where == "items[1]"


def test_failed_outcomes_do_not_keep_their_items(anywhere) -> None:
    kept = []

    def items():
        for _ in range(20):
            item = numpy.zeros(100_000)
            kept.append(weakref.ref(item))
            yield item

    outcomes = list(labc.map("two", items()))
    assert not any(outcome.ok for outcome in outcomes)
    gc.collect()
    assert [item for item in kept if item() is not None] == []
    size = tracemalloc_of(lambda: list(labc.map("two", [bytes(1_000_000)] * 20)))
    assert size < 5_000_000


def tracemalloc_of(make) -> int:
    """Bytes that what it makes keeps in memory."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        made = make()
        gc.collect()
        size = tracemalloc.get_traced_memory()[0] - before
        del made
        return size
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("verb", ["map", "stream", "call"])
def test_asynchronous_values_where_the_loop_is_blocked(serve, verb) -> None:
    """As in a notebook, where blocking verbs are called on a loop."""
    serve(SERVER)

    async def numbers():
        for number in range(3):
            yield number

    async def main():
        if verb == "map":
            return values(labc.map("double", numbers()))
        if verb == "stream":
            return list(labc.at(timeout=10).stream("doubled", labc.outgoing(numbers())))
        return labc.at(timeout=10).call("doubled list", labc.outgoing(numbers()))

    assert asyncio.run(main()) == [0, 2, 4]


def test_cancelled_anywhere_before_the_first_outcome_nothing_is_lost(serve) -> None:
    serve(SERVER)

    def items():
        yield from range(6)

    async def main() -> None:
        async with labc.Node(name="reader", network=labc.blocking.portal.node().settings.network) as node:
            await node.call("double", 1)
            for after in range(150):
                mapped = node.map("double", items())
                first = asyncio.ensure_future(anext(mapped))
                for _ in range(after // 3):
                    await asyncio.sleep(0)
                if after % 3:
                    await asyncio.sleep(after * 1e-5)
                first.cancel()
                found = []
                try:
                    found.append((await first).value)
                except asyncio.CancelledError:
                    pass
                found += [outcome.value async for outcome in mapped]
                assert found == [0, 2, 4, 6, 8, 10], after

    asyncio.run(main())


def test_let_go_of_while_it_looks_for_somebody(here) -> None:
    async def main() -> None:
        mapped = aio.at(find_timeout=30).map("nothing", [1])
        first = asyncio.ensure_future(anext(mapped))
        await asyncio.sleep(0.2)
        first.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await first
        del mapped, first
        gc.collect()
        await asyncio.sleep(0.2)
        assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []

    asyncio.run(main())


def test_closed_by_another_thread_while_it_is_read(serve) -> None:
    serve(SERVER)
    for _ in range(20):
        mapped = labc.map("double", itertools.count(100))
        timer = threading.Timer(0.02, mapped.close)
        timer.start()
        assert all(outcome.ok for outcome in mapped)
        timer.join()


def test_interrupted_while_it_waits(start, serve) -> None:
    serve(SERVER, name="worker")
    program = start("""
        import labc
        try:
            for outcome in labc.map("slow", [0.0, 30.0, 30.0]):
                print(outcome.value, flush=True)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
            input()
    """)
    program.expect("0.0")
    program.send_signal(signal.SIGINT)
    program.expect("interrupted")
    assert_cancelled(1)
    program.send_line("")
    assert program.wait() == 0


def test_items_that_end_the_program(anywhere) -> None:
    def numbers():
        yield 1
        raise SystemExit(3)

    mapped = labc.map("double", numbers())
    assert next(mapped).value == 2
    with pytest.raises(SystemExit):
        next(mapped)
    assert values(labc.map("double", [4])) == [8]


def test_a_file_of_items_is_left_open(anywhere, tmp_path) -> None:
    path = tmp_path / "items"
    path.write_text("a\nb\n")
    with path.open() as file:
        assert values(labc.map("double", file)) == ["a\na\n", "b\nb\n"]
        assert not file.closed


def test_as_many_at_once_as_one_likes_whatever_threads_there_are(serve) -> None:
    labc.init(threads=2)
    serve(SERVER)
    mapped = [labc.map("double", itertools.count(100)) for _ in range(5)]
    assert [next(each).value for each in mapped] == [200] * 5
    for each in mapped:
        each.close()


def test_the_same_for_coroutines(anywhere) -> None:
    async def items():
        for x in range(500):
            yield x + 100

    async def main() -> None:
        found = [outcome.result() async for outcome in aio.map("double_aio", items())]
        assert found == [2 * (x + 100) for x in range(500)]
        async with aio.map("slow", [0.0, 30.0]) as mapped:
            assert (await anext(mapped)).value == 0.0
        with pytest.raises(labc.NotFoundError):
            await anext(aio.at(find_timeout=0.1).map("nothing", [1]))
        assert sum(mapped.shares.values()) == 1

    asyncio.run(main())
    assert_cancelled(1)


def test_a_node_of_ones_own_spreads_too(serve, network) -> None:
    serve(SERVER)

    async def main() -> list[int]:
        async with labc.Node(name="spreader", network=network) as node:
            return [outcome.result() async for outcome in node.map("double", range(10))]

    assert asyncio.run(main()) == [2 * x for x in range(10)]


def test_who_leaves_the_network_is_told(serve) -> None:
    serve(SERVER)
    mapped = labc.map("slow", [0.0, 30.0])
    assert next(mapped).value == 0.0
    threading.Timer(0.2, labc.close).start()
    with pytest.raises(labc.ClosedError):
        next(mapped)


def test_it_is_not_for_the_loop(serve) -> None:
    serve(SERVER)
    told = []

    @labc.register
    async def spread():
        try:
            labc.map("double", [1])
        except labc.BlockingCallError as error:
            told.append(str(error))

    labc.call("spread")
    assert told
    assert "map" in told[0]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"window": 0}, "window=0"),
        ({"window": True}, "window=True"),
        ({"window": 1.5}, "window=1.5"),
        ({"retry": -1}, "retry=-1"),
        ({"retry": None}, "retry=None"),
        ({"timeout": -1}, "timeout=-1"),
    ],
)
def test_what_cannot_be_meant(given, said) -> None:
    with pytest.raises(ValueError, match=said):
        labc.map("double", [1], **given)


def test_something_to_iterate_over_is_needed() -> None:
    with pytest.raises(TypeError, match=r"map\(\) takes something to iterate over, not 5"):
        labc.map("double", 5)


def test_only_where_it_is_asked_for(three, until) -> None:
    until(lambda: len(labc.nodes()) == 4)
    shares = Counter(outcome.node for outcome in labc.at(node="w1").map("timed", range(10)))
    assert shares == {"w1": 10}


def test_the_bar(start, serve) -> None:
    serve(SERVER, name="worker")
    program = start("import labc\nprint([o.value for o in labc.map('double', range(12, 22), progress=True)])")
    assert program.wait() == 0
    assert program.output.strip() == "[24, None, 28, 30, 32, 34, 36, 38, 40, 42]"
    (bar, shares) = program.errors.strip().splitlines()
    assert "double" in bar
    assert "10/10" in bar
    assert "/s" in bar
    assert "1 failed" in bar
    assert shares.strip() == "worker 100%"
