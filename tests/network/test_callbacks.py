"""Functions that use the network themselves, and call back their callers: nobody waits for himself."""

from __future__ import annotations

import asyncio
import concurrent.futures
import sys
import threading
import time

import pytest

import labc
from labc import aio

pytestmark = pytest.mark.usefixtures("here")

PEER = """
import asyncio, sys, time
import labc
from labc import aio
labc.init(name="peer")

@labc.register
def peer_down(n):
    return 0 if n == 0 else 1 + labc.call("here_down", n - 1)

@labc.register
async def peer_down_aio(n):
    return 0 if n == 0 else 1 + await aio.call("here_down_aio", n - 1)

@labc.register
def call_back(name, *args):
    caller = labc.current_call()
    return labc.at(node=caller.node_id).call(name, *args)

@labc.register
async def call_back_aio(name, *args):
    return await aio.at(node=labc.current_call().node_id).call(name, *args)

@labc.register
def slow(seconds):
    time.sleep(seconds)
    return seconds

labc.serve()
"""


@pytest.mark.parametrize("verb", ["call_back", "call_back_aio"])
def test_a_function_calls_back_its_caller(serve, verb: str) -> None:
    serve(PEER)
    labc.register(lambda x: x + 1, name="in_thread")

    @labc.register
    async def on_loop(x: int) -> int:
        await asyncio.sleep(0)
        return x + 2

    assert labc.call(verb, "in_thread", 1) == 2
    assert labc.call(verb, "on_loop", 1) == 3


def test_down_and_up_again_thirty_deep(serve) -> None:
    serve(PEER)

    @labc.register
    def here_down(n: int) -> int:
        return 0 if n == 0 else 1 + labc.call("peer_down", n - 1)

    @labc.register
    async def here_down_aio(n: int) -> int:
        return 0 if n == 0 else 1 + await aio.call("peer_down_aio", n - 1)

    assert labc.at(timeout=20.0).call("peer_down", 30) == 30
    assert labc.at(timeout=20.0).call("peer_down_aio", 30) == 30


def test_recursion_in_one_node() -> None:
    @labc.register
    def down(n: int) -> int:
        return 0 if n == 0 else 1 + labc.call("down", n - 1)

    @labc.register
    async def down_aio(n: int) -> int:
        return 0 if n == 0 else 1 + await aio.call("down_aio", n - 1)

    assert labc.at(timeout=20.0).call("down", 30) == 30
    assert labc.at(timeout=20.0).call("down_aio", 30) == 30


def test_three_hundred_slow_calls_at_once(serve) -> None:
    """More than there are threads: what comes late waits for its turn, and everything else goes on."""
    serve(PEER)
    labc.call("slow", 0.0)

    async def main() -> list[float]:
        return await asyncio.gather(*(aio.call("slow", 0.3) for _ in range(300)))

    started = time.monotonic()
    assert asyncio.run(main()) == [0.3] * 300
    assert time.monotonic() - started < 5.0


def test_three_hundred_at_this_node() -> None:
    @labc.register
    def slow() -> int:
        time.sleep(0.2)
        return 1

    async def main() -> list[int]:
        return await asyncio.gather(*(aio.call("slow") for _ in range(300)))

    assert sum(asyncio.run(main())) == 300


def test_many_functions_that_call_each_other_at_once() -> None:
    """All of them have begun before the first calls the other: there are threads for the inner calls too."""
    barrier = threading.Barrier(300)

    @labc.register
    def inner(number: int) -> int:
        return number

    @labc.register
    def outer(number: int) -> int:
        barrier.wait(10.0)
        return labc.call("inner", number)

    async def main() -> list[int]:
        return await asyncio.gather(*(aio.at(timeout=15.0).call("outer", number) for number in range(300)))

    assert asyncio.run(main()) == list(range(300))


def test_handlers_do_not_take_the_threads_of_the_functions_they_call(until) -> None:
    labc.init(threads=1)
    got: list[int] = []

    @labc.register
    def double(number: int) -> int:
        return 2 * number

    @labc.subscribe(topic="numbers")
    def handle(number: int) -> None:
        got.append(labc.at(timeout=3.0).call("double", number))

    labc.publish("numbers", 2)
    until(lambda: got == [4])


def test_waiting_for_a_thread_and_giving_up(serve) -> None:
    """Calls beyond the number of threads that time out while they wait never run, and harm nobody."""
    labc.init(threads=2)
    go, ran = threading.Event(), []

    @labc.register
    def slow(number: int) -> int:
        ran.append(number)
        go.wait(10.0)
        return number

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        first = [pool.submit(labc.call, "slow", number) for number in range(2)]
        while len(ran) < 2:
            time.sleep(0.005)
        late = [pool.submit(labc.at(timeout=0.2).call, "slow", number) for number in range(2, 12)]
        assert {type(call.exception()) for call in late} == {labc.CallTimeoutError}
        last = pool.submit(labc.call, "slow", 99)
        go.set()
        assert [call.result(5.0) for call in [*first, last]] == [0, 1, 99]
    assert sorted(ran) == [0, 1, 99]


def test_every_blocking_verb_in_a_thread_function(serve, until) -> None:
    serve(PEER)
    got: list[object] = []
    labc.subscribe(got.append, topic="t")

    @labc.register
    def everything() -> list[object]:
        handle = labc.register(lambda: 5, name="five")
        found = [labc.call("five"), [o.value for o in labc.call_all("five")]]
        handle.close()
        labc.publish("t", 6)
        found.append(len(labc.nodes()))
        found.append(any(f.name == "everything" for f in labc.functions()))
        found.append(all(isinstance(seconds, float) for seconds in labc.ping().values()))
        with labc.messages("u") as messages:
            labc.publish("u", 7)
            found.append(next(messages).value)
        return found

    assert labc.call("everything") == [5, [5], 2, True, True, 7]
    until(lambda: got == [6])


VERBS = {
    "call": lambda: labc.call("f"),
    "call_all": lambda: labc.call_all("f"),
    "publish": lambda: labc.publish("held", 1),
    "nodes": lambda: labc.nodes(),
    "functions": lambda: labc.functions(),
    "ping": lambda: labc.ping(),
    "messages": lambda: labc.messages("t"),
    "serve": lambda: labc.serve(),
    "close": lambda: labc.close(),
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_blocking_verb_on_the_nodes_own_loop(verb: str) -> None:
    @labc.register
    async def on_loop() -> str:
        try:
            VERBS[verb]()
        except labc.BlockingCallError as error:
            return f"{error.verb}: {error}"
        return "done"

    labc.register(lambda: 1, name="f")
    labc.subscribe(print, topic="held", when_full="hold")
    said = labc.at(timeout=3.0).call("on_loop")
    assert said.startswith(f"{verb}: labc.{verb}()")
    assert f"labc.aio.{verb}(" in said


def test_a_blocking_verb_on_a_node_of_ones_own_loop() -> None:
    async def main() -> None:
        async with labc.Node():
            with pytest.raises(labc.BlockingCallError, match=r"await labc\.aio\.call\("):
                labc.call("f")

    asyncio.run(main())


def test_publish_and_register_work_on_the_loop(until) -> None:
    """They need not wait, so they need not be refused."""
    got: list[int] = []
    labc.subscribe(got.append, topic="t")

    @labc.register
    async def on_loop() -> None:
        labc.publish("t", 1)
        labc.register(lambda: 2, name="late")

    labc.call("on_loop")
    assert labc.call("late") == 2
    until(lambda: got == [1])


def test_a_message_that_is_refused_on_the_loop_reaches_nobody(until) -> None:
    """Neither the subscriber that holds publishers back nor one that does not."""
    held: list[str] = []
    free: list[str] = []
    labc.subscribe(held.append, topic="t", when_full="hold")
    labc.subscribe(free.append, topic="t")

    @labc.register
    async def on_loop() -> None:
        with pytest.raises(labc.BlockingCallError):
            labc.publish("t", "refused")

    labc.call("on_loop")
    labc.publish("t", "published")
    until(lambda: held and free)
    assert (held, free) == (["published"], ["published"])


def test_in_a_notebook(serve) -> None:
    """A blocking verb in a cell: in a coroutine of somebody else's loop."""
    serve(PEER)

    async def cell() -> None:
        assert labc.call("slow", 0.0) == 0.0
        labc.register(lambda: 1, name="mine")
        labc.publish("t", 1)
        assert labc.at(node="peer").call("call_back", "mine") == 1
        assert len(labc.nodes()) == 2
        with labc.messages("t"):
            pass

    asyncio.run(cell())


def test_many_threads_at_once(serve) -> None:
    serve(PEER)
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        assert list(pool.map(lambda n: labc.call("slow", n * 0.0001), range(1000))) == [n * 0.0001 for n in range(1000)]


def test_the_first_verb_from_many_threads_at_once(network: str) -> None:
    """They all get the one node of the program."""
    labc.register(lambda x: x, name="echo")
    barrier = threading.Barrier(50)

    def call(n: int) -> int:
        barrier.wait()
        return labc.call("echo", n)

    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        assert list(pool.map(call, range(50))) == list(range(50))
    assert len(labc.nodes()) == 1


def test_to_thread(serve) -> None:
    serve(PEER)

    async def main() -> list[float]:
        return await asyncio.gather(*(asyncio.to_thread(labc.call, "slow", 0.05) for _ in range(5)))

    assert asyncio.run(main()) == [0.05] * 5


def test_threads_end_when_they_are_idle(serve, monkeypatch, until) -> None:
    from labc.functions import threads

    monkeypatch.setattr(threads, "_IDLE", 0.1)

    all_together = threading.Barrier(20)

    @labc.register
    def slow() -> int:
        all_together.wait(5.0)
        return threading.get_ident()

    async def main() -> list[int]:
        return await asyncio.gather(*(aio.call("slow") for _ in range(20)))

    assert len(set(asyncio.run(main()))) == 20
    until(lambda: not [t for t in threading.enumerate() if t.name.startswith("labc function")], 2.0)
    labc.register(threading.get_ident, name="one")
    assert labc.call("one")


def test_the_deep_stack_of_a_caller_does_not_matter(serve) -> None:
    serve(PEER)

    def deep(n: int) -> float:
        return labc.call("slow", 0.0) if n == 0 else deep(n - 1)

    assert deep(sys.getrecursionlimit() - 150) == 0.0
