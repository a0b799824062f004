"""The setting ``access`` among programs of one computer: what it says of this computer, and of its own node."""

from __future__ import annotations

import asyncio

import pytest
from agent import Agent, RemoteFailure, meet

import labc
from labc.testing import python_program

ROOMS = "labc.blocking.portal.node().rooms()"


def agent(name: str, access: str) -> Agent:
    return Agent(python_program, name, LABC_ACCESS=access)


def test_nobody_but_the_node_itself(network: str) -> None:
    with agent("a", "call closed=nobody, open=localhost") as a, agent("b", "") as b:
        meet([a, b])
        a.exec("[labc.register(lambda n=n: n, name=n) for n in ('closed', 'open')]")
        assert [each.eval("labc.call('open')") for each in (a, b)] == ["open", "open"]
        assert a.eval("labc.call('closed')") == "closed"
        with pytest.raises(RemoteFailure) as refused:
            b.eval("labc.call('closed')")
        assert refused.value.error == "RefusedError"
        assert refused.value.fields["name"] == "closed"
        assert refused.value.fields["verb"] == "call"
        assert refused.value.fields["who"] == "this computer"
        assert "LABC_ACCESS" in refused.value.fields["rule"]
        # Nor by the ways that take no answer.
        with pytest.raises(RemoteFailure, match="RefusedError"):
            b.eval("labc.call_publish('closed')")
        outcomes = "[(o.node, o.ok, type(o.error).__name__) for o in labc.call_all('closed')]"
        assert b.eval(outcomes) == [["a", False, "RefusedError"]]


def test_a_message_to_a_function_is_a_call(network: str) -> None:
    """`call_publish` asks one and gives the others a message, which runs nothing where it may not."""
    with agent("a", "call count=nobody") as a, agent("b", "") as b, agent("c", "") as c:
        meet([a, b, c])
        for each in (a, b):
            each.exec("counted = []; labc.register(lambda: counted.append(1), name='count')")
        c.eval("until(lambda: len(labc.call_all('count')) == 2)")
        b.exec("counted.clear()")
        # Until it was b that was asked, and a that was given the message.
        c.exec("""
def ask():
    try:
        labc.call_publish('count')
        return True
    except labc.RefusedError:
        return False
""")
        c.eval("until(ask)")
        assert b.eval("len(counted)") == 1
        a.eval(f"until(lambda: {ROOMS}._provider.counts.refused >= 2)")
        assert a.eval("counted") == []


def test_limited_topics_on_one_computer(network: str) -> None:
    with agent("a", "publish ticks=nobody, subscribe news=localhost") as a, agent("b", "") as b:
        meet([a, b])
        a.exec("labc.subscribe(receive, topic='ticks'); labc.subscribe(receive, topic='open')")
        b.exec("labc.subscribe(receive, topic='news')")
        with pytest.raises(RemoteFailure, match="RefusedError"):
            a.eval("labc.publish('ticks', 0)")
        b.exec("labc.publish('ticks', 1); labc.publish('open', 2)")
        a.eval("until(lambda: [value for value, _ in received] == [2])")
        a.exec("[labc.publish('news', number) for number in range(1000)]")
        b.eval("until(lambda: [value for value, _ in received] == list(range(1000)))")
        assert a.eval(f"{ROOMS}._topics.refused") == 1
        for topic in ("ticks", "news"):
            with pytest.raises(RemoteFailure, match="RefusedError"):
                a.eval(f"labc.last({topic!r})")


def test_a_mistake_is_told_at_the_start(network: str) -> None:
    with pytest.raises(labc.SettingsError, match=r'argument access=.*"lights" = "bench 1": expected computers'):
        labc.Node(access={"lights": "bench 1"})


def test_the_error_is_the_standard_one(network: str) -> None:
    async def run() -> None:
        async with labc.Node(name="a", access={"echo": "nobody"}) as a, labc.Node(name="b") as b:
            a.register(lambda: "hi", name="echo")
            assert await a.call("echo") == "hi"
            with pytest.raises(PermissionError) as refused:
                await b.call("echo")
            assert isinstance(refused.value, labc.RefusedError)
            assert refused.value.where.startswith("a on ")

    asyncio.run(run())
