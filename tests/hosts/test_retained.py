"""Retained values on several hosts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from agent import RemoteFailure, Start, meet

from labc.testing import VirtualHosts

MakeLab = Callable[[int], VirtualHosts]

SUBSCRIBE = "labc.blocking.portal.node(); labc.subscribe(receive, topic='t/*')"


def test_who_starts_later_on_another_host_gets_the_value(make_lab: MakeLab, start: Start) -> None:
    hosts = make_lab(3).hosts
    first, second = start(hosts[0], "first"), start(hosts[1], "second")
    meet([first, second])
    publisher = start(hosts[0], "publisher")
    publisher.exec("labc.publish('t/1', 1, retain=True); labc.publish('t/2', 2, retain=True)")
    publisher.program.kill()  # its host's root has them
    second.exec("labc.publish('t/3', 3, retain=True)")
    late = start(hosts[2], "late")
    late.exec(SUBSCRIBE)
    late.eval("until(lambda: len(received) == 3)")
    assert sorted(value for value, _ in late.eval("received")) == [1, 2, 3]
    for agent in (first, second, late):
        assert [agent.eval(f"labc.last('t/{n}').value") for n in (1, 2, 3)] == [1, 2, 3]


def test_the_newest_of_several_hosts_wins(make_lab: MakeLab, start: Start) -> None:
    agents = [start(host, f"node{number}") for number, host in enumerate(make_lab(3).hosts)]
    meet(agents)
    for number in range(6):
        agents[number % 3].exec(f"labc.publish('t/1', {number}, retain=True)")
    for agent in agents:
        agent.exec(SUBSCRIBE)
        agent.eval("until(lambda: received and received[-1][0] == 5)")
        got = [value for value, _ in agent.eval("received")]  # an older one came first, where a root answered late
        assert got == sorted(set(got))
        assert agent.eval("labc.last('t/1').value") == 5
    agents[0].exec("labc.forget('t/1')")
    for agent in agents:
        with pytest.raises(RemoteFailure, match="is retained"):
            agent.eval("labc.last('t/1')")


def test_a_value_of_a_host_that_joins_later_comes_then(make_lab: MakeLab, start: Start) -> None:
    lab = make_lab(2)
    near, far = start(lab.hosts[0], "near"), start(lab.hosts[1], "far")
    lab.hosts[1].cut()
    near.exec(SUBSCRIBE)
    far.exec("labc.publish('t/1', 1, retain=True)")
    lab.hosts[1].mend()
    meet([near, far])
    near.eval("until(lambda: len(received) == 1)")


def test_a_root_of_another_host_is_killed(make_lab: MakeLab, start: Start) -> None:
    hosts = make_lab(2).hosts
    root, near = start(hosts[0], "root"), start(hosts[1], "near")
    meet([root, near])
    publisher = start(hosts[0], "publisher")
    publisher.exec("labc.publish('t/1', 1, retain=True)")
    near.exec(SUBSCRIBE)
    near.eval("until(lambda: len(received) == 1)")
    root.program.kill()
    publisher.eval("until(lambda: labc.blocking.portal.node().is_root)")
    late = start(hosts[1], "late")
    late.exec(SUBSCRIBE)
    late.eval("until(lambda: len(received) == 1)")
    publisher.exec("labc.publish('t/1', 2, retain=True)")
    for agent in (near, late):
        agent.eval("until(lambda: received[-1][0] == 2)")
        assert [value for value, _ in agent.eval("received")] == [1, 2]
