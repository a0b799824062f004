"""Whoever watches the nodes is told what becomes of them: once, in order, and in time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from network.watchers import Watcher

import labc

pytestmark = pytest.mark.usefixtures("here")

SERVER = """
import sys
import labc
labc.init(name=sys.argv[1])
labc.register(lambda: sys.argv[1], name=sys.argv[1])
labc.serve()
"""


@pytest.fixture
def watcher() -> Iterator[Watcher]:
    """In a process that is the root of the host, as it is the first."""
    labc.nodes()
    assert labc.blocking.portal.node().is_root
    with Watcher() as watcher:
        yield watcher


def test_it_tells_who_is_there_and_who_joins(serve, watcher: Watcher) -> None:
    began = time.time()
    serve(SERVER, "a", name="a")
    event, _ = watcher.events.get(timeout=5)
    assert (event.kind, event.name, event.host) == ("joined", "a", labc.blocking.portal.node().host)
    (info,) = [info for info in labc.nodes() if info.name == "a"]
    assert (event.id, event.host_id) == (info.id, info.host_id)
    assert began <= event.seconds <= time.time()
    assert event.time.timestamp() == pytest.approx(event.seconds)
    later = Watcher()
    later.expect("joined a")
    later.handle.close()
    watcher.told_nothing_within(0.2)


def test_it_tells_within_a_tenth_of_a_second(serve, watcher: Watcher) -> None:
    """From when its token was declared, as told by itself with the same clock."""
    program = serve(
        """
        import time
        import labc
        from labc.fabric import Fabric
        show = Fabric.show_presence
        async def show_and_tell(self):
            print(time.monotonic(), flush=True)
            await show(self)
        Fabric.show_presence = show_and_tell
        labc.serve()
        """,
        name="a",
    )
    assert watcher.expect("joined a") - float(program.output.split()[0]) < 0.1


@pytest.mark.parametrize("lane", [False, True])
def test_one_that_is_ended_in_good_order_has_left(serve, watcher: Watcher, lane: bool) -> None:
    program = serve(SERVER, "a", name="a")
    watcher.expect("joined a")
    if lane:
        labc.at(node="a").ping()
    program.terminate()
    ended = time.monotonic()
    assert watcher.expect("left a") - ended < 1.0
    assert program.wait() == 143
    watcher.told_nothing_within(1.5)


@pytest.mark.parametrize("end", ["its end", "Ctrl-C", "close()", "async with"])
def test_whichever_way_a_program_ends_it_says_goodbye(start, watcher: Watcher, end: str) -> None:
    endings = {
        "its end": "import labc; labc.nodes()",
        "Ctrl-C": "import labc, os, signal; labc.nodes(); os.kill(os.getpid(), signal.SIGINT); input()",
        "close()": "import labc; labc.nodes(); labc.close(); input()",
        "async with": """
            import asyncio, labc
            async def main():
                async with labc.Node(name="program") as node:
                    await node.nodes()
            asyncio.run(main())
        """,
    }
    start(endings[end])
    watcher.expect("joined program", "left program")


@pytest.mark.parametrize("lane", [False, True])
def test_one_that_is_killed_is_lost(serve, watcher: Watcher, lane: bool) -> None:
    program = serve(SERVER, "a", name="a")
    watcher.expect("joined a")
    if lane:
        assert labc.call("a") == "a"
        labc.ping()
    program.kill()
    killed = time.monotonic()
    if lane:
        assert watcher.expect("lost a") - killed < 0.5
    else:
        assert watcher.expect("suspect a") - killed < 1.0
        assert watcher.expect("lost a") - killed < 2.0
    watcher.told_nothing_within(0.2)


def test_one_that_is_stopped_is_suspect_and_back_when_it_goes_on(serve, monkeypatch) -> None:
    monkeypatch.setenv("LABC_PRESENCE_GRACE", "10")  # so that there is time to let it go on
    labc.nodes()
    watcher = Watcher()
    program = serve(SERVER, "a", name="a")
    watcher.expect("joined a")
    for _ in range(2):
        program.stop()
        stopped = time.monotonic()
        assert watcher.expect("suspect a") - stopped < 3.0
        program.cont()
        continued = time.monotonic()
        assert watcher.expect("back a") - continued < 3.0
    program.kill()
    watcher.expect("suspect a")
    watcher.handle.close()


def test_one_that_stays_stopped_is_lost_and_joins_again_when_it_goes_on(serve, watcher: Watcher) -> None:
    program = serve(SERVER, "a", name="a")
    watcher.expect("joined a")
    program.stop()
    stopped = time.monotonic()
    assert watcher.expect("suspect a") - stopped < 3.0
    assert watcher.expect("lost a") - stopped < 4.0
    program.cont()
    watcher.expect("joined a")
    program.terminate()
    watcher.expect("left a")


def test_one_that_does_not_answer_a_call_is_suspect_soon(serve, watcher: Watcher) -> None:
    program = serve("import labc, time\nlabc.register(time.sleep, name='sleep')\nlabc.serve()", name="a")
    watcher.expect("joined a")
    caller = threading.Thread(target=lambda: labc.at(node="a").call("sleep", 2.0))
    caller.start()
    labc.at(node="a").ping()
    program.stop()
    stopped = time.monotonic()
    assert watcher.expect("suspect a") - stopped < 2.0
    program.cont()
    watcher.expect("back a")
    caller.join()


@pytest.mark.parametrize("how", ["kill", "terminate"])
def test_the_end_of_a_root_is_not_the_loss_of_others(serve, until, how: str) -> None:
    """Who watches is one of those that lose their link with it."""
    root = serve(SERVER, "root", name="root")
    programs = [serve(SERVER, name, name=name) for name in "ab"]
    watcher = Watcher()
    assert {watcher.next()[:2] for _ in range(3)} == {("joined", name) for name in ("root", "a", "b")}
    assert not labc.blocking.portal.node().is_root
    getattr(root, how)()
    of_root = []
    while not of_root or of_root[-1] not in ("left", "lost"):
        kind, name, _ = watcher.next()
        if name == "root":
            of_root.append(kind)
        else:
            assert kind in ("suspect", "back"), (kind, name)
    assert of_root == (["left"] if how == "terminate" else ["suspect", "lost"])
    # Who leaves without a link to a root can't say so.
    until(lambda: {"a", "b"} <= {info.name for info in labc.at(timeout=1.0).nodes() if info.answered})
    programs[0].terminate()
    events = [watcher.next()]
    while events[-1][:2] != ("left", "a"):
        events.append(watcher.next())
    assert all(kind in ("suspect", "back") for kind, _, _ in events[:-1]), events
    watcher.handle.close()


def test_a_false_goodbye_does_no_harm(serve, watcher: Watcher) -> None:
    program = serve(SERVER, "a", name="a")
    event, _ = watcher.events.get(timeout=5)
    fabric = labc.blocking.portal.node().rooms().fabric
    fabric.publish(fabric.keys.goodbye(event.id), b"")
    watcher.told_nothing_within(2.5)
    program.kill()
    watcher.expect("suspect a", "lost a")
