"""Fork: it works, or says so at once; it never hangs."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import labc

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def no_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    """From 3.12 on Python warns of any fork beside threads."""
    monkeypatch.setenv("PYTHONWARNINGS", "ignore::DeprecationWarning")


SERVER = "import labc\nlabc.register(lambda x: x, name='echo')\nlabc.serve()"

CHILD = """
def child():
    import time
    started = time.monotonic()
    for name, verb in {
        "call": lambda: labc.call("echo", 1),
        "call_all": lambda: labc.call_all("echo", 1),
        "publish": lambda: labc.publish("t", 1),
        "nodes": lambda: labc.nodes(),
        "functions": lambda: labc.functions(),
        "ping": lambda: labc.ping(),
        "messages": lambda: labc.messages("t"),
        "node_events": lambda: labc.node_events(),
        "watch_nodes": lambda: labc.watch_nodes(print),
        "serve": lambda: labc.serve(),
        "aio": lambda: __import__("asyncio").run(aio.call("echo", 1)),
    }.items():
        try:
            verb()
        except labc.ForkedError as error:
            if "spawn" not in str(error):
                print("it should say what to do", error)
        else:
            print(name, "did not raise")
    handle = labc.register(len, name="len")
    handle.close()
    watch.close()
    labc.close()
    print("child", time.monotonic() - started < 0.5, flush=True)
"""


def parent(fork: str) -> str:
    return f"""
import os, sys, time
import labc
from labc import aio
labc.register(lambda: 1, name="mine")
labc.subscribe(print, topic="t")
watch = labc.watch_nodes(lambda event: None)
assert labc.call("echo", 1) == 1
{CHILD}
{fork}
assert labc.call("echo", 2) == 2
labc.register(lambda: 3, name="later")
assert labc.call("later") == 3
print("parent", flush=True)
"""


FORKS = {
    "os.fork": """
pid = os.fork()
if pid == 0:
    child()
    sys.exit(0)
assert os.waitpid(pid, 0)[1] == 0
""",
    "os.fork, os._exit": """
pid = os.fork()
if pid == 0:
    child()
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
""",
    "multiprocessing": """
import multiprocessing
process = multiprocessing.get_context("fork").Process(target=child)
process.start()
process.join()
assert process.exitcode == 0
""",
    "a pool": """
import multiprocessing
with multiprocessing.get_context("fork").Pool(1) as pool:
    pool.apply(child)
""",
}


@pytest.mark.parametrize("fork", FORKS)
def test_after_the_parent_has_used_it(serve, start, fork: str) -> None:
    serve(SERVER)
    started = time.monotonic()
    program = start(parent(FORKS[fork]))
    program.expect("child True")
    program.expect("parent")
    assert program.wait(2.0) == 0
    assert program.errors == ""
    assert program.output.count("\n") == 2
    assert time.monotonic() - started < 5.0


@pytest.mark.usefixtures("here")
def test_a_child_does_not_hide_the_death_of_its_parent(start) -> None:
    """It holds no connection of it open, nor the socket that takes new ones."""
    parent = start("""
        import os, time
        import labc
        labc.init(name="parent")
        labc.register(lambda x: x, name="echo")
        labc.register(time.sleep, name="sleep")
        @labc.register
        def fork():
            child = os.fork()
            if not child:
                time.sleep(30)
                os._exit(0)
            return child
        print("ready", flush=True)
        labc.serve()
    """)
    parent.expect("ready")
    for _ in range(3):
        labc.at(find_timeout=5).call("echo", 1)
    child = labc.call("fork")
    try:
        with ThreadPoolExecutor(1) as threads:
            sleeping = threads.submit(labc.call, "sleep", 30)
            while not any(info.running for info in labc.nodes() if info.name == "parent"):
                time.sleep(0.01)
            parent.kill()
            started = time.monotonic()
            with pytest.raises(labc.PeerLostError, match="may have run"):
                sleeping.result(5)
            with pytest.raises((labc.PeerLostError, labc.NotFoundError)) as caught:
                labc.call("echo", 2)
            assert getattr(caught.value, "ran", "no") == "no"
            assert time.monotonic() - started < 1.0
    finally:
        os.kill(child, signal.SIGKILL)


def test_after_the_parent_has_used_and_closed_it(serve, start) -> None:
    serve(SERVER)
    program = start(parent("labc.close()\n" + FORKS["os.fork"]))
    program.expect("child True")
    program.expect("parent")
    assert program.wait(2.0) == 0
    assert program.errors == ""


@pytest.mark.parametrize("fork", ["os.fork", "multiprocessing"])
def test_before_any_use(serve, start, fork: str) -> None:
    """Registering is no use of the network yet: both offer what was registered before."""
    serve(SERVER)
    program = start(
        f"""
import os, sys
import labc
labc.register(os.getpid, name="pid")

def child():
    assert labc.call("echo", 1) == 1
    assert labc.call("pid") == os.getpid()
    print("child True", flush=True)

{FORKS[fork]}
assert labc.call("pid") == os.getpid()
assert labc.call("echo", 1) == 1
print("parent", flush=True)
"""
    )
    program.expect("child True")
    program.expect("parent")
    assert program.wait(2.0) == 0
    assert program.errors == ""


def test_the_child_of_a_program_with_a_node_of_its_own(start) -> None:
    program = start(
        """
        import asyncio, os, sys
        import labc

        async def main():
            async with labc.Node() as node:
                node.register(len)
                pid = os.fork()
                if pid == 0:
                    try:
                        await node.call("len", [1])
                    except labc.ForkedError:
                        print("child", flush=True)
                    os._exit(0)
                await asyncio.to_thread(os.waitpid, pid, 0)
                print("parent", await node.call("len", [1]), flush=True)

        asyncio.run(main())
        """
    )
    program.expect("child")
    program.expect("parent 1")
    assert program.wait(2.0) == 0
    assert program.errors == ""


def test_a_parent_with_a_process_pool(start) -> None:
    """The end of a forked child leaves the parent's processes alone."""
    program = start(
        """
        import os, sys, time
        import labc

        @labc.register(run="process")
        def pid(): return os.getpid()

        if __name__ == "__main__":
            before = labc.call("pid")
            child = os.fork()
            if child == 0:
                sys.exit(0)
            os.waitpid(child, 0)
            time.sleep(0.1)
            print(labc.call("pid") == before, flush=True)
        """
    )
    program.expect("True")
    assert program.wait(2.0) == 0
    assert program.errors == ""


def test_spawn(serve, start) -> None:
    serve(SERVER)
    program = start(
        """
        import multiprocessing
        import labc

        def child(value):
            print("child", labc.call("echo", value), flush=True)

        if __name__ == "__main__":
            print("parent", labc.call("echo", 1), flush=True)
            process = multiprocessing.get_context("spawn").Process(target=child, args=(2,))
            process.start()
            process.join()
            print("code", process.exitcode, flush=True)
        """
    )
    for line in ("parent 1", "child 2", "code 0"):
        program.expect(line)
    assert program.wait(2.0) == 0
    assert program.errors == ""


def test_subprocess(serve, start) -> None:
    """A child of another program, which inherits nothing."""
    serve(SERVER)
    program = start(
        """
        import subprocess, sys
        import labc
        labc.call("echo", 1)
        print(subprocess.run([sys.executable, "-c", "import labc; print(labc.call('echo', 2))"], capture_output=True))
        """
    )
    assert program.wait(5.0) == 0
    assert "stdout=b'2\\n'" in program.output
