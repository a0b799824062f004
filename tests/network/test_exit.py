"""A program that uses labc ends like any other: by itself, quickly, and without a word."""

from __future__ import annotations

import re
import signal
import time

import pytest

import labc

STRICT = {"PYTHONWARNINGS": "error", "PYTHONASYNCIODEBUG": ""}

SERVER = """
import asyncio, time
import labc

labc.register(lambda x: x, name="echo")
labc.register(time.sleep, name="sleep")

@labc.register
async def wait(seconds):
    await asyncio.sleep(seconds)

labc.serve()
"""

ENDS = {
    "after a call": "",
    "after an exception": "raise ValueError('mine')",
    "after sys.exit": "import sys; sys.exit(5)",
    "with a call in flight": """
import threading, time
for name in ("sleep", "wait"):
    threading.Thread(target=labc.call, args=(name, 60), daemon=True).start()
time.sleep(0.3)
""",
    "with a call that looks for somebody": """
import threading, time
threading.Thread(target=labc.at(find_timeout=60).call, args=("nobody",), daemon=True).start()
time.sleep(0.3)
""",
    "while it iterates over messages": """
import threading, time
threading.Thread(target=lambda: list(labc.messages("t")), daemon=True).start()
time.sleep(0.3)
""",
    "while its own functions run": """
import asyncio, threading, time
labc.register(time.sleep, name="mine")
@labc.register
async def mine_on_loop():
    try:
        await asyncio.sleep(60)
    finally:
        print("finally", flush=True)
@labc.register
async def stubborn():
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass
for args in (("mine", 60), ("mine_on_loop",), ("stubborn",)):
    threading.Thread(target=labc.call, args=args, daemon=True).start()
time.sleep(0.3)
""",
    "with background tasks on the node's loop": """
import asyncio
tasks = []
@labc.register
async def begin():
    async def work():
        await asyncio.sleep(60)
    async def generate():
        yield 1
        await asyncio.sleep(60)
    async def read():
        async for _ in generate():
            pass
    tasks.extend([asyncio.create_task(work()), asyncio.create_task(read())])
labc.call("begin")
""",
    "with handlers at work": """
import asyncio, time
@labc.subscribe(topic="t")
def busy(_): time.sleep(60)
@labc.subscribe(topic="t")
async def waiting(_): await asyncio.sleep(60)
for _ in range(10):
    labc.subscribe(waiting.function, topic="t")
    labc.publish("t", 1)
time.sleep(0.3)
""",
    "after sys.exit in a thread": """
import threading, sys
thread = threading.Thread(target=lambda: (labc.call("echo", 1), sys.exit(3)))
thread.start(); thread.join()
""",
    "with calls from threads that outlive the main thread": """
import threading, time
def late():
    time.sleep(0.3)
    print(labc.call("echo", "late"), flush=True)
threading.Thread(target=late).start()
""",
    "with a thread pool": """
import concurrent.futures
pool = concurrent.futures.ThreadPoolExecutor(4)
for n in range(20): pool.submit(labc.call, "echo", n)
""",
    "after close": "labc.close(); labc.close(); labc.call('echo', 1); labc.close()",
    "with at-exit functions that use it": """
import atexit
atexit.register(lambda: print(labc.call("echo", "at exit"), flush=True))
""",
    "through asyncio": """
import asyncio
from labc import aio
async def main():
    print(await aio.call("echo", "aio"), flush=True)
    asyncio.create_task(aio.call("wait", 60))
    await asyncio.sleep(0.1)
asyncio.run(main())
""",
    "with a node of its own": """
import asyncio
async def main():
    async with labc.Node() as node:
        print(await node.call("echo", "node"), flush=True)
        task = asyncio.create_task(node.call("wait", 60))
        await asyncio.sleep(0.1)
    try:
        await task
    except labc.LabcError as error:
        print("error", flush=True)
asyncio.run(main())
""",
}
PRINTED = {
    "while its own functions run": "finally\n",
    "with calls from threads that outlive the main thread": "late\n",
    "with at-exit functions that use it": "at exit\n",
    "through asyncio": "aio\n",
    "with a node of its own": "node\nerror\n",
}
CODES = {"after an exception": 1, "after sys.exit": 5}


@pytest.mark.parametrize("end", ENDS)
def test_the_end_of_a_program(serve, start, end: str) -> None:
    serve(SERVER)
    program = start(f"import labc, time\nlabc.call('echo', 1)\n{ENDS[end]}\nprint('end', flush=True)", **STRICT)
    if end not in CODES:
        program.expect("end")
    started = time.monotonic()
    code = program.wait(10.0)
    assert time.monotonic() - started < (2.0 if end in CODES else 1.0)
    assert code == CODES.get(end, 0)
    assert sorted(program.output.replace("end\n", "").split()) == sorted(PRINTED.get(end, "").split())
    if end == "after an exception":
        assert program.errors.splitlines()[-1] == "ValueError: mine"
        assert program.errors.count("Traceback") == 1
    else:
        assert program.errors == ""


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("end", ["", "sys.exit(5)", "raise ValueError('mine')"])
def test_a_program_that_only_calls_is_a_node_until_it_ends(serve, start, until, end: str) -> None:
    """It says goodbye to whom it called: without, it would be kept for presence_grace."""
    tells = "labc.init(presence_grace=3.0)\n"
    tells += "labc.register(lambda: [node.name for node in labc.nodes()], name='names')"
    serve(SERVER.replace("labc.serve()", f"{tells}\nlabc.serve()"))

    def names() -> list[str]:
        return labc.call("names")

    source = f"import labc, sys\nlabc.call('echo', 1)\nprint('called', flush=True)\ninput()\n{end}"
    client = start(source, name="client")
    client.expect("called")
    until(lambda: "client" in names())
    client.send_line("")
    client.wait()
    ended = time.monotonic()
    until(lambda: "client" not in names())
    assert time.monotonic() - ended < 1.0
    until(lambda: "client" not in [node.name for node in labc.nodes()])  # which it never talked to
    assert time.monotonic() - ended < 2.5, "presence_grace is 1 s here"


def test_a_program_that_only_imports_it(start) -> None:
    program = start("import labc, labc.aio", **STRICT)
    assert program.wait() == 0
    assert program.errors == ""


def test_a_program_that_only_registers(start) -> None:
    program = start("import labc\nlabc.register(print)\nlabc.subscribe(print)", **STRICT)
    assert program.wait() == 0
    assert program.errors == ""


def test_ctrl_c_in_a_call(serve, start) -> None:
    """It is KeyboardInterrupt in the caller's line, and nothing else."""
    serve(SERVER)
    program = start(
        """
        import labc
        labc.call("echo", 1)
        print("calling", flush=True)
        try:
            labc.call("sleep", 60)
        except KeyboardInterrupt:
            print("interrupted", labc.call("echo", 2), flush=True)
        """,
        **STRICT,
    )
    program.expect("calling")
    time.sleep(0.1)
    program.send_signal(signal.SIGINT)
    program.expect("interrupted 2", timeout=1.0)
    assert program.wait(1.0) == 0
    assert program.errors == ""


@pytest.mark.parametrize("milliseconds", [0, 2, 4, 6, 9, 12, 16, 20, 30, 50])
def test_ctrl_c_while_it_connects(start, milliseconds: int) -> None:
    program = start(
        """
        import labc
        try:
            print("connecting", flush=True)
            labc.call("nobody")
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        """
    )
    program.expect("connecting")
    time.sleep(milliseconds / 1000)  # the moment is the case that is tested, and not waited for
    program.send_signal(signal.SIGINT)
    program.expect("interrupted", timeout=1.5)
    assert program.wait(1.5) == 0
    assert program.errors == ""


def test_a_server_that_serves_many_ends_quietly(serve, start) -> None:
    """Also while it prints: no thread is caught by the end of the interpreter with a lock in its hands."""
    for _ in range(3):
        server = serve("import labc\nlabc.subscribe(print, topic='t')\nlabc.serve()", **STRICT)
        publisher = start("import labc\nprint('publishing')\nwhile True: labc.publish('t', 'x' * 100)")
        publisher.expect("publishing")
        server.expect(re.compile("^x"))
        server.send_signal(signal.SIGINT)
        assert server.wait(2.0) == 0
        assert len(server.errors.splitlines()) == 1
        publisher.close()


def test_close_ends_serve(start, serve) -> None:
    server = serve(
        """
        import labc

        @labc.register
        def leave(): labc.close()

        labc.serve()
        print("left", flush=True)
        """
    )
    program = start("import labc\ntry: labc.call('leave')\nexcept labc.PeerLostError: print('lost')")
    server.expect("left", timeout=2.0)
    assert server.wait(2.0) == 0
    assert program.wait(2.0) == 0


def test_close_wakes_all_who_wait(start, serve) -> None:
    serve(SERVER)
    program = start(
        """
        import threading, time
        import labc
        labc.call("echo", 1)
        ended = []
        def run(verb, *args):
            try:
                verb(*args)
            except labc.LabcError as error:
                ended.append(type(error).__name__)
        nobody = labc.at(find_timeout=60).call
        for verb, *args in [(labc.call, "sleep", 60), (nobody, "nobody"), (labc.call_all, "wait", 60)]:
            thread = threading.Thread(target=run, args=(verb, *args))
            thread.start()
        time.sleep(0.3)
        started = time.monotonic()
        labc.close()
        print(time.monotonic() - started < 1.0, flush=True)
        for thread in threading.enumerate():
            if thread is not threading.main_thread() and not thread.daemon:
                thread.join(2.0)
        print(sorted(ended), flush=True)
        """,
        **STRICT,
    )
    program.expect("True")
    line = program.expect(re.compile(r"^\[")).string
    # call_all may still give the outcome of those who were lost by it.
    assert len(eval(line)) >= 2
    assert set(eval(line)) <= {"ClosedError", "PeerLostError"}
    assert program.wait(2.0) == 0
    assert program.errors == ""


def test_ctrl_c_while_threads_publish(start) -> None:
    """serve() ends with daemon threads that are in the middle of a publish(): they end with it, without a word."""
    for _ in range(5):
        server = start(
            """
            import os
            import threading
            import labc

            def keep_publishing():
                number = 0
                while True:
                    labc.publish("numbers", number)
                    number += 1
                    if number == 100:
                        os.write(1, b"publishing\\n")  # in one piece

            for _ in range(2):
                threading.Thread(target=keep_publishing, daemon=True).start()
            labc.serve()
            """,
            **STRICT,
        )
        server.expect(re.compile("is in the network"), stream="stderr")
        server.expect("publishing")
        server.expect("publishing")
        started = time.monotonic()
        server.send_signal(signal.SIGINT)
        assert server.wait(5.0) == 0
        assert time.monotonic() - started < 1.0
        assert len(server.errors.splitlines()) == 1, server.errors
        server.close()


@pytest.mark.parametrize("milliseconds", [0, 1, 3, 6, 10, 15, 25, 50, 100])
def test_close_while_another_thread_connects(start, milliseconds: int) -> None:
    program = start(
        """
        import sys, threading, time
        import labc

        outcome = []
        def connect():
            try:
                outcome.append(type(labc.nodes()).__name__)
            except labc.LabcError as error:
                outcome.append(type(error).__name__)

        thread = threading.Thread(target=connect)
        thread.start()
        time.sleep(float(sys.argv[1]))  # the moment is the case that is tested, and not waited for
        started = time.monotonic()
        labc.close()
        print("closed in", time.monotonic() - started, flush=True)
        thread.join(3.0)
        print("outcome", *outcome, flush=True)
        """,
        str(milliseconds / 1000),
        **STRICT,
    )
    assert float(program.expect(re.compile(r"closed in (\S+)"))[1]) < 1.0
    assert program.expect(re.compile(r"outcome (\w+)"))[1] in ("list", "ClosedError")
    assert program.wait(2.0) == 0
    assert program.errors == ""
