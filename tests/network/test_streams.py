"""Generators over the network: values as they come, back-pressure, and who closes what."""

from __future__ import annotations

import asyncio
import gc
import itertools
import signal
import threading
import time

import numpy
import pytest

import labc
from labc import aio

pytestmark = pytest.mark.usefixtures("here")

FUNCTIONS = """
import asyncio, itertools, threading, time
import labc

made = {}
closed = []
seen = []

def _note(name):
    made[name] = made.get(name, 0) + 1

def count(n, name="count", size=0):
    try:
        for i in range(n):
            _note(name)
            yield (i, bytes(size)) if size else i
    finally:
        closed.append(name)

async def count_aio(n, name="count_aio", size=0):
    try:
        for i in range(n):
            _note(name)
            yield (i, bytes(size)) if size else i
    finally:
        closed.append(name)

def iterator(n):
    return iter(range(n))

async def awaited(n):
    return count_aio(n)

def fail(n):
    yield from range(n)
    raise KeyError("gone")

async def fail_aio(n):
    for i in range(n):
        yield i
    raise KeyError("gone")

def unfit(n):
    yield from range(n)
    yield threading.Lock()

def slow(seconds, name="slow"):
    try:
        yield 0
        time.sleep(seconds)
        yield 1
    finally:
        closed.append(name)

async def slow_aio(seconds, name="slow_aio"):
    try:
        _note(name)
        yield 0
        await asyncio.sleep(seconds)
        yield 1
    finally:
        closed.append(name)

def clock(name="clock"):
    try:
        while True:
            time.sleep(0.005)
            yield time.monotonic()
    finally:
        closed.append(name)

def pictures(n):
    import numpy
    buffer = numpy.empty((512, 512), numpy.uint8)
    for i in range(n):
        buffer[:] = i % 256
        yield buffer

def total(values):
    return sum(values)

async def total_aio(values):
    return sum([value async for value in values])

def first(values):
    return next(values)

async def first_aio(values):
    return await anext(values)

def upper(words):
    for word in words:
        yield word.upper()

async def upper_aio(words):
    async for word in words:
        yield word.upper()

def caught(values):
    got = []
    try:
        for value in values:
            got.append(value)
    except labc.RemoteError as error:
        seen.append((got, error.type))
        return got, error.type
    return got, None

def last_caught():
    return seen[-1]

def totals(job):
    return [sum(job["a"]), sum(job["b"])]

def lazy(values):
    return [next(values), time.sleep(0.5), next(values)]

def types(values):
    return [array.dtype.str for array in values]

def twice(n):
    for value in labc.stream("count", n):
        yield 2 * value

def relayed(seconds):
    try:
        for value in labc.stream("slow_aio", seconds, name="source"):
            yield value
    finally:
        closed.append("relayed")

async def large():
    for number in range(3):
        yield number
    yield "x" * 3_000_000

def made_so_far(name):
    return made.get(name, 0)

def closed_so_far():
    return closed

def one():
    return 1

for function in list(vars().values()):
    if callable(function) and getattr(function, "__module__", None) == __name__ and function.__name__[0] != "_":
        labc.register(function)
"""
SERVER = FUNCTIONS + "\nlabc.serve()\n"


@pytest.fixture
def server(serve):
    return serve(SERVER)


def is_closed(name: str) -> bool:
    return name in labc.call("closed_so_far")


@pytest.mark.parametrize("name", ["count", "count_aio", "iterator", "awaited"])
@pytest.mark.parametrize("n", [0, 1, 5000])
def test_values_come_in_order_until_the_end(anywhere, name, n) -> None:
    assert list(labc.stream(name, n)) == list(range(n))


def test_the_same_for_coroutines(anywhere) -> None:
    async def read(name: str) -> list[int]:
        return [value async for value in aio.stream(name, 3000)]

    for name in ("count", "count_aio"):
        assert asyncio.run(read(name)) == list(range(3000))


def test_a_node_of_ones_own_reads_too(server, network) -> None:
    async def read() -> list[int]:
        async with labc.Node(name="reader", network=network) as node, node.stream("count_aio", 3000) as values:
            return [value async for value in values]

    assert asyncio.run(read()) == list(range(3000))


@pytest.mark.parametrize("name", ["fail", "fail_aio"])
def test_what_it_raises_comes_after_its_values(anywhere, name) -> None:
    values = labc.stream(name, 1500)
    assert list(itertools.islice(values, 1500)) == list(range(1500))
    with pytest.raises(labc.RemoteError, match="KeyError: 'gone'"):
        next(values)
    with pytest.raises(labc.RemoteError):
        next(values)
    assert labc.call("one") == 1


def test_a_value_that_cant_be_carried_ends_it(anywhere) -> None:
    values = labc.stream("unfit", 3)
    assert list(itertools.islice(values, 3)) == [0, 1, 2]
    with pytest.raises(labc.CarryError, match=r"a value of unfit\(\).*lock"):
        next(values)


@pytest.mark.parametrize("name", ["count", "count_aio"])
def test_leaving_the_loop_closes_the_generator(anywhere, until, name) -> None:
    for value in labc.stream(name, 10**9):
        if value == 2500:
            break
    until(lambda: is_closed(name), timeout=1.0)


@pytest.mark.parametrize("name", ["slow_aio", "count"])
def test_leaving_an_async_loop_does_too(anywhere, until, name) -> None:
    async def read() -> None:
        async for _ in aio.stream(name, 10**6):
            break

    asyncio.run(read())
    gc.collect()
    until(lambda: is_closed(name), timeout=1.0)


def test_closing_it_does_too(anywhere, until) -> None:
    with labc.stream("slow_aio", 60.0, name="with") as values:
        assert next(values) == 0
    assert list(values) == []
    until(lambda: is_closed("with"), timeout=1.0)


def test_a_reader_that_waits_can_be_cancelled(anywhere, until) -> None:
    async def read() -> None:
        values = aio.stream("slow_aio", 60.0)
        assert await anext(values) == 0
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(values), 0.1)
        await values.aclose()

    asyncio.run(read())
    until(lambda: is_closed("slow_aio"), timeout=1.0)


def test_the_death_of_a_reader_closes_it(server, start, until) -> None:
    reader = start("import labc\nfor value in labc.stream('count', 10**9): print(value)\n", name="reader")
    reader.expect("5000")
    reader.process.kill()
    until(lambda: is_closed("count"), timeout=1.0)


def test_the_death_of_the_provider_comes_after_what_arrived(server) -> None:
    values = labc.stream("slow_aio", 60.0)
    until_killed = threading.Timer(0.3, server.process.kill)
    until_killed.start()
    assert next(values) == 0
    began = time.monotonic()
    with pytest.raises(labc.PeerLostError) as info:
        next(values)
    assert info.value.ran == "maybe"
    assert time.monotonic() - began < 1.0


def test_a_provider_that_is_stopped_is_noticed(server) -> None:
    values = labc.stream("slow_aio", 60.0)
    assert next(values) == 0
    server.process.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(labc.PeerLostError):
        next(values)
    assert time.monotonic() - began < 4.0


@pytest.mark.parametrize("name", ["count", "count_aio"])
def test_a_slow_reader_slows_the_generator(anywhere, until, name) -> None:
    labc.close()
    labc.init(stream_items=50)
    if anywhere == "here":
        exec(compile(FUNCTIONS, "functions", "exec"), {"__name__": "functions"})
    values = labc.stream(name, 10**6)
    for read in range(200):
        assert next(values) == read
    until(lambda: labc.call("made_so_far", name) >= 200)
    time.sleep(0.3)  # nothing may come that is not there
    assert labc.call("made_so_far", name) <= 200 + 50 + 1


def test_large_values_are_held_back_by_their_size(server, until) -> None:
    labc.init(stream_bytes=1 << 20)
    values = labc.stream("count", 1000, size=300_000)
    assert next(values)[0] == 0
    until(lambda: labc.call("made_so_far", "count") >= 4)
    time.sleep(0.3)  # nothing may come that is not there
    assert labc.call("made_so_far", "count") <= 6  # 1 MiB and one more, and the next one that waits
    assert [index for index, _ in values] == list(range(1, 1000))


def test_latest_skips_and_keeps_the_newest(anywhere, until) -> None:
    values = labc.stream("clock", latest=True)
    next(values)
    for _ in range(3):
        time.sleep(0.2)
        assert time.monotonic() - next(values) < 0.1
    assert values.skipped > 30
    values.close()
    until(lambda: is_closed("clock"), timeout=1.0)


def test_latest_gives_the_last_value_of_all(anywhere) -> None:
    values = labc.stream("count", 1000, latest=True)
    time.sleep(0.2)
    got = list(values)
    assert got == sorted(set(got))
    assert got[-1] == 999


def test_a_generator_may_use_its_buffer_again(anywhere) -> None:
    for index, picture in enumerate(labc.stream("pictures", 100)):
        assert picture.shape == (512, 512)
        assert (picture == index % 256).all()


def test_a_stream_is_no_call_and_the_other_way_round(anywhere) -> None:
    with pytest.raises(labc.ArgumentsError, match=r"it yields its values one by one: read them with stream\('count'"):
        labc.call("count", 3)
    with pytest.raises(labc.RemoteError, match=r"one\(\) returns one value, and no generator: use call\(\)"):
        list(labc.stream("one"))
    with pytest.raises(labc.ArgumentsError, match="missing a required argument"):
        list(labc.stream("count"))
    with pytest.raises(labc.NotFoundError, match=r"cuont.*did you mean 'count'"):
        labc.at(find_timeout=0.2).stream("cuont", 3)


def test_each_value_may_take_so_long(anywhere, until) -> None:
    values = labc.at(timeout=0.3).stream("slow_aio", 60.0)
    assert next(values) == 0
    with pytest.raises(labc.CallTimeoutError, match=r"no answer to 'slow_aio' within 0.3 s"):
        next(values)
    until(lambda: is_closed("slow_aio"), timeout=1.0)


def test_a_generator_does_not_run_in_a_process() -> None:
    with pytest.raises(ValueError, match="a generator runs in a thread or on the loop"):
        labc.register(itertools_count, run="process")


def itertools_count():
    yield from itertools.count()


# Values from the caller.


@pytest.mark.parametrize("name", ["total", "total_aio"])
def test_the_caller_sends_values_while_it_runs(anywhere, name) -> None:
    assert labc.call(name, labc.outgoing(range(5000))) == sum(range(5000))
    assert labc.call(name, labc.outgoing([])) == 0

    async def numbers():
        for number in range(3000):
            yield number

    async def main() -> int:
        return await aio.call(name, aio.outgoing(numbers()))

    assert asyncio.run(main()) == sum(range(3000))


@pytest.mark.parametrize("name", ["upper", "upper_aio"])
def test_both_ways_at_once(anywhere, name) -> None:
    """Each word is sent when the answer to the one before has been read."""
    answers: list[str] = []

    def words():
        yield "first"
        for number in range(20):
            while len(answers) <= number:
                time.sleep(0.001)
            yield f"after {answers[-1].lower()}"[:30]

    for answer in labc.stream(name, labc.outgoing(words())):
        answers.append(answer)
    assert len(answers) == 21
    assert answers[1] == "AFTER FIRST"


def test_streams_within_other_arguments(anywhere) -> None:
    job = {"a": labc.outgoing(range(10)), "b": labc.outgoing(range(20))}
    assert labc.call("totals", job) == [sum(range(10)), sum(range(20))]


def test_a_function_that_has_enough_closes_the_iterable(anywhere, until) -> None:
    closed = []

    def numbers():
        try:
            yield from itertools.count()
        finally:
            closed.append(True)

    assert labc.call("first", labc.outgoing(numbers())) == 0
    until(lambda: closed, timeout=1.0)


def test_a_function_holds_the_iterable_back(server, until) -> None:
    given = []

    def numbers():
        for number in range(10**6):
            given.append(number)
            yield number

    assert labc.call("lazy", labc.outgoing(numbers())) == [0, None, 1]
    assert len(given) <= 1002


def test_what_the_iterable_raises_is_raised_at_both_ends(anywhere) -> None:
    def numbers():
        yield from range(3)
        raise FileNotFoundError("no such chunk")

    with pytest.raises(FileNotFoundError, match="no such chunk"):
        labc.call("total", labc.outgoing(numbers()))
    with pytest.raises(FileNotFoundError, match="no such chunk"):
        list(labc.stream("upper", labc.outgoing(itertools.chain(["a"], map(_raise, [1])))))
    with pytest.raises(FileNotFoundError):
        labc.call("caught", labc.outgoing(numbers()))
    assert labc.call("last_caught") == ([0, 1, 2], "FileNotFoundError")


def _raise(_: int) -> str:
    raise FileNotFoundError("no such chunk")


def test_a_call_that_times_out_closes_the_iterable(anywhere, until) -> None:
    closed = []

    def numbers():
        try:
            while True:
                time.sleep(0.01)
                yield 1
        finally:
            closed.append(True)

    with pytest.raises(labc.CallTimeoutError):
        labc.at(timeout=0.3).call("total", labc.outgoing(numbers()))
    until(lambda: closed, timeout=1.0)


def test_outgoing_is_for_one_call_of_one_function(anywhere) -> None:
    values = labc.outgoing(range(3))
    assert labc.call("total", values) == 3
    with pytest.raises(ValueError, match="for one call"):
        labc.call("total", values)
    with pytest.raises(labc.CarryError, match="a stream can only be an argument"):
        labc.call_all("total", labc.outgoing(range(3)))
    with pytest.raises(labc.CarryError, match="a stream can only be an argument"):
        labc.publish("topic", labc.outgoing(range(3)))
    with pytest.raises(labc.CarryError, match="twice"):
        labc.call("total", values, values)
    with pytest.raises(TypeError, match="something to iterate over"):
        labc.outgoing(3)  # type: ignore[arg-type]


# Told to functions.


def test_a_function_is_told_each_value_and_the_end(anywhere, until) -> None:
    got: list[int] = []
    ended: list[BaseException | None] = []
    labc.stream("count", 3000, on_item=got.append, on_end=ended.append)
    until(lambda: ended)
    assert got == list(range(3000))
    assert ended == [None]


def test_a_coroutine_function_too(anywhere, until) -> None:
    got: list[int] = []
    ended: list[BaseException | None] = []

    async def note(value: int) -> None:
        got.append(value)

    async def end(error: BaseException | None) -> None:
        ended.append(error)

    labc.stream("fail", 5, on_item=note, on_end=end)
    until(lambda: ended)
    assert got == list(range(5))
    assert isinstance(ended[0], labc.RemoteError)


@pytest.mark.parametrize("name", ["count", "count_aio"])
def test_false_is_enough(anywhere, until, name) -> None:
    got: list[int] = []
    ended: list[BaseException | None] = []

    def note(value: int) -> bool:
        got.append(value)
        return value < 9

    watch = labc.stream(name, 10**9, on_item=note, on_end=ended.append)
    until(lambda: ended)
    assert watch.closed
    assert got == list(range(10))
    assert ended == [None]
    until(lambda: is_closed(name), timeout=1.0)


def test_a_function_that_raises_is_told_the_next_all_the_same(anywhere, until, caplog) -> None:
    got: list[int] = []
    ended: list[BaseException | None] = []

    def note(value: int) -> None:
        got.append(value)
        if value == 1:
            raise ZeroDivisionError("mine")

    labc.stream("count", 4, on_item=note, on_end=ended.append)
    until(lambda: ended)
    assert got == [0, 1, 2, 3]
    assert "note raised ZeroDivisionError with a value of the stream of 'count'" in caplog.text


def test_a_handle_ends_it(anywhere, until) -> None:
    ended: list[BaseException | None] = []
    got: list[int] = []
    with labc.stream("slow_aio", 60.0, on_item=got.append, on_end=ended.append):
        until(lambda: got)
    until(lambda: ended)
    assert ended == [None]
    until(lambda: is_closed("slow_aio"), timeout=1.0)


def test_coroutines_have_callbacks_as_well(anywhere) -> None:
    async def main() -> list[int]:
        got: list[int] = []
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        aio.stream("count", 3, on_item=got.append, on_end=lambda error: loop.call_soon_threadsafe(ended.set))
        await asyncio.wait_for(ended.wait(), 5.0)
        return got

    assert asyncio.run(main()) == [0, 1, 2]


def test_a_callback_is_begun_on_the_nodes_own_loop(anywhere, until) -> None:
    """In its debug mode the loop refuses what comes from other threads."""
    ended: list[BaseException | None] = []
    labc.call("one")
    labc.blocking.portal.node().loop.set_debug(True)
    labc.stream("count", 3, on_item=print, on_end=ended.append)
    until(lambda: ended)
    assert ended == [None]


def test_callbacks_are_functions() -> None:
    with pytest.raises(TypeError, match=r"on_item=.*takes a function, not 3"):
        labc.stream("count", on_item=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="goes with on_item"):
        labc.stream("count", on_end=print)


# Together.


def test_many_streams_share_a_lane_fairly(server) -> None:
    """Each of a hundred has its turn: when the first has all its values, none is far behind."""

    async def main() -> list[int]:
        streams = [aio.stream("count", 5000, f"many {i}") for i in range(100)]
        assert await asyncio.gather(*map(anext, streams)) == [0] * 100  # all have begun
        got = [1] * 100

        async def read(index: int) -> None:
            async for value in streams[index]:
                assert value == got[index]
                got[index] += 1
                if got[index] == 5000 and not behind:
                    behind.extend(got)

        behind: list[int] = []
        await asyncio.gather(*map(read, range(100)))
        assert got == [5000] * 100
        return behind

    assert min(asyncio.run(main())) >= 1000


def test_calls_go_on_beside_a_big_stream(server) -> None:
    """On the same lane: through the loop."""

    async def main() -> None:
        async def read() -> int:
            seen = 0
            async for picture in aio.stream("pictures", 2000):
                seen += picture.nbytes
            return seen

        reading = asyncio.create_task(read())
        answered = 0
        while not reading.done():
            assert await aio.call("one") == 1
            answered += 1
        assert await reading == 2000 * 512 * 512
        assert answered >= 20

    asyncio.run(main())


def test_a_stream_within_a_function(anywhere) -> None:
    assert list(labc.stream("twice", 1000)) == [2 * value for value in range(1000)]


def test_blocking_on_the_loop_is_refused(anywhere) -> None:
    @labc.register
    async def read():
        return list(labc.stream("count", 3))

    with pytest.raises(labc.RemoteError, match=r"BlockingCallError: labc.stream\(\) would block"):
        labc.call("read")

    @labc.register
    async def wrong(values):
        return list(values)

    with pytest.raises(labc.RemoteError, match=r"BlockingCallError.*`async for`"):
        labc.call("wrong", labc.outgoing(range(3)))


def test_leaving_the_network_ends_it(server) -> None:
    values = labc.stream("slow_aio", 60.0)
    assert next(values) == 0
    threading.Timer(0.2, labc.close).start()
    with pytest.raises(labc.ClosedError):
        next(values)


def test_what_has_arrived_is_read_also_after_leaving(server, until) -> None:
    values = labc.stream("count", 10**9)
    assert next(values) == 0
    until(lambda: len(values._inbox._arrived) > 1)
    labc.close()
    assert next(values) == 1
    with pytest.raises(labc.ClosedError):
        list(values)


def test_arrays_keep_their_types(anywhere) -> None:
    arrays = [numpy.zeros(3, dtype) for dtype in ("<f4", "<i8", "|u1")]
    assert labc.call("types", labc.outgoing(arrays)) == ["<f4", "<i8", "|u1"]


def test_a_node_that_closes_ends_its_own_streams(network) -> None:
    """Also of its own functions, and of the iterables that it is given."""
    ended: list[BaseException | None] = []

    async def main() -> list[str]:
        node = await labc.Node(name="own", network=network).start()
        closed: list[str] = []

        async def wait():
            try:
                yield 1
                await asyncio.sleep(60)
            finally:
                closed.append("wait")

        async def total(values):
            return sum([value async for value in values])

        async def numbers():
            try:
                yield 1
                await asyncio.sleep(60)
            finally:
                closed.append("numbers")

        node.register(wait)
        node.register(total)
        values = node.stream("wait")
        assert await anext(values) == 1
        node.stream("wait", on_item=print, on_end=ended.append)
        adding = asyncio.create_task(node.call("total", aio.outgoing(numbers())))
        reading = asyncio.create_task(anext(values))
        await asyncio.sleep(0.2)
        await node.close()
        with pytest.raises(labc.ClosedError):
            await asyncio.wait_for(reading, 1.0)
        with pytest.raises(labc.LabcError):
            await asyncio.wait_for(adding, 1.0)
        await asyncio.sleep(0.1)
        return closed

    assert sorted(asyncio.run(main())) == ["numbers", "wait", "wait"]
    assert [type(error) for error in ended] == [labc.ClosedError]


def test_an_iterable_that_waits_is_closed_when_the_call_is_over(anywhere) -> None:
    async def main() -> None:
        over = asyncio.Event()

        async def numbers():
            try:
                yield 7
                await asyncio.sleep(60)
            finally:
                over.set()

        assert await aio.call("first_aio", aio.outgoing(numbers())) == 7
        await asyncio.wait_for(over.wait(), 1.0)

    asyncio.run(main())


def test_a_call_with_a_used_iterable_never_begins(anywhere) -> None:
    values = labc.outgoing(iter(range(3)))
    assert labc.call("total", values) == 3
    with pytest.raises(ValueError, match="for one call"):
        labc.stream("upper", values)
    with pytest.raises(ValueError, match="for one call"):
        labc.call("totals", {"a": labc.outgoing(range(3)), "b": values})
    assert labc.here.core.stats()[0].value["calls"]["running"] == 1  # the question itself


def test_one_iterable_is_for_one_of_two_calls(anywhere) -> None:
    async def main() -> list[object]:
        values = aio.outgoing(iter(range(1000)))
        calls = [aio.call("total", values) for _ in range(2)]
        return await asyncio.gather(*calls, return_exceptions=True)

    outcomes = asyncio.run(main())
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["ValueError", "int"]
    assert sum(range(1000)) in outcomes


def test_what_is_too_large_for_the_reader_comes_after_the_values_before_it(serve) -> None:
    serve(SERVER)
    labc.init(max_message_bytes=1 << 20)
    values = labc.stream("large")
    assert list(itertools.islice(values, 3)) == [0, 1, 2]
    with pytest.raises(labc.CarryError, match="more than max_message_bytes=1048576"):
        next(values)


def test_ctrl_c_closes_the_generator_though_the_traceback_is_kept(server, until) -> None:
    values = labc.stream("slow_aio", 60.0)
    assert next(values) == 0
    interrupt = threading.Timer(0.2, signal.raise_signal, [signal.SIGINT])
    interrupt.start()
    with pytest.raises(KeyboardInterrupt) as info:
        next(values)
    assert info.traceback  # which keeps the stream
    until(lambda: is_closed("slow_aio"), timeout=1.0)


def test_a_generator_that_waits_for_another_is_closed(anywhere, until) -> None:
    values = labc.stream("relayed", 60.0)
    assert next(values) == 0
    values.close()
    until(lambda: is_closed("relayed"), timeout=2.0)
    until(lambda: is_closed("source"), timeout=1.0)


def test_a_timeout_of_the_iterable_is_its_own(anywhere) -> None:
    def words():
        yield "a"
        raise TimeoutError("the instrument")

    values = labc.stream("upper", labc.outgoing(words()))
    assert next(values) == "A"
    with pytest.raises(TimeoutError, match="the instrument"):
        next(values)


def test_closing_while_it_opens(network) -> None:
    async def main() -> None:
        values = aio.at(find_timeout=5.0).stream("nobody_yet")
        reading = asyncio.create_task(anext(values, None))
        await asyncio.sleep(0.3)
        await values.aclose()
        with pytest.raises(labc.ClosedError):
            await asyncio.wait_for(reading, 1.0)

    asyncio.run(main())
