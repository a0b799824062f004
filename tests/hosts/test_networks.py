"""Networks as they are: cut, filtered, lossy, slow."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from agent import RemoteFailure, Start, meet, start_all

from labc.fabric import root_ports
from labc.testing import VirtualHosts

MakeLab = Callable[[int], VirtualHosts]


@pytest.mark.parametrize("link_down", [False, True], ids=["silently", "with the link down"])
def test_a_host_is_cut_off_and_comes_back(make_lab: MakeLab, start: Start, link_down: bool) -> None:
    lab = make_lab(3)
    a, b, c = start_all(start, lab.hosts)
    neighbour = start(lab.hosts[2], "neighbour")
    meet([a, b, c, neighbour])
    a.exec("labc.register(lambda: time.sleep(60), name='long'); labc.register(lambda: 'a', name='quick')")
    neighbour.exec("labc.register(lambda: 'neighbour', name='near')")
    assert c.eval("labc.call('quick')") == "a"
    c.exec("start_call('long')")
    a.eval("until(lambda: labc.blocking.portal.node().rooms()._provider.running == 1)")
    cut = time.time()
    lab.cut(lab.hosts[2], link_down=link_down)
    outcome = c.eval("call_result()")
    assert outcome["error"] == "PeerLostError"
    assert outcome["ended"] - cut < 4
    # The provider is rid of the call, and both sides know what they see.
    a.eval("until(lambda: labc.blocking.portal.node().rooms()._provider.running == 0)")
    for agent in (a, b):
        agent.eval("until(lambda: names() == ['node1', 'node2'])")
    c.eval("until(lambda: names() == ['neighbour', 'node3'])")
    # Within the host all goes on.
    assert c.eval("labc.call('near')") == "neighbour"
    began = time.monotonic()
    with pytest.raises(RemoteFailure, match=r"NotFoundError|PeerLostError"):
        c.eval("labc.call('quick')")
    assert time.monotonic() - began < 3
    lab.mend(lab.hosts[2])
    meet([a, b, c, neighbour])
    assert c.eval("labc.call('quick')") == "a"
    assert b.eval("labc.call('near')") == "neighbour"


def test_blocked_multicast_is_told(make_lab: MakeLab, start: Start) -> None:
    lab = make_lab(2)
    for host in lab.hosts:
        host.drop_multicast()
    a, b = start(lab.hosts[0], "a"), start(lab.hosts[1], "b")
    a.exec("labc.register(lambda: 1, name='there')")
    with pytest.raises(RemoteFailure) as failure:
        b.eval("labc.call('there')")
    assert failure.value.error == "NotFoundError"
    assert "no other host was seen" in failure.value.text
    assert "multicast" in failure.value.text
    assert "looked at 1 node on 1 host" in failure.value.text


def test_a_lane_is_relayed_where_no_direct_connection_can_be_made(
    make_lab: MakeLab, start: Start, network: str
) -> None:
    lab = make_lab(2)
    for host in lab.hosts:
        host.block_tcp(all_but=root_ports(network))
    a, b = start_all(start, lab.hosts)
    a.exec("""
import numpy
labc.register(lambda x: x, name='echo')
def broken(): raise ValueError('no')
labc.register(broken)
def back(): return labc.at(node='node2').call('mine')
labc.register(back)
def long():
    while not labc.current_call().cancelled: time.sleep(0.01)
    received.append('cancelled')
labc.register(long)
""")
    b.exec("labc.register(lambda: 'mine', name='mine')")
    assert b.eval("labc.call('echo', 'hi')") == "hi"
    assert b.eval("[lane.kind for lane in labc.blocking.portal.node().rooms()._pool.lanes()]") == ["relay"]
    assert b.eval("labc.call('back')") == "mine"
    with pytest.raises(RemoteFailure, match="RemoteError: ValueError: no"):
        b.eval("labc.call('broken')")
    # Much more than the window of the relay, both ways.
    b.exec("import numpy; big = numpy.arange(5_000_000)")
    assert b.eval("bool((labc.call('echo', big) == big).all())") is True
    with pytest.raises(RemoteFailure, match="CallTimeoutError"):
        b.eval("labc.at(timeout=0.3).call('long')")
    a.eval("until(lambda: received == ['cancelled'])")
    # And its end is known when its presence has been gone for as long as a change of root may take, 1 s.
    b.exec("start_call('long')")
    a.eval("until(lambda: labc.blocking.portal.node().rooms()._provider.running == 1)")
    killed = time.time()
    a.program.kill()
    outcome = b.eval("call_result()")
    assert outcome["error"] == "PeerLostError"
    assert outcome["ended"] - killed < 2.3, "its heartbeats would take 2.5 s"


def test_a_relayed_lane_gives_way_to_a_direct_one(make_lab: MakeLab, start: Start, network: str) -> None:
    lab = make_lab(2)
    for host in lab.hosts:
        host.block_tcp(all_but=root_ports(network))
    a, b = start_all(start, lab.hosts)
    a.exec("labc.register(lambda x: x, name='echo')")
    b.exec("labc.register(lambda x: -x, name='minus')")
    assert b.eval("labc.call('echo', 1)") == 1
    kinds = "sorted(lane.kind for lane in labc.blocking.portal.node().rooms()._pool.lanes() if not lane.one_way)"
    assert (a.eval(kinds), b.eval(kinds)) == (["relay"], ["relay"])
    for host in lab.hosts:
        host.clear_firewall()
    b.eval(f"until(lambda: 'tcp' in {kinds})", timeout=20)
    lanes = "labc.blocking.portal.node().rooms()._pool._lanes.values()"
    a.eval(f"until(lambda: [lane.kind for lane in {lanes}] == ['tcp'])")
    assert a.eval("labc.call('minus', 2)") == -2
    assert b.eval("[labc.call('echo', n) for n in range(50)]") == list(range(50))
    for agent in (a, b):  # and the other one goes, when nobody uses it
        agent.eval(f"until(lambda: {kinds} == ['tcp'], 20)", timeout=25)
    assert b.eval("labc.call('echo', 3)") == 3


def test_a_lossy_network_only_slows(make_lab: MakeLab, start: Start) -> None:
    lab = make_lab(2)
    for host in lab.hosts:
        host.lose(5)
    a, b = start_all(start, lab.hosts)
    a.exec("labc.register(lambda x: x, name='echo'); labc.subscribe(receive, topic='ticks')")
    assert b.eval("[labc.call('echo', n) for n in range(200)]", timeout=40) == list(range(200))
    b.exec("[labc.publish('ticks', n) for n in range(200)]")
    a.eval("until(lambda: len(received) == 200)", timeout=20)
    assert [number for number, _ in a.eval("received")] == list(range(200))


def test_a_slow_network_carries_big_values_and_calls_beside_them(make_lab: MakeLab, start: Start) -> None:
    lab = make_lab(2)
    a, b = start_all(start, lab.hosts)
    for host in lab.hosts:
        host.limit_rate(40_000_000)
    a.exec("""
labc.register(lambda x: len(x), name='size')
labc.register(lambda: 1, name='quick')
labc.subscribe(lambda x: received.append(len(x)), topic='big')
""")
    assert b.eval("labc.call('quick')") == 1
    b.exec("start_call('size', bytes(20_000_000))")
    delays = b.eval(
        "[(lambda began: labc.call('quick') and time.time() - began)(time.time()) for _ in range(10)]", timeout=40
    )
    outcome = b.eval("call_result(40)", timeout=40)
    assert outcome["value"] == 20_000_000
    assert outcome["ended"] - outcome["began"] > 3.0  # the rate is what it should be
    assert max(delays) < 1.5, delays
    # A single big message on an idle link is not lost.
    b.exec("labc.publish('big', bytes(5_000_000))", timeout=20)
    a.eval("until(lambda: received == [5_000_000])")


def test_five_dead_addresses_and_a_good_one(make_lab: MakeLab, start: Start) -> None:
    a, b = start_all(start, make_lab(2).hosts)
    a.exec("""
labc.register(lambda x: x, name='echo')
listener = labc.blocking.portal.node().rooms()._pool.listener
good = listener.addresses()
assert len(good) == 2  # the cable's, and loopback
network, port = good[0].rsplit('.', 1)[0], listener.port
dead = [f'{network}.{host}:{port}' for host in range(201, 206)]  # nobody has these: nothing answers
listener.addresses = lambda: [*dead, *good]
""")
    b.exec("began = time.time()")
    assert b.eval("labc.call('echo', 'found')") == "found"
    assert b.eval("time.time() - began") < 1.0
    assert b.eval("[lane.kind for lane in labc.blocking.portal.node().rooms()._pool.lanes()]") == ["tcp"]
