"""Whatever comes over a lane, the node lives on and its memory stays bounded."""

from __future__ import annotations

import contextlib
import os
import random
import re
import socket
import struct
import time
from collections.abc import Iterator

import psutil
import pytest
from agent import Agent, LocalStart, RemoteFailure

from labc.version import __version__
from labc.wire import Conversation, Greeting, encode_arguments

PORT = "labc.blocking.portal.node().rooms()._pool.listener.port"
LANES = "len(labc.blocking.portal.node().rooms()._pool._all)"


@pytest.fixture
def server(start: LocalStart) -> Agent:
    agent = start("server")
    agent.exec("labc.register(lambda x: x, name='echo'); labc.register(lambda: time.sleep(60), name='long')")
    agent.exec("labc.blocking.portal.node()")
    return agent


@contextlib.contextmanager
def connected(server: Agent) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.eval(PORT)), timeout=10) as connection:
        yield connection


def conversation(network: str, **changes: object) -> Conversation:
    fields: dict[str, object] = {
        "network": network,
        "node_id": os.urandom(8).hex(),
        "node_name": "stranger",
        "host_id": "0",
        "host_name": "nowhere",
        "labc_version": __version__,
        "max_message_bytes": 1 << 30,
    }
    return Conversation(Greeting(**(fields | changes)), initiator=True, max_message_bytes=1 << 30)  # type: ignore[arg-type]


def send(connection: socket.socket, speaker: Conversation) -> None:
    while chunks := speaker.take(1 << 20):
        connection.sendall(b"".join(chunks))


def read_to_end(connection: socket.socket) -> bytes:
    """What comes until the other side closes; fails by its time-out if it does not."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(1 << 16):
            data += piece
    return data


def greeting_bytes(network: str) -> bytes:
    return b"".join(conversation(network).take(1 << 20))


def alive(server: Agent, start: LocalStart) -> None:
    """A newcomer can call it, and no lane of a stranger is left."""
    with start("newcomer") as newcomer:
        assert newcomer.eval("labc.call('echo', 'still here')") == "still here"
    server.eval(f"until(lambda: {LANES} == 0)")


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
        b"\0" * 1000,
        random.Random(1).randbytes(5000),
    ],
    ids=["http", "tls", "zeros", "noise"],
)
def test_garbage_closes_the_connection_with_a_logged_sentence(server: Agent, start: LocalStart, garbage: bytes) -> None:
    with connected(server) as connection:
        connection.sendall(garbage)
        read_to_end(connection)
    server.program.expect(re.compile(r"lane with .* (is closed|no lane)|no lane with"), stream="stderr")
    alive(server, start)


REQUEST = 3
CHUNK = 12
MULTI = 1


def frame(kind: int, flags: int, payload: bytes, length: int | None = None) -> bytes:
    """Of request 1."""
    return struct.pack(">IBBHQ", len(payload) if length is None else length, kind, flags, 0, 1) + payload


def table(*sizes: int) -> bytes:
    return struct.pack(f">H{len(sizes)}Q", len(sizes), *sizes)


CHUNKS = b"".join(frame(CHUNK, 0, bytes(100_000)) for _ in range(20))  # each of them is legal

BREAKS = {
    "garbage": (random.Random(3).randbytes(1000), "frame"),
    "a truncated frame": (frame(REQUEST, 0, b"half", length=1000), "in the middle of a message"),
    "an oversized frame": (frame(REQUEST, 0, b"", length=1 << 31), f"{1 << 31} bytes"),
    "chunks that exceed max_message_bytes": (
        frame(REQUEST, MULTI, table(10, 2_000_000)) + CHUNKS,
        "at most 1000000 are allowed",
    ),
    "chunks that exceed what was declared": (
        frame(REQUEST, MULTI, table(10, 500_000)) + CHUNKS,
        "a chunk of 100000 bytes for id 1, of which 10 remain",
    ),
}


@pytest.mark.parametrize("kind", BREAKS)
def test_what_breaks_a_lane_is_logged_with_the_reason(start: LocalStart, network: str, kind: str) -> None:
    server = start("server")
    server.exec("import logging; logging.basicConfig(format='%(name)s %(levelname)s: %(message)s')")
    server.exec("labc.init(max_message_bytes=1_000_000); labc.register(lambda x: x, name='echo')")
    server.exec("labc.blocking.portal.node()")
    data, reason = BREAKS[kind]
    with connected(server) as connection:
        connection.sendall(greeting_bytes(network))
        with contextlib.suppress(OSError):  # closed at the other side, while this is still sent
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        read_to_end(connection)
    pattern = f"^labc.lanes WARNING: the lane with stranger on nowhere is closed: .*{reason}"
    server.program.expect(re.compile(pattern), timeout=3.0, stream="stderr")
    alive(server, start)


def test_garbage_behind_a_good_greeting(server: Agent, start: LocalStart, network: str) -> None:
    noise = random.Random(2)
    for _ in range(20):
        with connected(server) as connection:
            connection.sendall(greeting_bytes(network) + noise.randbytes(noise.randrange(20, 3000)))
            connection.shutdown(socket.SHUT_WR)
            read_to_end(connection)
    alive(server, start)


def test_a_frame_that_declares_too_much_costs_no_memory(server: Agent, start: LocalStart, network: str) -> None:
    process = psutil.Process(server.pid)
    before = process.memory_info().rss
    for _ in range(30):
        with connected(server) as connection:
            connection.sendall(greeting_bytes(network) + struct.pack(">IBBHQ", 0xFFFFFFFF, 3, 0, 0, 1))
            assert b"frame" in read_to_end(connection)  # the goodbye says why
    assert process.memory_info().rss - before < 20e6
    alive(server, start)


def test_a_truncated_message_is_forgotten(server: Agent, start: LocalStart, network: str) -> None:
    speaker = conversation(network)
    speaker.request("echo", encode_arguments((b"x" * 200_000,), {}), timeout=5)
    data = b"".join(speaker.take(1 << 20))
    for size in (5, 40, len(data) // 2, len(data) - 1):
        with connected(server) as connection:
            connection.sendall(data[:size])
            connection.shutdown(socket.SHUT_WR)
            read_to_end(connection)
    alive(server, start)


def test_another_network_is_refused_with_a_sentence_on_both_sides(server: Agent, network: str) -> None:
    speaker = conversation("elsewhere")
    with connected(server) as connection:
        send(connection, speaker)
        events = speaker.receive(read_to_end(connection))
    sentence = f"stranger on nowhere is in the network 'elsewhere' and server on .* is in the network '{network}'"
    assert any(re.search(sentence, str(event)) for event in events)
    server.program.expect(re.compile(f"no lane with .*: {sentence}"), stream="stderr")


def test_another_version_of_the_protocol_is_refused_with_a_sentence(server: Agent, network: str) -> None:
    data = bytearray(greeting_bytes(network))
    data[4] = 9
    with connected(server) as connection:
        connection.sendall(data)
        assert b"version 9" in read_to_end(connection)
    server.program.expect(re.compile("no lane with .*version 9 .*version 1:"), stream="stderr")


def test_who_asks_for_another_node_is_refused(server: Agent, network: str) -> None:
    speaker = conversation(network, target="somebody-else")
    with connected(server) as connection:
        send(connection, speaker)
        assert b"asked for node somebody-else" in read_to_end(connection)


def test_a_connection_that_says_nothing_is_closed(server: Agent) -> None:
    with connected(server) as connection:
        connection.settimeout(10)
        assert b"no greeting came in time" in read_to_end(connection)


def test_a_caller_that_reads_no_answers_is_bounded(server: Agent, start: LocalStart, network: str) -> None:
    process = psutil.Process(server.pid)
    before = process.memory_info().rss
    speaker = conversation(network)
    with connected(server) as connection:
        connection.setblocking(False)
        for _ in range(400):  # 400 answers of 1 MB, none of which is read
            speaker.request("echo", encode_arguments((b"x" * 1_000_000,), {}), timeout=60)
        data = b"".join(b"".join(chunks) for chunks in iter(lambda: speaker.take(1 << 20), []))
        end = time.monotonic() + 5
        while data and time.monotonic() < end:
            with contextlib.suppress(BlockingIOError):
                data = data[connection.send(data[: 1 << 16]) :]
        peak = process.memory_info().rss - before
        assert peak < 250e6, f"{peak / 1e6:.0f} MB"
        with start("beside") as beside:
            assert beside.eval("labc.call('echo', 1)") == 1
    alive(server, start)


def test_too_many_lanes_are_refused_and_the_others_work(start: LocalStart, network: str) -> None:
    server = start("server")
    server.exec("labc.init(max_lanes=5); labc.register(lambda x: x, name='echo'); labc.blocking.portal.node()")
    with contextlib.ExitStack() as stack:
        kept = []
        for _ in range(5):
            connection = stack.enter_context(connected(server))
            connection.sendall(greeting_bytes(network))
            assert connection.recv(1000)
            kept.append(connection)
        with connected(server) as connection:
            assert b"too many lanes" in read_to_end(connection)
        speaker = conversation(network)
        kept[0].close()
        server.eval(f"until(lambda: {LANES} == 4)")
        connection = stack.enter_context(connected(server))
        speaker.request("echo", encode_arguments(("in",), {}), timeout=5)
        send(connection, speaker)
        events: list[object] = []
        while len(events) < 2:
            events += speaker.receive(connection.recv(1 << 16))


def test_a_flood_of_connections_does_not_stop_calls(server: Agent, start: LocalStart) -> None:
    port = server.eval(PORT)
    with start("caller") as caller:
        assert caller.eval("labc.call('echo', 1)") == 1
        caller.exec("""
worst = [0.0]
flooded = threading.Event()
def keep_calling():
    while not flooded.is_set():
        began = time.time(); labc.call('echo', 1); worst[0] = max(worst[0], time.time() - began)
thread = threading.Thread(target=keep_calling); thread.start()
""")
        for _ in range(1500):
            with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
                connection.sendall(b"nonsense")
        caller.exec("flooded.set(); thread.join()")
        assert caller.eval("worst[0]") < 1.0
    alive(server, start)


def test_a_half_open_lane_does_not_keep_a_call_running(start: LocalStart, network: str) -> None:
    """The caller's host is gone without a word: here, its process is stopped."""
    server = start("server")
    server.exec("""
ended = []
async def wait():
    import asyncio
    try:
        await asyncio.sleep(60)
    finally:
        ended.append(time.time())
labc.register(wait)
labc.blocking.portal.node()
""")
    caller = start("caller")
    caller.exec("start_call('wait')")
    server.eval("until(lambda: labc.blocking.portal.node().rooms()._provider.running == 1)")
    caller.program.stop()
    stopped = time.time()
    server.eval("until(lambda: ended)")
    assert server.eval("ended[0]") - stopped < 4
    caller.program.cont()
    assert caller.eval("call_result()")["error"] == "PeerLostError"


def test_a_killed_caller_ends_its_calls(start: LocalStart) -> None:
    server = start("server")
    server.exec("""
def wait():
    began.set()
    while not labc.current_call().cancelled:
        time.sleep(0.005)
    received.append(time.time())
began = threading.Event()
labc.register(wait)
labc.blocking.portal.node()
""")
    caller = start("caller")
    caller.exec("start_call('wait')")
    assert server.eval("began.wait(10)"), "what has not begun when nobody waits any more does not begin"
    killed = time.time()
    caller.program.kill()
    server.eval("until(lambda: received)")
    assert server.eval("received[0]") - killed < 0.5


def test_a_value_larger_than_the_provider_takes_is_told_at_the_caller(start: LocalStart) -> None:
    server = start("server")
    server.exec(
        "labc.init(max_message_bytes=100_000); labc.register(lambda x: x, name='echo'); labc.blocking.portal.node()"
    )
    caller = start("caller")
    assert caller.eval("len(labc.call('echo', bytes(90_000)))") == 90_000
    with pytest.raises(RemoteFailure, match=r"CarryError.*max_message_bytes=100000"):
        caller.eval("labc.call('echo', bytes(200_000))")
    assert caller.eval("labc.call('echo', 1)") == 1
