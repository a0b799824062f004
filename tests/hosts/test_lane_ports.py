"""The setting ``lane_ports``: direct calls through a firewall that lets a few ports in, and what is left with none."""

from __future__ import annotations

import re
from collections.abc import Callable

from agent import Agent, Start, meet

from labc.fabric import root_ports
from labc.testing import VirtualHosts

MakeLab = Callable[[int], VirtualHosts]

FULL = re.compile(
    r"no port of the setting lane_ports = 50000-50001 is free \(Address already in use\): .* only through the roots"
)


def kinds_of_lanes(agent: Agent) -> set[str]:
    return set(agent.eval("[lane.kind for lane in labc.blocking.portal.node().rooms()._pool.lanes()]"))


def test_a_firewall_lets_the_ports_of_the_range_in(make_lab: MakeLab, start: Start, network: str) -> None:
    h1, h2 = make_lab(2).hosts
    for host in (h1, h2):
        host.block_tcp(all_but=[*root_ports(network), 50000, 50001])
    begin = [(h1, "a1"), (h1, "a2"), (h2, "b")]
    agents = [start(host, name) for host, name in begin]
    for agent in agents:
        agent.exec("labc.init(lane_ports='50000-50001')")
    meet(agents)
    for agent in agents:
        agent.exec(f"labc.register(lambda: {agent.name!r}, name='who-{agent.name}')")
    a1, a2, b = agents
    assert {a.eval("labc.blocking.portal.node().rooms()._pool.listener.port") for a in (a1, a2)} == {50000, 50001}
    for caller, provider in ((b, a1), (b, a2), (a1, b), (a2, b)):
        assert caller.eval(f"labc.call('who-{provider.name}')") == provider.name
    assert kinds_of_lanes(b) == {"tcp"}, "no relay was needed"


def test_a_program_that_gets_no_port_is_called_through_the_roots(make_lab: MakeLab, start: Start) -> None:
    h1, h2 = make_lab(2).hosts
    first, second, third, other = (start(host, name) for host, name in ((h1, "1"), (h1, "2"), (h1, "3"), (h2, "other")))
    for agent in (first, second, third):
        agent.exec("labc.init(lane_ports='50000-50001')")
        agent.exec("labc.blocking.portal.node()")
    third.program.expect(FULL, stream="stderr")
    meet([first, second, third, other])
    third.exec("labc.register(lambda: 'third', name='who')")
    assert other.eval("labc.call('who')") == "third"
    assert kinds_of_lanes(other) == {"relay"}
    assert first.eval("labc.call('who')") == "third"
    assert kinds_of_lanes(first) == {"unix"}
    assert third.eval("[each.partition(':')[0] for each in labc.here.nodes()[0].addresses]") == ["tcp/127.0.0.1"]
    third.exec("labc.close()")
    second.close()
    third.exec("labc.blocking.portal.node()")  # with a port again
    assert third.eval("labc.blocking.portal.node().rooms()._pool.listener.port") == 50001


def test_the_ports_of_the_root_are_not_taken(make_lab: MakeLab, start: Start, network: str) -> None:
    (h1,) = make_lab(1).hosts
    first, last = root_ports(network)[0], root_ports(network)[-1]
    taken, none = start(h1, "taken"), start(h1, "none")
    taken.exec(f"labc.init(lane_ports='{first}-{last + 1}')")
    none.exec(f"labc.init(lane_ports='{first}-{last}')")
    meet([taken, none])
    assert taken.eval("labc.blocking.portal.node().rooms()._pool.listener.port") == last + 1
    none.program.expect(re.compile(r"is free \(they are those of this host's root\)"), stream="stderr")
