"""The asynchronous face: on a node of one's own, and on any loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import pytest

import labc
from labc import aio

pytestmark = pytest.mark.usefixtures("here")

SERVER = """
import labc
labc.init(name="server")
labc.register(lambda x: x, name="echo")
labc.register(labc.publish, name="publish")
labc.serve()
"""


async def until(condition, timeout: float = 5.0):
    async with asyncio.timeout(timeout):
        while not (found := condition()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return found


async def every_verb(verbs) -> None:
    got: list[object] = []
    assert await verbs.call("echo", 1) == 1
    assert [o.value for o in await verbs.call_all("echo", 2)] == [2]
    subscription = verbs.subscribe(got.append, topic="t") if hasattr(verbs, "subscribe") else None
    if subscription:
        await until_heard(verbs, got)
    assert {"server"} <= {n.name for n in await verbs.nodes()}
    assert "echo" in {f.name for f in await verbs.functions()}
    assert all(isinstance(seconds, float) for seconds in (await verbs.ping()).values())
    with pytest.raises(labc.NotFoundError):
        await verbs.at(find_timeout=0.0).call("nobody")
    assert await verbs.at(timeout=5.0).at(node="server").call("echo", 3) == 3


async def until_heard(verbs, got) -> None:
    async with asyncio.timeout(5.0):
        while not got:
            await verbs.publish("t", 1)
            await asyncio.sleep(0.01)


def test_every_verb_on_any_loop(serve) -> None:
    serve(SERVER)
    for _ in range(2):  # of one loop after the other
        asyncio.run(every_verb(aio))
    asyncio.run(every_verb(aio.at(timeout=5.0)))


def test_every_verb_of_a_node(serve) -> None:
    serve(SERVER)

    async def main() -> None:
        async with labc.Node(name="mine") as node:
            await every_verb(node)
            await every_verb(node.at(timeout=5.0))
            await every_verb(aio)
            await asyncio.to_thread(lambda: labc.call("echo", 1))
            assert len(await node.nodes()) == 2  # nobody has started another

    asyncio.run(main())


def test_two_nodes_in_one_program(serve) -> None:
    async def main() -> None:
        labc.register(lambda: "of the program", name="shared")
        async with labc.Node(name="a") as a, labc.Node(name="b") as b:
            a.register(lambda: "a", name="own")
            handle = b.register(lambda: "b", name="own")
            assert await a.call("own") == "a"
            assert await b.call("own") == "b"
            assert [(o.node, o.value) for o in await a.call_all("own")] == [("a", "a"), ("b", "b")]
            assert [o.node for o in await b.call_all("shared")] == ["a"]
            handle.close()
            await b.declared()
            assert await b.call("own") == "a"

    asyncio.run(main())


def test_functions_work_through_the_node_that_runs_them() -> None:
    async def main() -> None:
        async with labc.Node(name="a") as a, labc.Node(name="b") as b:

            def name() -> str:
                return next(n.name for n in labc.nodes() if n.here)

            async def name_aio() -> str:
                return next(n.name for n in await aio.nodes() if n.here)

            for node in (a, b):
                node.register(name)
                node.register(name_aio)
            for verb in ("name", "name_aio"):
                assert await a.at(node="a").call(verb) == "a"
                assert await a.at(node="b").call(verb) == "b"
                assert await b.at(node="a").call(verb) == "a"

    asyncio.run(main())


def test_messages(serve) -> None:
    serve(SERVER)

    async def read(verbs) -> None:
        async with verbs.messages("s/*") as messages:
            for number in range(3):
                await verbs.call("publish", f"s/{number}", number)
            got = [(await anext(messages)) for _ in range(3)]
            assert [(m.topic, m.value, m.sender.node) for m in got] == [(f"s/{n}", n, "server") for n in range(3)]
            assert messages.dropped == 0
        with pytest.raises(StopAsyncIteration):
            await anext(messages)
        await messages.aclose()

    async def main() -> None:
        await read(aio)
        async with labc.Node() as node:
            await read(node)

    asyncio.run(main())


def test_messages_wait_with_a_timeout_and_go_on(serve) -> None:
    serve(SERVER)

    async def main(verbs) -> None:
        async with verbs.messages("s") as messages:
            for number in range(3):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.1):
                        await anext(messages)
                await verbs.call("publish", "s", number)
                assert (await anext(messages)).value == number

    asyncio.run(main(aio))


def test_messages_from_the_first_iteration_on(serve) -> None:
    serve(SERVER)

    async def main() -> None:
        async with labc.Node() as node:
            got: list[object] = []

            async def read() -> None:
                async for message in node.messages("s"):
                    got.append(message.value)
                    if message.value == 2:
                        break

            reader = asyncio.create_task(read())
            async with asyncio.timeout(5.0):
                while not got:
                    await node.call("publish", "s", 0)
            await node.call("publish", "s", 2)
            async with asyncio.timeout(5.0):
                await reader

    asyncio.run(main())


def test_messages_end_with_the_node() -> None:
    async def main() -> None:
        node = await labc.Node().start()
        messages = node.messages("s")
        reader = asyncio.create_task(collect(messages))
        await asyncio.sleep(0.05)
        await node.close()
        async with asyncio.timeout(2.0):
            assert await reader == []

    async def collect(messages):
        return [message async for message in messages]

    asyncio.run(main())


def test_a_node_that_is_not_running() -> None:
    async def main() -> None:
        node = labc.Node()
        with pytest.raises(labc.ClosedError, match="not running"):
            await node.call("f")
        with pytest.raises(labc.ClosedError):
            node.messages("t")
        async with node:
            pass
        for verb in (node.call("f"), node.publish("t"), node.nodes(), node.call_all("f"), node.ping()):
            with pytest.raises(labc.ClosedError, match="closed"):
                await verb
        with pytest.raises(labc.ClosedError):
            await node.start()
        await node.close()

    asyncio.run(main())


def test_calls_that_wait_when_their_node_is_closed() -> None:
    """They get an error of labc's, at once, and no CancelledError that nobody has sent."""

    async def main() -> None:
        node = await labc.Node().start()

        @node.register
        async def forever() -> None:
            await asyncio.Event().wait()

        node.register(threading.Event().wait, name="thread")
        calls = [asyncio.create_task(node.call(name)) for name in ("forever", "nobody")]
        calls.append(asyncio.create_task(node.at(timeout=5.0).call("thread", 0.5)))
        await asyncio.sleep(0.1)
        async with asyncio.timeout(1.0):
            await node.close()
        async with asyncio.timeout(2.5):
            results = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(result) for result in results] == [labc.ClosedError, labc.ClosedError, labc.ClosedError]

    asyncio.run(main())


def test_close_and_start_again(serve) -> None:
    serve(SERVER)

    async def main() -> None:
        for _ in range(3):
            assert await aio.call("echo", 1) == 1
            await aio.close()
            await aio.close()

    asyncio.run(main())


def test_serve_until_it_is_cancelled(capsys) -> None:
    async def main() -> None:
        labc.register(lambda: 1, name="one")
        serving = asyncio.create_task(aio.serve())
        assert await aio.call("one") == 1
        await until(lambda: "is in the network" in capsys.readouterr().err)
        assert not serving.done()
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving

    asyncio.run(main())


def test_register_and_call_on_one_loop_without_a_node() -> None:
    @aio.register
    async def add(a: int, b: int = 1) -> int:
        return a + b

    assert asyncio.run(aio.call("add", 1)) == 2
