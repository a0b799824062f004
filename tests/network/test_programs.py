"""The first programs of the documentation, word for word, as real processes."""

from __future__ import annotations

import re
import signal

import pytest

SERVER = """
import labc

@labc.register
def echo(arg):
    return arg

labc.subscribe(print)
labc.serve()
"""

CLIENT = """
import labc
print(labc.call("echo", "Hello World!"))     # Hello World!
labc.publish("print", "Hello World!")        # the server prints it
"""

ADDER = """
import asyncio
from labc import aio as labc

@labc.register
async def add(a: int, b: int = 1) -> int:
    return a + b

async def main():
    async with labc.Node(name="adder") as node:
        print(await node.call("add", 2, b=3))
        async for message in node.messages("sensors/*/temperature"):
            print(message.topic, message.value, message.sender)
asyncio.run(main())
"""


def test_server_and_client(start, serve) -> None:
    server = serve(SERVER)
    for _ in range(3):
        client = start(CLIENT, name="client")
        assert client.wait() == 0
        assert client.output == "Hello World!\n"
        assert client.errors == ""
        server.expect("Hello World!")
    assert server.output == "Hello World!\n" * 3


def test_the_client_may_be_started_first(start, serve) -> None:
    client = start(CLIENT, name="client")
    server = serve(SERVER)
    client.expect("Hello World!")
    server.expect("Hello World!")
    assert client.wait() == 0


def test_the_asyncio_program(start) -> None:
    adder = start(ADDER, name="asyncio_program")
    adder.expect("5")
    sensor = start(
        "import labc; print(labc.call('add', 1)); labc.publish('sensors/lab2/temperature', 21.5)", name="sensor"
    )
    sensor.expect("2")
    line = adder.expect(re.compile("^sensors"))
    assert re.fullmatch(r"sensors/lab2/temperature 21\.5 sensor on \S+", line.string)
    assert sensor.wait() == 0
    assert sensor.errors == ""
    assert adder.errors == ""


def test_a_server_on_asyncio_leaves_on_sigterm(serve) -> None:
    """The network is told at once, and `finally` runs."""
    server = serve("""
        import asyncio
        from labc import aio as labc

        async def main():
            try:
                async with labc.Node(name="mine"):
                    await labc.serve()
            finally:
                print("tidied up", flush=True)

        asyncio.run(main())
    """)
    server.send_signal(signal.SIGTERM)
    server.expect("tidied up", timeout=3.0)
    assert server.wait(3.0) == 143
    assert len(server.errors.splitlines()) == 1  # the line with which it started


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_a_server_is_ended_by_a_signal(serve, number: int, code: int) -> None:
    server = serve(SERVER)
    server.send_signal(number)
    assert server.wait(2.0) == code
    assert server.output == ""
    assert len(server.errors.splitlines()) == 1  # the line with which it started
