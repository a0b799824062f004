"""What the command line does across hosts: perspectives, and watching the nodes of a host by its address."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator

import pytest
from agent import Agent, Start, meet
from network.cli.runs import LABC

from labc.testing import Program, VirtualHost, VirtualHosts

MakeLab = Callable[[int], VirtualHosts]
LabcOn = Callable[..., Program]


@pytest.fixture
def labc_on(network: str) -> Iterator[LabcOn]:
    """``labc_on(host, "call", "f")`` begins that there."""
    with contextlib.ExitStack() as programs:
        env = {"LABC_NETWORK": network, "LABC_ALIASES": "bench=h2,nas=10.213.0.2"}

        def begin(host: VirtualHost, *arguments: str) -> Program:
            return programs.enter_context(Program([LABC, *arguments], env=env, popen=host.popen))

        yield begin


def printed(program: Program) -> str:
    assert program.wait(20.0) == 0, program.errors
    return program.output.strip()


def offer(agent: Agent) -> None:
    agent.exec(f"labc.register(lambda: {agent.name!r}, name='who')")


def test_scopes_and_perspectives(make_lab: MakeLab, start: Start, labc_on: LabcOn) -> None:
    h1, h2 = make_lab(2).hosts
    a, b = start(h1, "a"), start(h2, "b")
    meet([a, b])
    offer(a)
    offer(b)
    assert printed(labc_on(h1, "call", "who", "--scope", "host")) == "a"
    assert printed(labc_on(h2, "call", "who", "--scope", "host")) == "b"
    for place in ("h2", "bench", "nas", "10.213.0.2", "b"):
        assert printed(labc_on(h1, "call", "who", "--scope", "host", "--perspective", place)) == "b", place
    assert printed(labc_on(h1, "call", "who", "--perspective", "h2")) == "b", "the nearest, from there"
    assert {line.split()[-1] for line in printed(labc_on(h1, "functions", "--scope", "host")).splitlines()[1:]} == {
        "h1"
    }
    b.exec("labc.subscribe(receive, topic='numbers')")
    printed(labc_on(h1, "publish", "numbers", "1", "--scope", "host"))
    printed(labc_on(h1, "publish", "numbers", "2", "--host", "nas"))
    b.eval("until(lambda: received)")
    assert b.eval("[number for number, _ in received]") == [2]


def test_the_nodes_of_a_host_are_watched_by_its_address(make_lab: MakeLab, start: Start, labc_on: LabcOn) -> None:
    """Also when the host comes while what was asked of all the others is still fresh."""
    h1, h2, h3 = make_lab(3).hosts
    a, b = start(h1, "a"), start(h2, "b")
    meet([a, b])
    by_address = labc_on(h1, "nodes", "--watch", "--host", h3.address)
    second = labc_on(h1, "nodes", "--watch", "--host", "nas")
    second.expect(re.compile("  joined   b on h2$"))
    by_address.expect(re.compile("watching the nodes on '10.213.0.3'"), stream="stderr")
    c = start(h3, "c")
    c.exec("labc.blocking.portal.node()")
    by_address.expect(re.compile("  joined   c on h3$"))
    c.close()
    by_address.expect(re.compile("  (left|lost)     c on h3$"))
    b.close()
    second.expect(re.compile("  (left|lost)     b on h2$"))
    assert re.findall(r"(\w+) on (h\d)", by_address.output) == [("c", "h3")] * by_address.output.count("\n")
    assert "h1" not in second.output
