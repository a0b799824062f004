"""Whatever a stranger does with streams, the node lives on and its memory stays bounded."""

from __future__ import annotations

import contextlib
import re
import socket
import time

import psutil
import pytest
from agent import Agent, LocalStart
from faults.test_lanes import LANES, alive, connected, conversation, read_to_end, send

from labc.wire import Body, Conversation, Event, Failed, Failure, Item, encode, encode_arguments, encode_items

FUNCTIONS = """
closed = []

def count(size=0):
    number = 0
    try:
        while True:
            yield bytes(size) if size else number
            number += 1
    finally:
        closed.append(number)

labc.register(count)
labc.register(lambda values: sum(values), name="total")
labc.register(lambda x: x, name="echo")
labc.register(lambda values: time.sleep(30), name="lazy")
labc.blocking.portal.node()
"""


@pytest.fixture
def server(start: LocalStart) -> Agent:
    agent = start("server")
    agent.exec(FUNCTIONS)
    return agent


def events(connection: socket.socket, speaker: Conversation) -> list[Event]:
    """The next that come."""
    while data := connection.recv(1 << 16):
        if found := speaker.receive(data):
            return found
    raise AssertionError("the connection was closed")


def ask(connection: socket.socket, speaker: Conversation, name: str, *args: object, streams: int = 0) -> int:
    """A call that wants a stream, or has some; returns when hello was said."""
    call_id = speaker.request(name, encode_arguments(args, {}), timeout=None, streams=streams, want_stream=not streams)
    send(connection, speaker)
    return call_id


def rss(agent: Agent) -> int:
    return int(psutil.Process(agent.program.process.pid).memory_info().rss)


def test_nothing_comes_without_credit(server: Agent, start: LocalStart, network: str) -> None:
    with connected(server) as connection:
        speaker = conversation(network)
        ask(connection, speaker, "count")
        connection.settimeout(0.1)
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            with contextlib.suppress(TimeoutError):  # it asks for a sign of life, and nothing else
                assert not any(isinstance(event, Item) for event in speaker.receive(connection.recv(1 << 16)))
    server.eval("until(lambda: closed)")
    assert server.eval("closed[0]") <= 1
    alive(server, start)


def test_a_stranger_who_gives_all_credit_and_reads_nothing(server: Agent, start: LocalStart, network: str) -> None:
    before = rss(server)
    with connected(server) as connection:
        speaker = conversation(network)
        call_id = ask(connection, speaker, "count", 100_000)
        speaker.credit(call_id, 0, (1 << 32) - 1, (1 << 64) - 1)
        send(connection, speaker)
        most, until = 0, time.monotonic() + 2.0
        while time.monotonic() < until:
            most = max(most, rss(server) - before)
            time.sleep(0.02)
        assert most < 200 << 20  # max_pending_bytes is 64 MiB
    server.eval("until(lambda: closed)")
    alive(server, start)


@pytest.mark.parametrize(
    ("items", "sentence"),
    [
        (Body(encode_items([encode(1).head] * 1001)), "an ITEM of 1001 values"),
        (Body(b"\x93\1\2\3"), "an ITEM that is no list of values"),
        (Body(b"\xdd\xff\xff\xff\xff\1"), "an ITEM of 6 bytes that says to hold 4294967295 values"),
    ],
)
def test_items_that_make_no_sense(server: Agent, start: LocalStart, network: str, items: Body, sentence: str) -> None:
    with connected(server) as connection:
        speaker = conversation(network)
        call_id = ask(connection, speaker, "lazy", "values", streams=1)
        speaker.item(call_id, 1, items)
        send(connection, speaker)
        read_to_end(connection)
    server.program.expect(re.compile(re.escape(sentence)), stream="stderr")
    alive(server, start)


def test_more_than_the_credit(server: Agent, start: LocalStart, network: str) -> None:
    """The window is 1000 values and 8 MiB; the function reads none."""
    before = rss(server)
    with connected(server) as connection:
        speaker = conversation(network)
        call_id = ask(connection, speaker, "lazy", "values", streams=1)
        items = Body(encode_items([encode(bytes(1000)).head] * 100))
        taken = 0
        with contextlib.suppress(OSError):  # it closes the connection, at whatever we are just then
            for _ in range(1000):
                speaker.item(call_id, 1, items)
                send(connection, speaker)
                taken += 1
        assert taken < 1000
    server.program.expect(re.compile("without credit for it"), stream="stderr")
    assert rss(server) - before < 60 << 20
    alive(server, start)


def test_an_end_that_makes_no_sense_ends_the_call_alone(server: Agent, start: LocalStart, network: str) -> None:
    """It says to have a stream, and the arguments have none; the end comes twice."""
    with connected(server) as connection:
        speaker = conversation(network)
        call_id = ask(connection, speaker, "echo", 1, streams=1)
        speaker.end(call_id, 1, Failure.from_exception(ValueError("x"), host="", node=""))
        speaker.end(call_id, 1)
        send(connection, speaker)
        found: list[Event] = []
        while not any(getattr(event, "id", None) == call_id for event in found):
            found += events(connection, speaker)
    alive(server, start)


def test_too_many_streams(server: Agent, start: LocalStart, network: str) -> None:
    with connected(server) as connection:
        speaker = conversation(network)
        call_id = ask(connection, speaker, "total", streams=60_000)
        failed = None
        while failed is None:
            failed = next((e for e in events(connection, speaker) if isinstance(e, Failed)), None)
        assert failed.id == call_id
        assert "60000 outgoing streams; at most 64 are possible" in failed.failure.message
    alive(server, start)


def test_a_thousand_streams_begun_and_left(server: Agent, start: LocalStart, network: str) -> None:
    for _ in range(10):
        with connected(server) as connection:
            speaker = conversation(network)
            asked = set()
            for _ in range(100):
                asked.add(call_id := ask(connection, speaker, "count"))
                speaker.credit(call_id, 0, 5, 1000)
            send(connection, speaker)
            while asked:
                asked -= {event.id for event in events(connection, speaker) if isinstance(event, Item)}
    server.eval("until(lambda: len(closed) == 1000)", timeout=30)
    server.eval(f"until(lambda: {LANES} == 0)")
    alive(server, start)
