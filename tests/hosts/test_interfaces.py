"""The setting ``interfaces``, on two hosts with two networks in common: nothing goes over the one that is avoided."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from agent import Agent, RemoteFailure, meet
from keyed import as_member, make_members

from labc.testing import VirtualHost, VirtualHosts
from labc.testing.virtual_host import INTERFACE

MakeLab = Callable[[int], VirtualHosts]
Begin = Callable[..., Agent]

SECOND = "lab1"
"""The interface of the second network, whose addresses are 10.212.0.1 and 10.212.0.2: they come first in any order."""

ADDRESSES = "{each.partition('/')[2].rpartition(':')[0] for each in labc.here.nodes()[0].addresses}"
LISTENER = "labc.blocking.portal.node().rooms()._pool.listener"


@pytest.fixture
def hosts(make_lab: MakeLab) -> tuple[VirtualHost, ...]:
    hosts = make_lab(2).hosts
    add_second(hosts)
    return hosts


@pytest.fixture
def begin(network: str, tmp_path: Path) -> Iterator[Begin]:
    """``begin(host, name, LABC_INTERFACES=...)`` runs an agent there, with a state folder for each host."""
    with contextlib.ExitStack() as agents:

        def start(host: VirtualHost, name: str, **env: str) -> Agent:
            env = {"LABC_NETWORK": network, "XDG_STATE_HOME": str(tmp_path / host.name)} | env
            return agents.enter_context(Agent(host.program, name, **env))

        yield start


def add_second(hosts: tuple[VirtualHost, ...]) -> None:
    h1, h2 = hosts
    h1.run(f"ip link add {SECOND} type veth peer name {SECOND} netns {h2.namespace}".split(), check=True)
    for number, host in enumerate(hosts, 1):
        ip(host, f"address add 10.212.0.{number}/24 dev {SECOND}", f"link set {SECOND} up")


def ip(host: VirtualHost, *lines: str) -> None:
    for line in lines:
        host.run(["ip", *line.split()], check=True)


def count_packets(host: VirtualHost, interface: str) -> Callable[[], int]:
    """How many packets have gone out of this host there since, but for what the kernel says of itself (ARP, ICMP)."""
    name = f"out_{interface}"
    rules = f"""
add table inet count
add counter inet count {name}
add chain inet count {name} {{ type filter hook output priority 10; }}
add rule inet count {name} oifname {interface} meta l4proto {{ tcp, udp, igmp }} counter name {name}
"""
    host.run(["nft", "-f", "-"], check=True, input=rules)

    def count() -> int:
        output = host.run(["nft", "list", "counter", "inet", "count", name], check=True).stdout
        match = re.search(r"packets (\d+)", output)
        assert match
        return int(match[1])

    return count


def offer(agent: Agent) -> None:
    agent.exec(f"labc.register(lambda: {agent.name!r}, name='who-{agent.name}'); labc.blocking.portal.node()")


def call(caller: Agent, provider: Agent) -> None:
    assert caller.eval(f"labc.at(find_timeout=10).call('who-{provider.name}')", timeout=20) == provider.name


def call_at_last(caller: Agent, provider: Agent) -> None:
    """The first one may go over a connection that leads nowhere any more."""
    caller.exec(f"""
def try_call():
    try:
        return labc.at(find_timeout=0.1, timeout=2).call('who-{provider.name}')
    except (labc.NotFoundError, labc.PeerLostError, labc.CallTimeoutError):
        return None
""")
    caller.eval(f"until(lambda: try_call() == {provider.name!r}, 10)", timeout=20)


def apart(caller: Agent, provider: Agent) -> None:
    with pytest.raises(RemoteFailure, match="NotFoundError"):
        caller.eval(f"labc.at(find_timeout=3).call('who-{provider.name}')")


@pytest.mark.parametrize(
    "setting",
    ["!lab1", "!10.212.0.0/24", "eth0", "10.213.0.0/24"],
    ids=["name", "subnet", "other name", "other subnet"],
)
@pytest.mark.parametrize("way", ["multicast", "scan"])
def test_nothing_goes_over_an_interface_that_is_avoided(
    hosts: tuple[VirtualHost, ...], begin: Begin, setting: str, way: str
) -> None:
    """Though the other host, which avoids none, asks there and tells of its address there."""
    h1, h2 = hosts
    avoided, used = count_packets(h1, SECOND), count_packets(h1, INTERFACE)
    a, b = begin(h1, "a", LABC_INTERFACES=setting, LABC_DISCOVERY=way), begin(h2, "b", LABC_DISCOVERY="multicast,scan")
    for agent in (a, b):
        offer(agent)
    for caller, provider in ((a, b), (b, a)) * 3:
        call(caller, provider)
    a.exec("import asyncio; asyncio.run(labc.aio.call('who-b'))")
    assert avoided() == 0
    assert used() > 0
    assert {each for each in a.eval(f"sorted({ADDRESSES})") if "." in each} == {h1.address, "127.0.0.1"}
    b.eval(f"until(lambda: '10.212.0.2' in {ADDRESSES})")  # the system may take a second to call an interface running


@pytest.mark.parametrize("setting", ["", "!lab1"])
def test_who_can_only_be_reached_there_is_not_found(hosts: tuple[VirtualHost, ...], begin: Begin, setting: str) -> None:
    h1, h2 = hosts
    h1.cut()
    avoided = count_packets(h1, SECOND)
    a = begin(h1, "a", LABC_INTERFACES=setting)
    b = begin(h2, "b", LABC_DISCOVERY="multicast,scan", LABC_HOSTS="10.212.0.1")
    offer(a)
    offer(b)
    if setting:
        apart(b, a)
        apart(a, b)
        assert avoided() == 0
    else:
        call(b, a)
        call(a, b)
        assert avoided() > 0


def test_a_host_that_is_named_and_must_not_be_asked_is_told(hosts: tuple[VirtualHost, ...], begin: Begin) -> None:
    h1, h2 = hosts
    avoided = count_packets(h1, SECOND)
    b = begin(h2, "b", LABC_DISCOVERY="")
    offer(b)
    a = begin(h1, "a", LABC_INTERFACES="!lab1", LABC_HOSTS="10.212.0.2", LABC_DISCOVERY="hosts")
    offer(a)
    a.program.expect(re.compile(r"10\.212\.0\.2, of the setting hosts, is not asked: .* interfaces"), stream="stderr")
    apart(a, b)
    assert avoided() == 0
    assert a.program.errors.count("is not asked") == 1


@pytest.mark.parametrize("keyed", [False, True])
def test_lanes_are_refused_there(
    hosts: tuple[VirtualHost, ...], begin: Begin, network: str, tmp_path: Path, keyed: bool
) -> None:
    """To which nobody would come who believes what it tells of its addresses; nor does it go there itself."""
    h1, h2 = hosts
    members = make_members(tmp_path, network, ["h1", "h2"]) if keyed else {}
    env = {host.name: as_member(tmp_path, host.name) if members else {} for host in hosts}
    a = begin(h1, "a", LABC_INTERFACES="!lab1", **env["h1"])
    b = begin(h2, "b", **env["h2"])
    meet([a, b])
    kind = "tls" if keyed else "tcp"
    b.exec(f"""
import asyncio
def way(ip, port, other):
    # What comes of a lane to there.
    rooms = labc.blocking.portal.node().rooms()
    async def connect():
        node = next(node for node in rooms._neighbourhood.directory.nodes() if node.id == other)
        lane = await rooms._pool._connector._at(f"{kind}/{{ip}}:{{port}}", node)
        lane.close()
    try:
        asyncio.run_coroutine_threadsafe(connect(), rooms.loop).result(10)
        return "a lane"
    except OSError as error:
        return str(error)
""")
    port, a_id = a.eval(f"{LISTENER}.port"), a.eval("labc.here.nodes()[0].id")
    assert b.eval(f"way({h1.address!r}, {port}, {a_id!r})") == "a lane"
    assert b.eval(f"way('10.212.0.1', {port}, {a_id!r})") != "a lane"
    assert a.eval(f"len({LISTENER}._doors)") == (2 if keyed else 0)
    avoided = count_packets(h1, SECOND)
    a.exec(f"""
import asyncio
from concurrent.futures import TimeoutError as Late
rooms = labc.blocking.portal.node().rooms()
at = rooms._pool._connector._at
node = next(node for node in rooms._neighbourhood.directory.nodes() if node.name == "b")
future = asyncio.run_coroutine_threadsafe(at("{kind}/10.212.0.2:{b.eval(LISTENER + ".port")}", node), rooms.loop)
""")
    assert a.eval("str(future.exception(10))").endswith("over an interface that the setting interfaces does not use")
    assert avoided() == 0


def test_an_interface_and_an_address_that_come_later(make_lab: MakeLab, begin: Begin) -> None:
    hosts = make_lab(2).hosts
    for host in hosts:
        ip(host, f"address flush dev {INTERFACE}")
    a, b = (begin(host, host.name, LABC_INTERFACES="lab1") for host in hosts)
    for agent in (a, b):
        offer(agent)
        agent.program.expect(re.compile("interfaces names 'lab1', which is not there now"), stream="stderr")
    for host in hosts:
        ip(host, f"address add {host.address}/24 dev {INTERFACE}")
    apart(b, a)
    add_second(hosts)
    began = time.time()
    call(b, a)
    call(a, b)
    print(f"\nan interface that is to be used comes: {time.time() - began:.2f} s")
    ip(hosts[1], f"address flush dev {SECOND}", f"address add 10.212.0.200/24 dev {SECOND}")
    began = time.time()
    a.eval("until(lambda: names() == ['h1'])", timeout=20)
    call_at_last(b, a)
    call_at_last(a, b)
    print(f"\nits address changes: {time.time() - began:.2f} s")


def test_an_address_that_is_not_used_any_more_is_not_heard(make_lab: MakeLab, begin: Begin) -> None:
    """The interface stays, and gets an address of a subnet that is avoided."""
    h1, h2 = make_lab(2).hosts
    a, b = begin(h1, "a", LABC_INTERFACES="!10.215.0.0/24"), begin(h2, "b", LABC_DISCOVERY="multicast")
    meet([a, b])
    for number, host in enumerate((h1, h2), 1):
        ip(host, f"address flush dev {INTERFACE}", f"address add 10.215.0.{number}/24 dev {INTERFACE}")
    a.eval("until(lambda: names() == ['a'])", timeout=20)
    offer(a)
    offer(b)
    sent = count_packets(h1, INTERFACE)
    apart(b, a)
    assert sent() == 0


def test_a_setting_that_leaves_nothing_is_told_unless_it_is_meant(make_lab: MakeLab, begin: Begin) -> None:
    (h1,) = make_lab(1).hosts
    a = begin(h1, "a", LABC_INTERFACES="10.99.0.0/16")
    c = begin(h1, "c", LABC_INTERFACES="lo")
    meet([a, c])
    a.program.expect(re.compile(rf"allows none of this computer's addresses \({h1.address} of eth0"), stream="stderr")
    for agent in (a, c):
        offer(agent)
        assert agent.eval(f"sorted({ADDRESSES})") == ["127.0.0.1"]
    call(a, c)
    assert "interfaces" not in c.program.errors
