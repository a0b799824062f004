"""What those who watch are told of nodes on other hosts: when these end, lose their root, or are cut off."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest
from agent import Agent, Start, meet

from labc.testing import VirtualHosts

MakeLab = Callable[[int], VirtualHosts]

WATCH = """
told = []
labc.watch_nodes(lambda event: told.append((event.kind, event.name, time.time())))
def kinds(name):
    return [kind for kind, node, _ in told if node == name]
def moment(kind, name):
    return [moment for told_kind, node, moment in told if (told_kind, node) == (kind, name)][-1]
"""

LEGAL = re.compile(r"(joined (suspect back )*(suspect )?(left |lost ))*(joined (suspect back )*(suspect )?)?")


def watch(agents: list[Agent]) -> None:
    """Each watches, and has been told that all the others joined."""
    for agent in agents:
        agent.exec(WATCH)
    for agent in agents:
        for other in agents:
            if other is not agent:
                agent.eval(f"until(lambda: kinds({other.name!r}) == ['joined'])")


def told_until(agent: Agent, name: str, *ends: str) -> list[str]:
    """What it is told of a node after it joined, until one of these; the order is checked."""
    agent.eval(f"until(lambda: kinds({name!r})[-1] in {ends!r})")
    kinds: list[str] = agent.eval(f"kinds({name!r})")
    assert LEGAL.fullmatch("".join(f"{kind} " for kind in kinds)), kinds
    return kinds[1:]


def told_no_loss(agent: Agent, *names: str) -> None:
    """Of these nothing, or a doubt that was dispelled."""
    for name in names:
        assert not {"left", "lost"} & set(told_until(agent, name, "joined", "back")), (agent.name, name)


def test_a_host_that_is_cut_off_is_lost_and_joins_again(make_lab: MakeLab, start: Start) -> None:
    hosts = make_lab(2).hosts
    near, neighbour = start(hosts[0], "near"), start(hosts[0], "neighbour")
    far = start(hosts[1], "far")
    meet([near, neighbour, far])
    watch([near, neighbour, far])
    hosts[1].cut()
    cut = time.time()
    for watcher, others in ((near, ["far"]), (neighbour, ["far"]), (far, ["near", "neighbour"])):
        for other in others:
            assert told_until(watcher, other, "lost") == ["suspect", "lost"]
            assert watcher.eval(f"moment('suspect', {other!r})") - cut < 4.0
            assert watcher.eval(f"moment('lost', {other!r})") - cut < 5.0
    hosts[1].mend()
    for watcher, others in ((near, ["far"]), (neighbour, ["far"]), (far, ["near", "neighbour"])):
        for other in others:
            assert told_until(watcher, other, "joined")[-3:] == ["suspect", "lost", "joined"]
    far.exec("labc.close()")
    for watcher in (near, neighbour):
        assert told_until(watcher, "far", "left")[-1] == "left"
        told_no_loss(watcher, *({"near", "neighbour"} - {watcher.name}))


@pytest.mark.parametrize("end", ["it is killed", "it leaves"])
def test_the_end_of_a_root_is_not_the_loss_of_its_host(make_lab: MakeLab, start: Start, end: str) -> None:
    """Those who watch are on its host and on another one."""
    hosts = make_lab(2).hosts
    root = start(hosts[0], "root")
    root.exec("labc.nodes()")
    near, neighbour = start(hosts[0], "near"), start(hosts[0], "neighbour")
    far = start(hosts[1], "far")
    meet([root, near, neighbour, far])
    watch([root, near, neighbour, far])
    assert root.eval("labc.blocking.portal.node().is_root")
    if end == "it leaves":
        root.exec("labc.close()")
    else:
        root.program.kill()
    for watcher in (near, neighbour, far):
        expected = ["left"] if end == "it leaves" else ["suspect", "lost"]
        assert told_until(watcher, "root", "left", "lost") == expected, watcher.name
    others = {"near", "neighbour", "far"}
    newcomer = start(hosts[1], "newcomer")  # when all have seen it, the host has its new root
    meet([newcomer, near, neighbour, far])
    for watcher in (near, neighbour, far):
        watcher.eval("until(lambda: kinds('newcomer') == ['joined'])")
        told_no_loss(watcher, *(others - {watcher.name}))


def test_one_on_another_host_that_ends_is_told_at_once(make_lab: MakeLab, start: Start) -> None:
    hosts = make_lab(2).hosts
    near, far, other = start(hosts[0], "near"), start(hosts[1], "far"), start(hosts[1], "other")
    meet([near, far, other])
    watch([near, far, other])
    left = far.eval("(labc.close(), time.time())[1]")
    assert told_until(near, "far", "left", "lost") == ["left"]
    assert near.eval("moment('left', 'far')") - left < 0.5
    near.exec("labc.ping()")  # over a lane
    killed = time.time()
    other.program.kill()
    assert told_until(near, "other", "left", "lost")[-1] == "lost"
    assert near.eval("moment('lost', 'other')") - killed < 2.0
