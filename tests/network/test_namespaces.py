"""Hosts, nodes and scopes as objects with every verb, and the functions of the network as attributes."""

from __future__ import annotations

import asyncio
import datetime
import json
from typing import Any

import pytest

import labc
from labc import aio
from labc.errors import NameInvalidError, NotFoundError

SERVER = """
import labc, sys
got = []

@labc.register
def echo(value): return value

@labc.register(name="lights.on")
def on(place, *, level=1): return [place, level]

@labc.register(run="loop")
def heard(): return got

labc.subscribe(got.append, topic="ping")
labc.init(name=sys.argv[1])
labc.serve()
"""

INFO = {
    "addresses": list,
    "host": str,
    "host_id": str,
    "id": str,
    "name": str,
    "network": str,
    "pid": int,
    "python": str,
    "root_port": (int, type(None)),
    "started": float,
    "system": str,
    "version": str,
}


@pytest.fixture
def servers(serve, here, until) -> None:
    """Two nodes on this host, "one" and "two"."""
    for name in ("one", "two"):
        serve(SERVER, name)
    until(lambda: len(labc.call_all("echo", 0)) == 2, timeout=10)


def addresses_of(name: str) -> list[tuple[str, int]]:
    """Where that node takes connections of other hosts, by its own word."""
    (info,) = labc.at(node=name).call_all("core.info")
    found = []
    for address in info.value["addresses"]:
        kind, _, rest = address.partition("/")
        host, _, port = rest.rpartition(":")
        if kind == "tcp":
            found.append((host.strip("[]"), int(port)))
    return found


def test_functions_are_attributes(servers) -> None:
    for place in (labc.network, labc.localhost, labc.get_host("localhost"), labc.at(node="one")):
        assert place.echo("hi") == "hi"
        assert place.lights.on("lab 2", level=3) == ["lab 2", 3]
        assert repr(place.lights.on) == "<labc remote function 'lights.on'>"
    with pytest.raises(NotFoundError):
        labc.here.at(find_timeout=0.1).echo("hi")
    with pytest.raises(AttributeError):
        _ = labc.network._hidden
    with pytest.raises(AttributeError):
        _ = labc.network.lights._hidden


def test_hosts_and_nodes_by_all_their_names(servers, until) -> None:
    host = next(node.host for node in labc.nodes())
    hosts = [host, host.upper(), "localhost", "127.0.0.1", "::1"]
    hosts += sorted({address for address, _ in addresses_of("one")})
    for named in hosts:
        assert {o.node for o in labc.get_host(named).call_all("echo", 1)} == {"one", "two"}, named
        assert labc.get_host(named, node="two").call_all("echo", 1)[0].node == "two"
    for name in ("one", "two"):
        identity = next(node.id for node in labc.nodes() if node.name == name)
        ports = {port for _, port in addresses_of(name)}
        for node in (name, identity, *ports):
            assert [o.node for o in labc.get_host("localhost", node=node).call_all("echo", 1)] == [name]
            assert [o.node for o in labc.at(node=node).call_all("echo", 1)] == [name]
    for nobody in ({"host": "nowhere"}, {"host": "192.0.2.1"}, {"node": "three"}, {"node": 1}):
        with pytest.raises(NotFoundError):
            labc.at(find_timeout=0.1, **nobody).call("echo", 1)
        with pytest.raises(NotFoundError):
            labc.at(**nobody).publish("ping", 1)
    labc.get_host(host, node="one").publish("ping", "to one")
    labc.get_host("127.0.0.1").publish("ping", "to all")
    until(lambda: labc.at(node="one").heard() == ["to one", "to all"])
    until(lambda: labc.at(node="two").heard() == ["to all"])


def test_the_same_awaited_and_on_a_node(servers) -> None:
    async def test() -> None:
        async with labc.Node(name="mine") as node:
            assert node.name == "mine"
            for face in (aio, node):
                assert await face.network.echo("hi") == "hi"
                assert await face.localhost.lights.on("x") == ["x", 1]
                assert await face.get_host("localhost", node="two").echo(2) == 2
                assert [o.node for o in await face.get_host("127.0.0.1").call_all("echo", 1)] == ["one", "two"]
                assert {o.node for o in await face.network.core.ping()} >= {"one", "two", "mine"}
                with pytest.raises(NotFoundError):
                    await face.here.at(find_timeout=0.1).echo("hi")
            node.register(lambda: "near", name="near", scope="node")
            await node.declared()
            assert await node.here.near() == "near"
            with pytest.raises(NotFoundError):
                await aio.get_host("localhost", node="one").at(find_timeout=0.1).near()
            async with node.here.messages("m") as messages:
                await node.localhost.publish("m", 1)
                await node.here.publish("m", 2)
                assert [(await anext(messages)).value for _ in range(2)] == [1, 2]

    asyncio.run(test())


def test_the_core_of_every_node(servers) -> None:
    def ask(name: str) -> dict[str, Any]:
        outcomes = getattr(labc.network.core, name)()
        assert all(outcome.ok for outcome in outcomes), outcomes
        values = {outcome.node: outcome.value for outcome in outcomes}
        assert len(values) == 3  # this process is one as well
        assert {"one", "two"} < set(values)
        assert json.loads(json.dumps(values)) == values  # plain data
        return values

    now = datetime.datetime.now().timestamp()
    assert all(abs(time - now) < 60 for time in ask("ping").values())
    nodes = {node.name: node for node in labc.nodes()}
    for name, info in ask("info").items():
        assert set(info) == set(INFO)
        assert all(isinstance(info[key], kind) for key, kind in INFO.items()), info
        assert (info["name"], info["id"], info["host"]) == (name, nodes[name].id, nodes[name].host)
    assert sum(info["root_port"] is not None for info in ask("info").values()) == 1
    functions = ask("functions")
    assert [function["name"] for function in functions["one"]] == ["echo", "heard", "lights.on"]
    assert functions["two"][0] == {"name": "echo", "signature": "echo(value)", "doc": "", "scope": "network"}
    topics = ask("topics")
    assert [(topic["topic"], topic["scope"]) for topic in topics["one"]] == [("ping", "network")]
    for seen in ask("nodes").values():
        assert sorted(node["id"] for node in seen) == sorted(node.id for node in nodes.values())
        assert not any(node["suspect"] for node in seen)
    before = ask("stats")
    labc.at(node="one").echo(1)
    with pytest.raises(labc.LabcError):
        labc.at(node="one").call("echo")
    after = ask("stats")
    assert after["one"]["calls"]["served"] - before["one"]["calls"]["served"] == 2  # and the question itself
    assert after["one"]["calls"]["refused"] - before["one"]["calls"]["refused"] == 1
    assert set(after["one"]) == {"uptime", "calls", "topics", "lanes"}


def test_a_node_s_core_answers_with_its_value_when_it_is_named(servers) -> None:
    assert labc.get_host("localhost", node="one").core.info()["name"] == "one"
    assert labc.at(node="two").core.info()["name"] == "two"
    assert labc.at(node="two").call("core.info")["name"] == "two"
    assert [o.value["name"] for o in labc.here.core.info()] == [n.name for n in labc.nodes() if n.here]


def test_what_the_core_does_not_have(servers) -> None:
    for name in ("core.nothing", "core."):
        with pytest.raises(NotFoundError):
            labc.at(find_timeout=0.1).call(name)
        with pytest.raises(NotFoundError):
            labc.at(find_timeout=0.1).call_all(name)
    with pytest.raises(NameInvalidError, match="every node itself"):
        labc.register(lambda: None, name="core.ping")
