"""Rights on virtual hosts: who may call, publish and hear what, by addresses, by certificates, and by mere claims."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from agent import Agent, RemoteFailure, meet
from keyed import as_member, make_members

from labc.fabric.ports import root_ports
from labc.testing import VirtualHost, VirtualHosts

MakeLab = Callable[[int], VirtualHosts]
StartWith = Callable[..., Agent]

ROOMS = "labc.blocking.portal.node().rooms()"

REGISTER_DANGEROUS = f"""
from labc.functions import Registration
from labc.registry import Registry
async def shut_down():
    return "down"
name = "core.host.shutdown"
{ROOMS}._internal[name] = Registration(Registry(), shut_down, name, "loop", dangerous=True)
"""


@pytest.fixture
def start_with(network: str) -> Iterator[StartWith]:
    """``start_with(host, name, access, **environment)`` runs an agent there with these lines."""
    with contextlib.ExitStack() as agents:

        def start(host: VirtualHost, name: str, access: str = "", **environment: str) -> Agent:
            # On a busy machine a connection may take so long that the relay would be tried as well.
            patience = {"LABC_RELAY_AFTER": "6", "LABC_CONNECT_TIMEOUT": "8"}
            settings = {"LABC_NETWORK": network, "LABC_ACCESS": access, **patience, **environment}
            return agents.enter_context(Agent(host.program, name, **settings))

        yield start


def refusals(agent: Agent) -> list[str]:
    return [line for line in agent.program.errors.splitlines() if "refused: " in line]


def topics_of(agent: Agent) -> dict[str, int]:
    found: dict[str, int] = agent.eval("labc.here.call('core.stats')['topics']")
    return found


def test_calls_by_address(make_lab: MakeLab, start_with: StartWith, tmp_path: Path) -> None:
    h1, h2, h3 = make_lab(3).hosts
    file = tmp_path / "labc" / "labc.toml"
    file.parent.mkdir()
    file.write_text(f'[access]\n\n"lights.*" = "localhost, {h2.address}"\n"call lights.off" = "everybody"\n')
    a = start_with(h1, "a", XDG_CONFIG_HOME=str(tmp_path))
    a2, b, c = start_with(h1, "a2"), start_with(h2, "b"), start_with(h3, "c")
    meet([a, a2, b, c])
    a.exec("[labc.register(lambda n=n: n, name=n) for n in ('lights.on', 'lights.off', 'echo')]")
    assert [agent.eval("labc.call('lights.on')") for agent in (a, a2, b)] == ["lights.on"] * 3
    assert [c.eval(f"labc.call({name!r})") for name in ("lights.off", "echo")] == ["lights.off", "echo"]
    for call in ("labc.call('lights.on')", "__import__('asyncio').run(call())"):
        c.exec("async def call():\n  async with labc.Node() as node:\n    return await node.call('lights.on')")
        with pytest.raises(RemoteFailure) as refused:
            c.eval(call)
        assert refused.value.error == "RefusedError"
        for said in ("a on ", "'lights.on'", h3.address, '"lights.*"', f"{file}, line 3"):
            assert said in str(refused.value)
    c.exec("outcome, = labc.call_all('lights.on')")
    assert c.eval("type(outcome.error).__name__") == "RefusedError"
    assert len(refusals(a)) == 1, "the same is said once"
    assert a.eval("labc.here.call('core.stats')['calls']['refused']") == 3


def test_who_is_relayed_can_not_be_identified(make_lab: MakeLab, start_with: StartWith, network: str) -> None:
    h1, h2 = make_lab(2).hosts
    a, b = start_with(h1, "a", f"lights.on={h2.address}"), start_with(h2, "b", LABC_RELAY_AFTER="0.5")
    meet([a, b])
    a.exec("[labc.register(lambda n=n: n, name=n) for n in ('lights.on', 'echo')]")
    for host in (h1, h2):
        host.block_tcp(all_but=root_ports(network))
    assert b.eval("labc.call('echo')") == "echo"
    with pytest.raises(RemoteFailure, match=r"RefusedError.*can't be identified"):
        b.eval("labc.call('lights.on')")


def test_a_name_that_somebody_claims_is_not_his(make_lab: MakeLab, start_with: StartWith) -> None:
    """``bench1`` is what the system says it is, or an alias; not who calls himself so."""
    h1, h2, h3 = make_lab(3).hosts
    a = start_with(h1, "a", "echo=bench1", LABC_ALIASES=f"bench1={h2.address}")
    b, c = start_with(h2, "b"), start_with(h3, "c")
    c.exec("import platform; platform.node = lambda: 'bench1'")
    meet([a, b, c])
    assert c.eval(f"{ROOMS}.here.host") == "bench1"
    a.exec("labc.register(lambda: 'hi', name='echo')")
    assert b.eval("labc.call('echo')") == "hi"
    with pytest.raises(RemoteFailure, match="RefusedError"):
        c.eval("labc.call('echo')")


def test_publications(make_lab: MakeLab, start_with: StartWith) -> None:
    h1, h2, h3 = make_lab(3).hosts
    line = f"publish ticks={h2.address}"
    a, b = start_with(h1, "a", line), start_with(h2, "b", line)
    careless = start_with(h2, "careless")
    honest, liar = start_with(h3, "honest", line), start_with(h3, "liar", f"publish ticks={h3.address}")
    meet([a, b, careless, honest, liar])
    a.exec("labc.subscribe(receive, topic='ticks')")
    with pytest.raises(RemoteFailure, match=r"RefusedError.*'ticks'"):
        honest.eval("labc.publish('ticks', 'honest')")
    liar.exec("labc.publish('ticks', 'liar')")
    a.eval(f"until(lambda: {ROOMS}._topics.refused >= 1)")
    careless.exec("labc.publish('ticks', 'careless')")
    careless.exec("labc.publish('ticks', 'kept', retain=True)")
    a.eval(f"until(lambda: {ROOMS}._topics.refused >= 3)")  # and what was kept perhaps once more, from who keeps it
    b.exec("labc.publish('ticks', 'b')")
    a.eval("until(lambda: [value for value, _ in received] == ['b'])")
    said = "\n".join(refusals(a))
    assert h3.address in said
    assert "can't be identified" in said
    # Nor does what was kept come in later.
    refused = topics_of(a)["refused"]
    a.exec("late = []; labc.subscribe(lambda value: late.append(value), topic='ticks')")
    a.eval(f"until(lambda: {ROOMS}._topics.refused > {refused})")
    with pytest.raises(RemoteFailure, match="RefusedError"):
        a.eval("labc.last('ticks')")
    assert a.eval("late") == []
    with pytest.raises(RemoteFailure, match=r"ValueError.*retain"):
        b.eval("labc.publish('ticks', 'b', retain=True)")


def test_publishers_are_held_back_by_whom_they_may_reach(make_lab: MakeLab, start_with: StartWith) -> None:
    h1, h2, h3 = make_lab(3).hosts
    a = start_with(h1, "a", f"publish ticks={h2.address}")
    b, c = start_with(h2, "b", "subscribe secret=localhost"), start_with(h3, "c")
    meet([a, b, c])
    a.exec("labc.subscribe(receive, topic='ticks', when_full='hold')")
    c.exec("labc.subscribe(receive, topic='secret', when_full='hold')")
    for publisher in (b, c):
        publisher.eval(f"until(lambda: {ROOMS}._topics.holders('ticks'))")
    b.eval(f"until(lambda: {ROOMS}._topics.holders('secret'))")
    b.exec("labc.publish('ticks', 'b')")
    with pytest.raises(RemoteFailure, match="RefusedError"):
        c.eval("labc.publish('ticks', 'c')")
    b.exec("labc.publish('secret', 'b'); labc.publish('open', 'b')")
    a.eval("until(lambda: [value for value, _ in received] == ['b'])")
    assert c.eval("received") == []


def test_who_may_hear(make_lab: MakeLab, start_with: StartWith) -> None:
    h1, h2, h3 = make_lab(3).hosts
    a = start_with(h1, "a", f"subscribe secret/**={h2.address}, localhost")
    a2, b, c = start_with(h1, "a2"), start_with(h2, "b"), start_with(h3, "c")
    meet([a, a2, b, c])
    for agent in (a, a2, b, c):
        agent.exec("labc.subscribe(receive, topic='**')")
    a.exec("labc.publish('secret/code', 'secret'); labc.publish('news', 'open')")
    for agent in (a, a2, b):
        agent.eval("until(lambda: sorted(value for value, _ in received) == ['open', 'secret'])")
    c.eval("until(lambda: received)")
    # What is said to it afterwards has come, so the secret never will.
    a.exec("labc.at(node='c').publish('secret/code', 'secret'); labc.at(node='c').publish('news', 'last')")
    c.eval("until(lambda: [value for value, _ in received] == ['open', 'last'])")


@pytest.mark.parametrize("line", ["", "**=everybody"])
def test_dangerous_functions_on_an_open_network(make_lab: MakeLab, start_with: StartWith, line: str) -> None:
    h1, h2 = make_lab(2).hosts
    a, a2, b = start_with(h1, "a", line), start_with(h1, "a2"), start_with(h2, "b")
    meet([a, a2, b])
    a.exec(REGISTER_DANGEROUS)
    shut_down = "labc.at(node='a').call('core.host.shutdown')"
    assert [agent.eval(shut_down) for agent in (a, a2)] == ["down", "down"]
    with pytest.raises(RemoteFailure, match=r"RefusedError.*harm the computer"):
        b.eval(shut_down)
    assert b.eval("type(labc.at(node='a').call('core.ping')).__name__") == "float"


def test_dangerous_functions_that_the_settings_allow(make_lab: MakeLab, start_with: StartWith) -> None:
    h1, h2, h3 = make_lab(3).hosts
    a, b, c = start_with(h1, "a", f"call core.host.*={h2.address}"), start_with(h2, "b"), start_with(h3, "c")
    meet([a, b, c])
    a.exec(REGISTER_DANGEROUS)
    shut_down = "labc.at(node='a').call('core.host.shutdown')"
    assert b.eval(shut_down) == "down"
    with pytest.raises(RemoteFailure, match="RefusedError"):
        c.eval(shut_down)


def test_members_by_the_names_in_their_certificates(
    make_lab: MakeLab, start_with: StartWith, network: str, tmp_path: Path
) -> None:
    h1, h2, h3 = make_lab(3).hosts
    make_members(tmp_path, network, ["h1", "h2", "h3"])
    lines = "lights.on=h1,h2,lights.off=seat 2,call lights.dim=nobody"
    a = start_with(h1, "a", lines, **as_member(tmp_path, "h1"))
    places = (h1, "a2"), (h2, "b"), (h3, "c")
    a2, b, c = (start_with(host, name, **as_member(tmp_path, host.name)) for host, name in places)
    c.exec("import platform; platform.node = lambda: 'h2'")
    meet([a, a2, b, c])
    names = "lights.on", "lights.off", "lights.dim"
    a.exec(f"[labc.register(lambda n=n: n, name=n) for n in {names!r}]")
    a.exec(REGISTER_DANGEROUS)
    expected = {a2: [True, False, False], b: [True, False, False], c: [False, True, False]}
    for agent, allowed in expected.items():
        for name, may in zip(names, allowed, strict=True):
            if may:
                assert agent.eval(f"labc.call({name!r})") == name
            else:
                with pytest.raises(RemoteFailure, match="RefusedError"):
                    agent.eval(f"labc.call({name!r})")
        assert agent.eval("labc.at(node='a').call('core.host.shutdown')") == "down"
    assert any("h3 (" in line for line in refusals(a))
