"""What callers see while a name has no provider, or one that does not know it any more."""

from __future__ import annotations

import asyncio
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import labc
from labc import aio
from labc.functions import caller

pytestmark = pytest.mark.usefixtures("here")

SERVER = """
import labc, threading
hidden = {}

def functions():
    return labc.blocking.portal.node().rooms()._offering._by_name

@labc.register
def add(name):
    labc.register(lambda: name, name=name)

@labc.register
def hide(name):
    "Its token stays."
    hidden[name] = functions().pop(name)

@labc.register
def show(name):
    functions()[name] = hidden.pop(name)

@labc.register
def size(value):
    return len(value)

labc.serve()
"""


def neighbourhood():
    return labc.blocking.portal.node().rooms()._neighbourhood


def test_a_denial_is_not_for_ever(serve) -> None:
    """The provider has the function again, and its token never went."""
    serve(SERVER)
    labc.call("add", "thing")
    assert labc.call("thing") == "thing"
    labc.call("hide", "thing")
    for _ in range(2):
        with pytest.raises(labc.NotFoundError):
            labc.at(find_timeout=0.0).call("thing")
    labc.call("show", "thing")
    assert labc.at(find_timeout=0.0).call("thing") == "thing"


def test_only_names_that_were_used_are_watched(serve) -> None:
    serve("import labc\nfor n in range(20): labc.register(lambda n=n: n, name=f'f{n}')\nlabc.serve()")

    def kept() -> dict[str, int]:
        """By name: how many offers."""
        return {name: len(known.offers) for name, known in neighbourhood().directory._names.items()}

    assert len(labc.functions()) == 20
    assert kept() == {}
    assert labc.call("f7") == 7
    assert kept() == {"f7": 1}
    assert len(labc.functions()) == 20
    assert kept() == {"f7": 1}


def test_who_does_not_find_a_name_does_not_blind_those_who_wait_for_it(serve, until) -> None:
    serve(SERVER)
    labc.call("size", b"")
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(labc.at(find_timeout=5.0).call, "late")
        until(lambda: neighbourhood()._waiters)
        with pytest.raises(labc.NotFoundError):
            labc.at(find_timeout=0.0).call("late")
        labc.call("add", "late")
        assert waiting.result(10.0) == "late"


def test_many_who_do_not_find_the_same_name() -> None:
    """None of them cancels what another awaits; and nothing is kept of a name that is nobody's."""

    async def main() -> None:
        async with labc.Node() as node:
            patience = [0.0, 0.05, 0.1, 0.3] * 4
            calls = [node.at(find_timeout=seconds).call("nobody") for seconds in patience]
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
            assert {type(outcome) for outcome in outcomes} == {labc.NotFoundError}
            names = node.rooms()._neighbourhood
            assert (names._names, names._users) == ({}, {})

    asyncio.run(main())


@pytest.mark.parametrize("settled", [True, False])
def test_closing_the_node_wakes_who_waits_for_a_name(settled: bool) -> None:
    """Whether it waits for somebody to appear, or yet to know who is there."""

    async def main() -> None:
        node = await labc.Node().start()
        call = asyncio.create_task(node.at(find_timeout=30.0).call("nobody"))
        names = node.rooms()._neighbourhood
        await asyncio.sleep(0)
        if settled:
            await names.watch("nobody")
            await asyncio.sleep(0)
        assert bool(names._waiters) is settled
        await node.close()
        with pytest.raises(labc.ClosedError):
            await asyncio.wait_for(call, 2.0)

    asyncio.run(main())


def test_a_lane_that_takes_nothing_is_not_waited_for_until_the_timeout(serve, until, monkeypatch) -> None:
    """One that calls share, as those of asyncio do."""
    monkeypatch.setattr(caller, "_ROOM_WAIT", 0.1)
    labc.init(max_pending_bytes=1000)
    server = serve(SERVER)
    assert labc.call("size", b"") == 0
    [lane] = labc.blocking.portal.node().rooms()._pool.lanes()
    large = bytes(32 << 20)
    server.send_signal(signal.SIGSTOP)
    try:
        sender = threading.Thread(target=lambda: asyncio.run(aio.call("size", large)))
        sender.start()
        until(lambda: not lane._writer.room.is_set())
        with pytest.raises(labc.OverloadedError, match="wait to be sent"):
            asyncio.run(aio.at(timeout=20.0).call("size", b""))
    finally:
        server.send_signal(signal.SIGCONT)
    sender.join(10.0)
    assert labc.call("size", b"1") == 1


def test_names_are_listed_completely_while_other_threads_compute(serve) -> None:
    """The engine's end of a listing may overtake what it tells in the asking thread, which waits its turn."""
    serve(SERVER)
    labc.call("add", "thing")
    labc.call("hide", "thing")
    labc.call("show", "thing")
    assert labc.call("size", "abc") == 3
    computing = True

    def compute() -> None:
        while computing:
            sum(range(200))

    thread = threading.Thread(target=compute)
    thread.start()
    try:
        for _ in range(50):
            found = labc.blocking.portal.run("test", lambda rooms: rooms._neighbourhood.offered(2.0))
            assert found == {"add", "hide", "show", "size", "thing"}
    finally:
        computing = False
        thread.join()


def test_own_names_are_near_though_nobody_called_them() -> None:
    labc.register(len, name="length_here")
    with pytest.raises(labc.NotFoundError) as info:
        labc.at(find_timeout=0.0).call("lengt_here")
    assert info.value.near == ("length_here",)
