"""Blocking calls that go past the event loop, over TCP from host to host."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest
from agent import WAIT, Agent, Start, start_all

from labc.lanes.direct import POSSIBLE
from labc.testing import VirtualHosts
from labc.testing.namespaces import command, in_namespace
from labc.testing.virtual_host import INTERFACE

MakeLab = Callable[[int], VirtualHosts]

pytestmark = pytest.mark.skipif(not POSSIBLE, reason="calls have no way past the loop here")

CALLER = """
def direct():
    return labc.blocking.portal.node().rooms()._pool.direct

def idle():
    return sum(map(len, direct()._idle.values()))

def busy():
    return sum(map(len, direct()._busy.values()))

def families():
    return sorted({lane._socket.family.name for lanes in direct()._idle.values() for lane in lanes})

def failing(call):
    try:
        call()
    except Exception as error:
        return type(error).__name__

def seconds(call):
    began = time.time()
    call()
    return time.time() - began
"""

SERVER = f"""{WAIT}
labc.register(lambda x: x, name="echo")
labc.register(len, name="size")
labc.register(lambda: labc.blocking.portal.node().name, name="who")
"""


def pair(lab: VirtualHosts, start: Start) -> tuple[Agent, Agent]:
    """A server, and a caller on another host that has learned the direct way to each of its functions."""
    server, caller = start_all(start, lab.hosts[:2])
    server.exec(SERVER)
    caller.exec(CALLER)
    caller.exec(
        "for _ in range(3): labc.call('wait', 0); labc.call('echo', 1); labc.call('who'); labc.call('size', b'')"
    )
    assert caller.eval("families()") == ["AF_INET"]
    assert caller.eval("(idle(), busy())") == [1, 0]
    return server, caller


def begin(server: Agent, caller: Agent, call: str) -> None:
    caller.exec(f"start_call({call})")
    server.eval("until(lambda: running() == 1)")
    assert caller.eval("busy()") == 1


def test_a_cable_that_is_cut_in_a_call(make_lab: MakeLab, start: Start) -> None:
    lab = make_lab(2)
    server, caller = pair(lab, start)
    begin(server, caller, "'wait', 60")
    cut = time.time()
    lab.hosts[0].cut()
    outcome = caller.eval("call_result()")
    assert (outcome["error"], outcome["ran"]) == ("PeerLostError", "maybe")
    assert outcome["ended"] - cut < 3.5
    assert caller.eval("(idle(), busy())") == [0, 0]
    server.eval("until(lambda: cancelled)")
    assert server.eval("cancelled[0]") - cut < 4.0
    lab.hosts[0].mend()
    caller.exec("until(lambda: 'node1' in names()); before = failing(lambda: labc.call('echo', 1))")
    assert caller.eval("before in (None, 'PeerLostError')"), "a lane that only one side has given up"
    assert caller.eval("[labc.call('echo', n) for n in range(5)]") == [0, 1, 2, 3, 4]
    assert caller.eval("families()") == ["AF_INET"]


def test_a_cable_that_is_cut_before_a_call(make_lab: MakeLab, start: Start) -> None:
    lab = make_lab(2)
    _, caller = pair(lab, start)
    lab.hosts[0].cut()
    cut = time.time()
    caller.exec("start_call('echo', 1)")
    outcome = caller.eval("call_result()")
    assert outcome["error"] in ("PeerLostError", "NotFoundError")
    assert outcome["ended"] - cut < 3.5
    lab.hosts[0].mend()
    caller.eval("until(lambda: 'node1' in names())")
    assert caller.eval("[labc.call('echo', n) for n in range(5)]") == [0, 1, 2, 3, 4]


def test_a_cable_that_is_out_for_a_moment(make_lab: MakeLab, start: Start) -> None:
    """Shorter than the heartbeat_timeout: the call only takes longer."""
    lab = make_lab(2)
    server, caller = pair(lab, start)
    begin(server, caller, "'wait', 2")
    lab.hosts[0].cut()
    time.sleep(1.0)  # the time is the case that is tested
    lab.hosts[0].mend()
    assert caller.eval("call_result()")["value"] == "waited"


def test_a_provider_whose_host_dies_in_a_large_request(make_lab: MakeLab, start: Start) -> None:
    lab = make_lab(2)
    server, caller = pair(lab, start)
    lab.hosts[0].limit_rate(20_000_000)
    caller.exec("start_call('size', bytes(50_000_000))")
    caller.eval("until(lambda: busy() == 1)")
    lab.hosts[0].cut()
    cut = time.time()
    outcome = caller.eval("call_result()")
    assert outcome["error"] == "PeerLostError", outcome
    assert outcome["ended"] - cut < 3.5
    assert server.eval("running()") == 0


@pytest.mark.parametrize("new_lane", [False, True], ids=["on a lane that is open", "on a new lane"])
def test_a_large_request_over_a_slow_network(make_lab: MakeLab, start: Start, new_lane: bool) -> None:
    """It takes longer than heartbeat_timeout, and bytes move all the time."""
    lab = make_lab(2)
    _, caller = pair(lab, start)
    for host in lab.hosts:
        host.limit_rate(40_000_000)
    if new_lane:
        caller.exec("direct().close_idle(None, 0.0)")
    caller.exec("start_call('size', bytes(20_000_000))")
    outcome = caller.eval("call_result(30)", timeout=40)
    assert outcome.get("value") == 20_000_000, outcome
    assert outcome["ended"] - outcome["began"] > 3.0  # the rate is what it should be
    outcome = caller.eval("len(labc.call('echo', bytes(20_000_000)))", timeout=40)
    assert outcome == 20_000_000


def test_no_answer_in_time_over_a_slow_network(make_lab: MakeLab, start: Start) -> None:
    """The request alone takes longer than the caller waits."""
    lab = make_lab(2)
    _, caller = pair(lab, start)
    for host in lab.hosts:
        host.limit_rate(10_000_000)
    for prepare in ("direct().close_idle(None, 0.0)", "[labc.call('echo', 1) for _ in range(3)]"):
        caller.exec(prepare)
        caller.exec("start_call('size', bytes(20_000_000), at=dict(timeout=1))")
        outcome = caller.eval("call_result()")
        assert outcome["error"] == "CallTimeoutError", outcome
        assert 0.9 < outcome["ended"] - outcome["began"] < 1.5
        caller.eval("until(lambda: busy() == 0)")
    assert caller.eval("labc.call('echo', 1)") == 1


def test_a_provider_that_loses_one_of_its_addresses_while_nobody_calls(make_lab: MakeLab, start: Start) -> None:
    lab = make_lab(2)
    first = lab.hosts[0]
    other = re.sub(r"\d+$", "77", first.address)
    assert other != first.address
    in_namespace(first.namespace, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/all/promote_secondaries")
    command("ip", "-n", first.namespace, "address", "add", f"{other}/24", "dev", INTERFACE)
    _, caller = pair(lab, start)
    used = caller.eval("next(lane._socket.getpeername()[0] for lanes in direct()._idle.values() for lane in lanes)")
    command("ip", "-n", first.namespace, "address", "del", f"{used}/24", "dev", INTERFACE)
    command("ip", "-n", first.namespace, "route", "replace", "224.0.0.0/4", "dev", INTERFACE)
    # It is reached by the other. Until then calls may fail, but none hangs.
    caller.exec("""
def works():
    began = time.time()
    try:
        return labc.call('echo', 7) == 7
    except labc.LabcError as error:
        return False
    finally:
        longest.append(time.time() - began)
longest = []
""")
    caller.eval("until(works, timeout=20)", timeout=25)
    assert max(caller.eval("longest")) < 6.0
    caller.eval("until(lambda: [labc.call('echo', n) for n in range(5)] == [0, 1, 2, 3, 4])")
    assert caller.eval("max(seconds(lambda: labc.call('echo', 1)) for _ in range(20))") < 0.2
    assert caller.eval("families()") == ["AF_INET"]


@pytest.mark.parametrize("answer", ["drop", "reject"])
def test_where_no_new_connection_can_be_made_calls_share_the_lane_that_is_open(
    make_lab: MakeLab, start: Start, answer: str
) -> None:
    """A firewall came up meanwhile. The node has a lane, so nobody has to wait for a second one."""
    lab = make_lab(2)
    _, caller = pair(lab, start)
    lab.hosts[0].block_tcp(answer=answer)  # type: ignore[arg-type]
    caller.exec("direct().close_idle(None, 0.0)")
    assert caller.eval("idle()") == 0
    waited = caller.eval("[seconds(lambda: labc.call('echo', 1)) for _ in range(4)]")
    assert sorted(waited)[1] < 0.2, waited  # one or two may find out
    assert max(waited) < 2.5, waited


def test_a_timeout_holds_while_it_connects(make_lab: MakeLab, start: Start) -> None:
    lab = make_lab(2)
    _, caller = pair(lab, start)
    lab.hosts[0].block_tcp()
    caller.exec("direct().close_idle(None, 0.0)")
    caller.exec("start_call('echo', 1, at=dict(timeout=0.5))")
    outcome = caller.eval("call_result()")
    assert outcome["ended"] - outcome["began"] < 0.8
    assert outcome.get("value") == 1 or outcome["error"] == "CallTimeoutError"


def test_a_killed_provider_is_known_at_once(make_lab: MakeLab, start: Start) -> None:
    lab = make_lab(3)
    server, caller = pair(lab, start)
    begin(server, caller, "'wait', 60")
    killed = time.time()
    server.program.kill()
    outcome = caller.eval("call_result()")
    assert (outcome["error"], outcome["ran"]) == ("PeerLostError", "maybe")
    assert outcome["ended"] - killed < 0.5


def test_a_provider_on_the_same_host_is_preferred_as_soon_as_it_is_known(make_lab: MakeLab, start: Start) -> None:
    lab = make_lab(2)
    _, caller = pair(lab, start)
    assert caller.eval("labc.call('who')") == "node1"
    near = start(lab.hosts[1], "near")
    near.exec(SERVER)
    near.exec("labc.blocking.portal.node()")
    caller.eval("until(lambda: len(labc.call_all('who')) == 2)")
    assert caller.eval("sorted({labc.call('who') for _ in range(20)})") == ["near"]
    near.program.kill()
    near.program.process.wait(5)
    assert caller.eval("sorted({labc.call('who') for _ in range(20)})") == ["node1"]


def test_heartbeats_keep_a_long_call(make_lab: MakeLab, start: Start) -> None:
    server, caller = pair(make_lab(2), start)
    begin(server, caller, "'wait', 8")
    assert caller.eval("call_result()")["value"] == "waited"
    assert server.eval("cancelled") == []
