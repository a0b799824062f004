"""What a running function knows of its call, and what becomes of it when its caller gives up or goes away."""

from __future__ import annotations

import asyncio
import platform
import re
import threading
import time

import pytest

import labc
from labc import aio

pytestmark = pytest.mark.usefixtures("here")

SERVER = """
import asyncio, sys, threading, time
import labc
from labc import aio
labc.init(name="server")

def say(*words):  # in one piece, whatever else is printed by another thread
    sys.stdout.write(" ".join(map(str, words)) + "\\n")
    sys.stdout.flush()

def seen():
    call = labc.current_call()
    left = call.deadline and call.deadline - time.monotonic()
    return call.name, call.host, call.node, call.node_id, left, call.remaining

labc.register(seen, name="seen.thread")
labc.register(seen, name="seen.loop", run="loop")
labc.register(seen, run="process")

@labc.register
async def seen_later():
    await asyncio.sleep(0)
    return seen()

@labc.register
async def wait(seconds):
    say("begun")
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        say("cancelled", labc.current_call().cancelled)
        raise
    finally:
        await asyncio.sleep(0)
        say("finally")

@labc.register
async def clean_up(seconds):
    try:
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(seconds)
        say("clean")

@labc.register
def wait_in_thread(seconds):
    call = labc.current_call()
    say("begun")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if call.cancelled:
            say("told")
            return
        time.sleep(0.005)
    say("went on")

@labc.register
def remaining():
    return labc.current_call().remaining

@labc.register
def nested():
    return labc.call("remaining")

@labc.register
async def nested_on_loop():
    return await aio.call("remaining")

@labc.register
def nested_with_more():
    return labc.at(timeout=1000.0).call("remaining")

@labc.register
def nested_slow():
    started = time.monotonic()
    try:
        labc.call("wait", 20)
    except labc.CallTimeoutError:
        say(f"nested ended after {time.monotonic() - started:.1f}")

@labc.register
async def start_background(delay):
    async def later():
        await asyncio.sleep(delay)
        say("background", await aio.call("remaining") > 100)
    task = asyncio.create_task(later())
    tasks.add(task)

@labc.register
def start_background_thread(delay):
    def later():
        time.sleep(delay)
        say("background", labc.call("remaining") > 100)
    threading.Thread(target=later).start()

tasks = set()
labc.serve()
"""


@pytest.mark.parametrize("name", ["seen.thread", "seen.loop", "seen", "seen_later"])
def test_who_called_and_until_when(serve, name: str) -> None:
    serve(SERVER)
    labc.init(name="me")
    labc.call("remaining")
    [me] = [info for info in labc.nodes() if info.here]
    called, host, node, node_id, left, remaining = labc.at(timeout=7.0).call(name)
    assert (called, host, node, node_id) == (name, platform.node(), "me", me.id)
    assert 5.0 < left <= 7.0
    assert 5.0 < remaining <= 7.0


def test_outside_of_a_call() -> None:
    with pytest.raises(labc.OutsideError):
        labc.current_call()


def test_a_call_at_this_node() -> None:
    labc.register(lambda: (labc.current_call().node_id, labc.current_call().remaining), name="f")
    node_id, remaining = labc.at(timeout=5.0).call("f")
    assert node_id == labc.nodes()[0].id
    assert 4.0 < remaining <= 5.0


@pytest.mark.parametrize(("name", "told"), [("wait", ["cancelled True", "finally"]), ("wait_in_thread", ["told"])])
def test_when_the_caller_times_out(serve, name: str, told: list[str]) -> None:
    server = serve(SERVER)
    with pytest.raises(labc.CallTimeoutError):
        labc.at(timeout=0.3).call(name, 20)
    server.expect("begun")
    for line in told:
        server.expect(line, timeout=1.0)


@pytest.mark.parametrize(("name", "told"), [("wait", ["cancelled True", "finally"]), ("wait_in_thread", ["told"])])
def test_when_the_caller_cancels(serve, name: str, told: list[str]) -> None:
    server = serve(SERVER)

    async def main() -> None:
        call = asyncio.create_task(aio.call(name, 20))
        await asyncio.to_thread(server.expect, "begun")
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    asyncio.run(main())
    for line in told:
        server.expect(line, timeout=1.0)


@pytest.mark.parametrize(("name", "told"), [("wait", ["cancelled True", "finally"]), ("wait_in_thread", ["told"])])
@pytest.mark.parametrize("end", ["kill", "terminate", "interrupt"])
def test_when_the_caller_dies(serve, start, name: str, told: list[str], end: str) -> None:
    server = serve(SERVER)
    caller = start("import labc, sys; labc.call(sys.argv[1], 20)", name)
    server.expect("begun")
    if end == "interrupt":
        caller.send_signal(2)
    else:
        getattr(caller, end)()
    for line in told:
        server.expect(line, timeout=1.0)
    assert caller.wait(2.0) != 0


def test_a_function_is_cancelled_only_once(serve, start) -> None:
    """A caller that times out and then leaves does not tear it from its cleaning up."""
    server = serve(SERVER)
    caller = start(
        """
        import labc
        try:
            labc.at(timeout=0.2).call("clean_up", 0.5)
        except labc.CallTimeoutError:
            print("late", flush=True)
        """
    )
    caller.expect("late")
    assert caller.wait(2.0) == 0
    server.expect("clean", timeout=2.0)


@pytest.mark.parametrize("name", ["wait", "wait_in_thread"])
def test_a_call_of_this_node_that_times_out(name: str) -> None:
    events: list[str] = []
    ended = threading.Event()

    @labc.register
    async def wait() -> None:
        try:
            await asyncio.sleep(20)
        finally:
            events.append(f"finally {labc.current_call().cancelled}")
            ended.set()

    @labc.register
    def wait_in_thread() -> None:
        call = labc.current_call()
        while not call.cancelled:
            time.sleep(0.005)
        events.append("told")
        ended.set()

    with pytest.raises(labc.CallTimeoutError):
        labc.at(timeout=0.2).call(name)
    assert ended.wait(1.0)
    assert events == (["finally True"] if name == "wait" else ["told"])


@pytest.mark.parametrize("name", ["nested", "nested_on_loop", "nested_with_more"])
def test_a_nested_call_has_no_longer_than_its_caller(serve, name: str) -> None:
    serve(SERVER)
    assert 3.0 < labc.at(timeout=5.0).call(name) <= 5.0


def test_what_a_function_returns_when_it_was_told_is_no_result(serve, start) -> None:
    """Even if the caller has been so slow that this is there when it looks at the time."""
    server = serve(SERVER)
    caller = start("""
        import labc
        for _ in range(3):  # then it knows the way past the loop
            labc.call("wait_in_thread", 0)
        print("ready", flush=True)
        input()
        try:
            print(labc.at(timeout=0.5).call("wait_in_thread", 20), flush=True)
        except labc.CallTimeoutError:
            print("CallTimeoutError", flush=True)
    """)
    caller.expect("ready")
    for _ in range(3):
        server.expect("went on")
    caller.send_line("")
    server.expect("begun")
    caller.stop()
    server.expect("told")
    time.sleep(0.1)  # a result is on its way, if there is one
    caller.cont()
    caller.expect("CallTimeoutError", timeout=2.0)


def test_a_nested_call_ends_with_its_caller(serve) -> None:
    server = serve(SERVER)
    with pytest.raises((labc.CallTimeoutError, labc.RemoteError)):
        labc.at(timeout=0.5).call("nested_slow")
    match = server.expect(re.compile("nested ended after (.*)"), timeout=2.0)
    assert float(match[1]) < 1.0


@pytest.mark.parametrize("name", ["start_background", "start_background_thread"])
def test_what_a_call_leaves_behind_is_not_bound_by_its_deadline(serve, name: str) -> None:
    server = serve(SERVER)
    labc.at(timeout=0.3).call(name, 0.4)
    server.expect("background True")
    assert "never" not in server.errors


def test_a_cancelled_call_leaves_nothing_running(serve, until) -> None:
    server = serve(SERVER)

    async def main() -> None:
        calls = [asyncio.create_task(aio.call("wait", 20)) for _ in range(10)]
        for _ in calls:
            await asyncio.to_thread(server.expect, "begun")
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)

    asyncio.run(main())
    [info] = until(lambda: [i for i in labc.nodes() if i.name == "server" and i.running == 0])
    assert info.cancelled == 10
