"""Hosts find each other on networks as they are: each way alone, in any order, within ten seconds.

Each test prints the seconds from when the hosts could have reached each other to the first call that succeeded
(``pytest -s``).
"""

from __future__ import annotations

import contextlib
import itertools
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from agent import Agent, RemoteFailure, meet

from labc.discovery.datagrams import Datagram, encode, network_digest
from labc.fabric import root_ports
from labc.testing import VirtualHost, VirtualHosts
from labc.testing.virtual_host import INTERFACE

MakeLab = Callable[[int], VirtualHosts]
StartWith = Callable[..., Agent]

WITHIN = 10.0
"""Seconds, of the issue."""


@pytest.fixture
def begin(network: str, tmp_path: Path) -> Iterator[StartWith]:
    """``begin(host, name, LABC_HOSTS=...)`` runs an agent there, with a state folder for each host."""
    with contextlib.ExitStack() as agents:

        def start(host: VirtualHost, name: str, **env: str) -> Agent:
            env = {"LABC_NETWORK": network, "XDG_STATE_HOME": str(tmp_path / host.name)} | env
            return agents.enter_context(Agent(host.program, name, **env))

        yield start


def blocked(lab: VirtualHosts) -> VirtualHosts:
    for host in lab.hosts:
        host.drop_multicast()
    return lab


def offer(agent: Agent) -> None:
    agent.exec(f"labc.register(lambda: {agent.name!r}, name={'who-' + agent.name!r}); labc.blocking.portal.node()")


def first_call(caller: Agent, provider: Agent, since: float, what: str, within: float = WITHIN) -> float:
    """The seconds from then until a call has succeeded."""
    caller.exec(f"""
def try_call():
    try:
        return labc.at(find_timeout=0.1, timeout=2).call({"who-" + provider.name!r})
    except (labc.NotFoundError, labc.PeerLostError, labc.CallTimeoutError):
        return None
""")
    caller.eval(f"until(lambda: try_call() == {provider.name!r}, 15)", timeout=20)
    seconds = time.time() - since
    print(f"\n{what}: {seconds:.2f} s")
    assert seconds < within
    return seconds


def apart(caller: Agent, provider: Agent) -> None:
    with pytest.raises(RemoteFailure, match="NotFoundError"):
        caller.eval(f"labc.at(find_timeout=1).call({'who-' + provider.name!r})")


def ip(host: VirtualHost, *lines: str) -> None:
    for line in lines:
        host.run(["ip", *line.split()], check=True)


# Each way alone.


def test_by_multicast(make_lab: MakeLab, begin: StartWith) -> None:
    h1, h2 = make_lab(2).hosts
    a, b = begin(h1, "a"), begin(h2, "b")
    offer(a)
    began = time.time()
    first_call(b, a, began, "multicast, the second program starts", within=2.0)


@pytest.mark.parametrize("named", ["address", "address and port", "name"])
def test_by_one_entry_on_one_side(make_lab: MakeLab, begin: StartWith, network: str, named: str) -> None:
    h1, h2 = blocked(make_lab(2)).hosts
    entry = {"address": h1.address, "address and port": f"{h1.address}:{root_ports(network)[0]}", "name": h1.name}
    a = begin(h1, "a")
    b = begin(h2, "b", LABC_HOSTS=entry[named]) if named != "name" else begin(h2, "b")
    offer(a)
    if named == "name":  # as a DNS would know it
        b.exec(f"""
import socket
real = socket.getaddrinfo
def getaddrinfo(host, *args, **kwargs):
    return real({h1.address!r} if host == 'h1' else host, *args, **kwargs)
socket.getaddrinfo = getaddrinfo
labc.init(hosts=['h1', 'no-such-name.invalid', '10.213.0.77'])
""")
    began = time.time()
    first_call(b, a, began, f"multicast blocked, one `hosts` entry ({named}) on one side", within=2.0)
    offer(b)
    first_call(a, b, time.time(), "the same, called from the side without an entry")


def test_by_an_entry_of_the_one_that_came_first(make_lab: MakeLab, begin: StartWith) -> None:
    h1, h2 = blocked(make_lab(2)).hosts
    a = begin(h1, "a", LABC_HOSTS=h2.address, LABC_DISCOVERY="hosts")
    offer(a)
    time.sleep(6)  # its quick asks are over
    b = begin(h2, "b", LABC_DISCOVERY="hosts")
    b.exec("labc.blocking.portal.node()")
    first_call(b, a, time.time(), "the named host comes 6 s later")


def test_by_scan(make_lab: MakeLab, begin: StartWith) -> None:
    h1, h2 = blocked(make_lab(2)).hosts
    a = begin(h1, "a", LABC_DISCOVERY="scan")
    offer(a)
    time.sleep(6)
    b = begin(h2, "b")
    b.exec("labc.blocking.portal.node()")
    first_call(b, a, time.time(), "multicast blocked, scan of a /24 on the older host")
    other = begin(h2, "other")
    offer(other)
    first_call(a, other, time.time(), "and back")


def test_by_scan_of_given_ranges(make_lab: MakeLab, begin: StartWith, network: str) -> None:
    h1, h2 = blocked(make_lab(2)).hosts
    a = begin(h1, "a")
    offer(a)
    port = root_ports(network)[0]
    ranges = f"10.99.0.0/28,10.213.0.1-10.213.0.9:{port}"
    b = begin(h2, "b", LABC_DISCOVERY="scan", LABC_SCAN_RANGES=ranges)
    first_call(b, a, time.time(), "multicast blocked, scan of ranges from the new host", within=2.5)


def test_a_scan_comes_to_the_end_where_the_system_takes_few_datagrams(
    make_lab: MakeLab, begin: StartWith, network: str
) -> None:
    h1, h2 = blocked(make_lab(2)).hosts
    a = begin(h1, "a", LABC_DISCOVERY="")
    offer(a)
    ip(h1, "addr add 10.99.7.60/32 dev eth0")
    ip(h2, "route add 10.99.7.0/24 dev eth0")
    b = begin(h2, "b", LABC_DISCOVERY="scan", LABC_SCAN_RANGES="10.99.7.1-10.99.7.60")
    b.exec("import labc.discovery.sockets; labc.discovery.sockets._SEND_BUFFER_BYTES = 20_000")
    first_call(b, a, time.time(), "scan of 60 addresses while the system takes 50 datagrams in 3 s")


def test_while_a_scan_waits_for_empty_addresses_everybody_is_answered(
    make_lab: MakeLab, begin: StartWith, network: str
) -> None:
    (host,) = make_lab(1).hosts
    a = begin(host, "a", LABC_DISCOVERY="scan")
    a.exec("labc.blocking.portal.node()")
    a.exec(f"""
import socket
from labc.discovery.description import who_is_there
def unanswered(seconds):
    lost, until = 0, time.monotonic() + seconds
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.5)
        while time.monotonic() < until:
            sock.sendto(who_is_there(b"a token!"), ("127.0.0.1", {root_ports(network)[0]}))
            try:
                sock.recv(2048)
            except TimeoutError:
                lost += 1
            time.sleep(0.02)
    return lost
""")
    assert a.eval("unanswered(6)") == 0  # in which the scan asks 254 addresses twice


def test_a_remembered_root_is_found_when_multicast_is_gone(make_lab: MakeLab, begin: StartWith, tmp_path: Path) -> None:
    lab = make_lab(2)
    h1, h2 = lab.hosts
    a, b = begin(h1, "a"), begin(h2, "b")
    meet([a, b])
    b.eval(f"until(lambda: os.path.exists({str(tmp_path / 'h2' / 'labc' / 'remembered.json')!r}))")
    for agent in (a, b):
        agent.close()
    blocked(lab)
    a = begin(h1, "a-again", XDG_STATE_HOME=str(tmp_path / "nothing"))
    offer(a)
    b = begin(h2, "b-again")
    first_call(b, a, time.time(), "multicast blocked since then, remembered on one side", within=2.0)


def test_nothing_goes_by_multicast_if_it_is_not_in_the_list(make_lab: MakeLab, begin: StartWith) -> None:
    h1, h2 = make_lab(2).hosts
    count_packets(h1, "ip daddr 224.0.0.0/4 udp dport > 0", "multicast")
    a = begin(h1, "a", LABC_DISCOVERY="remembered")
    b = begin(h2, "b")
    offer(a)
    offer(b)
    time.sleep(3)
    apart(b, a)
    assert counted(h1, "multicast") == 0


# Hosts that come in any order, and change.


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
def test_hosts_started_in_every_order(make_lab: MakeLab, begin: StartWith, order: tuple[int, ...]) -> None:
    """h1 knows h2, and h2 knows h3; nothing else is known to anybody."""
    hosts = blocked(make_lab(3)).hosts
    knows = {0: hosts[1].address, 1: hosts[2].address, 2: ""}
    agents: dict[int, Agent] = {}
    for index in order:
        agents[index] = begin(hosts[index], f"n{index}", LABC_HOSTS=knows[index], LABC_DISCOVERY="hosts")
        offer(agents[index])
        time.sleep(0.7)
    began = time.time()
    first_call(agents[0], agents[2], began, f"started in the order {order}, from first to last")
    first_call(agents[2], agents[0], began, f"started in the order {order}, from last to first")


@pytest.mark.parametrize("way", ["multicast", "hosts", "scan"])
def test_a_host_that_starts_without_a_network_and_gets_one(make_lab: MakeLab, begin: StartWith, way: str) -> None:
    lab = make_lab(2)
    h1, h2 = lab.hosts if way == "multicast" else blocked(lab).hosts
    ip(h2, f"link set {INTERFACE} down", f"address flush dev {INTERFACE}")
    a = begin(h1, "a")
    offer(a)
    b = begin(h2, "b", LABC_DISCOVERY=way, LABC_HOSTS=h1.address if way == "hosts" else "")
    apart(b, a)
    ip(h2, f"address add {h2.address}/24 dev {INTERFACE}", f"link set {INTERFACE} up")
    first_call(b, a, time.time(), f"started without a network, gets an address ({way})")
    offer(b)
    first_call(a, b, time.time(), "and back")


@pytest.mark.parametrize("way", ["multicast", "hosts"])
def test_an_address_that_changes(make_lab: MakeLab, begin: StartWith, way: str) -> None:
    lab = make_lab(2)
    h1, h2 = lab.hosts if way == "multicast" else blocked(lab).hosts
    a = begin(h1, "a")
    b = begin(h2, "b", LABC_DISCOVERY=way, LABC_HOSTS=h1.address if way == "hosts" else "")
    offer(a)
    offer(b)
    meet([a, b])
    ip(h2, f"address flush dev {INTERFACE}", f"address add 10.213.0.200/24 dev {INTERFACE}")
    began = time.time()
    first_call(b, a, began, f"an address changes ({way}), from there")
    first_call(a, b, began, f"an address changes ({way}), to there")


@pytest.mark.parametrize("timeout", [0.9, 20])
@pytest.mark.parametrize("face", ["labc.at(timeout={}).call", "asyncio.run(labc.aio.at(timeout={}).call"])
@pytest.mark.parametrize("what", ["an address changes", "a firewall forgets them"])
def test_connections_that_lead_nowhere_any_more(
    make_lab: MakeLab, begin: StartWith, network: str, what: str, face: str, timeout: float
) -> None:
    """No error tells so, and the nodes are present in the network, whether the caller has patience or not."""
    h1, h2 = make_lab(2).hosts
    a, b = begin(h1, "a"), begin(h2, "b")
    offer(a)
    offer(b)
    meet([a, b])
    call = face.format(timeout) + "('who-{}'" + (")" if face.startswith("labc") else "))")
    for caller, provider in ((a, b), (b, a)):
        caller.exec(f"""
import asyncio
def try_call():
    try:
        return {call.format(provider.name)}
    except (labc.NotFoundError, labc.PeerLostError, labc.CallTimeoutError):
        return None
""")
        assert caller.eval("[try_call() for _ in range(3)]") == [provider.name] * 3
    if what == "an address changes":
        ip(h2, f"address flush dev {INTERFACE}", f"address add 10.213.0.200/24 dev {INTERFACE}")
    else:
        ports = "{ " + ", ".join(map(str, root_ports(network))) + " }"
        for host in (h1, h2):
            host.add_rule("input", f"iifname != lo tcp sport != {ports} tcp dport != {ports} drop")
    began = time.time()
    for caller, provider in ((b, a), (a, b)):
        caller.eval(f"until(lambda: try_call() == {provider.name!r}, 25)", timeout=30)
        print(f"\n{caller.name} to {provider.name}: {time.time() - began:.2f} s")
    assert time.time() - began < WITHIN


@pytest.mark.parametrize("way", ["multicast", "scan"])
def test_a_new_interface(make_lab: MakeLab, begin: StartWith, way: str) -> None:
    """Both hosts have been running without a way to each other; then each gets a second network card."""
    lab = make_lab(2)
    h1, h2 = lab.hosts
    lab.cut(h1, h2)
    a, b = (begin(host, name, LABC_DISCOVERY=way) for host, name in ((h1, "a"), (h2, "b")))
    offer(a)
    offer(b)
    apart(b, a)
    h1.run(f"ip link add lab1 type veth peer name lab1 netns {h2.namespace}".split(), check=True)
    for number, host in enumerate((h1, h2), 1):
        ip(host, f"address add 10.214.0.{number}/24 dev lab1", "link set lab1 up")
    began = time.time()
    first_call(b, a, began, f"both hosts get a new interface ({way})")
    first_call(a, b, began, "and back")


@pytest.mark.parametrize("link_down", [False, True], ids=["silently", "with the link down"])
@pytest.mark.parametrize("way", ["multicast", "hosts"])
def test_a_cut_and_mended_link(make_lab: MakeLab, begin: StartWith, way: str, link_down: bool) -> None:
    lab = make_lab(2)
    h1, h2 = lab.hosts if way == "multicast" else blocked(lab).hosts
    a = begin(h1, "a")
    b = begin(h2, "b", LABC_DISCOVERY=way, LABC_HOSTS=h1.address if way == "hosts" else "")
    meet([a, b])
    offer(a)
    offer(b)
    lab.cut(h2, link_down=link_down)
    a.eval("until(lambda: names() == ['a'])")
    b.eval("until(lambda: names() == ['b'])")
    time.sleep(3)
    lab.mend(h2)
    began = time.time()
    first_call(b, a, began, f"a cut link is mended ({way})")
    first_call(a, b, began, "and back")


def test_two_networks_side_by_side(make_lab: MakeLab, begin: StartWith, network: str) -> None:
    """On the same ports, too: only the name keeps them apart."""
    h1, h2 = blocked(make_lab(2)).hosts
    env = {"LABC_HOSTS": h1.address, "LABC_ROOT_PORT": str(root_ports(network)[0])}
    red = [begin(host, f"red-{host.name}", **env, LABC_NETWORK=f"{network}-red") for host in (h1, h2)]
    for agent in red:
        offer(agent)
    blue = [begin(host, f"blue-{host.name}", **env, LABC_NETWORK=f"{network}-blue") for host in (h1, h2)]
    for agent in blue:
        offer(agent)
    began = time.time()
    first_call(red[1], red[0], began, "two networks side by side, the one")
    first_call(blue[1], blue[0], began, "two networks side by side, the other")
    apart(red[1], blue[0])
    apart(blue[1], red[0])


@pytest.mark.timeout(120)
@pytest.mark.parametrize("way", ["multicast", "scan"])
def test_twelve_hosts_at_once(make_lab: MakeLab, begin: StartWith, way: str) -> None:
    lab = make_lab(12)
    hosts = lab.hosts if way == "multicast" else blocked(lab).hosts
    agents = [begin(host, f"n{number:02}", LABC_DISCOVERY=way) for number, host in enumerate(hosts)]
    for agent in agents:
        agent.send("1")
    for agent in agents:
        agent.answer(timeout=60)
    began = time.time()
    for agent in agents:
        agent.send(f"labc.register(lambda: {agent.name!r}, name='who')", wanted=False)
    for agent in agents:
        agent.answer()
    wanted = sorted(agent.name for agent in agents)
    for agent in agents:
        agent.send(f"until(lambda: sorted(o.value for o in labc.call_all('who')) == {wanted!r}, 20)")
    for agent in agents:
        agent.answer(timeout=25)
    seconds = time.time() - began
    print(f"\ntwelve hosts at once ({way}), until each has called all: {seconds:.2f} s")
    assert seconds < WITHIN


# What can be wrong with a root.


@pytest.mark.parametrize("harm", ["kill", "stop"])
@pytest.mark.parametrize("side", ["with the entry", "without it"])
def test_a_root_is_killed_or_stopped(make_lab: MakeLab, begin: StartWith, harm: str, side: str) -> None:
    """The heir goes on: it finds the other host on a link that only a `hosts` entry on one side makes."""
    h1, h2 = blocked(make_lab(2)).hosts
    entry = {"LABC_DISCOVERY": "hosts", "LABC_HOSTS": h1.address}
    roots = [begin(h1, "root1"), begin(h2, "root2", **entry)]
    meet(roots)
    others = [begin(h1, "other1"), begin(h2, "other2", **entry)]
    meet([*roots, *others])
    for other in others:
        offer(other)
    victim = roots[1] if side == "with the entry" else roots[0]
    getattr(victim.program, harm)()
    began = time.time()
    time.sleep(3)  # what was there before does not count
    first_call(others[0], others[1], began, f"a root is {harm}ed, on the side {side}")
    first_call(others[1], others[0], began, "and back")
    heir = others[1] if side == "with the entry" else others[0]
    heir.eval("until(lambda: labc.blocking.portal.node().is_root)")
    newcomer = begin(h1 if heir is others[1] else h2, "newcomer", **({} if heir is others[1] else entry))
    offer(newcomer)
    first_call(heir, newcomer, time.time(), "a program that comes then")
    if harm == "stop":
        victim.may_panic = True  # see test_roots
        victim.program.cont()
        meet([*roots, *others, newcomer])


def test_a_second_root_on_a_host_is_found(make_lab: MakeLab, begin: StartWith) -> None:
    """The first port's holder is stopped before the other host is there at all."""
    h1, h2 = blocked(make_lab(2)).hosts
    stopped = begin(h1, "stopped")
    stopped.exec("labc.blocking.portal.node()")
    stopped.program.stop()
    second = begin(h1, "second")
    offer(second)
    b = begin(h2, "b", LABC_HOSTS=h1.address)
    first_call(b, second, time.time(), "the first root port is held by a stopped program")
    stopped.may_panic = True
    stopped.program.cont()
    meet([stopped, second, b])


def test_connections_that_can_be_made_in_one_direction_only(make_lab: MakeLab, begin: StartWith) -> None:
    """h2 asks; only h1 can open connections."""
    h1, h2 = blocked(make_lab(2)).hosts
    h1.block_tcp()
    a = begin(h1, "a")
    offer(a)
    b = begin(h2, "b", LABC_HOSTS=h1.address)
    first_call(b, a, time.time(), "TCP towards the named host is blocked")


# Bounds.


def count_packets(host: VirtualHost, match: str, name: str) -> None:
    """Count what goes out of this host over its cable and matches."""
    rules = f"""
add table inet count
add counter inet count {name}
add chain inet count output {{ type filter hook output priority 10; }}
add rule inet count output oifname {INTERFACE} {match} counter name {name}
"""
    host.run(["nft", "-f", "-"], check=True, input=rules)


def counted(host: VirtualHost, name: str) -> int:
    output = host.run(["nft", "list", "counter", "inet", "count", name], check=True).stdout
    match = re.search(r"packets (\d+)", output)
    assert match
    return int(match[1])


def test_few_datagrams_go_out_while_nobody_answers(make_lab: MakeLab, begin: StartWith) -> None:
    (h1,) = make_lab(1).hosts
    ip(h1, "route add default dev eth0")
    count_packets(h1, "ip daddr 224.0.0.224", "multicast")
    count_packets(h1, "ip daddr 10.213.0.7 udp dport > 0", "hosts")
    count_packets(h1, "ip daddr 10.214.0.0/24 udp dport > 0", "scan")
    # Addresses at which nobody is would be asked for by ARP, and no datagram would be sent.
    addresses = ["10.213.0.7", *(f"10.214.0.{number}" for number in range(1, 255))]
    lines = [f"neigh add {address} lladdr 02:00:00:00:00:01 dev {INTERFACE}" for address in addresses]
    h1.run(["ip", "-batch", "-"], check=True, input="\n".join(lines))
    env = {"LABC_DISCOVERY": "multicast,scan", "LABC_HOSTS": "10.213.0.7", "LABC_SCAN_RANGES": "10.214.0.0/24"}
    a = begin(h1, "a", **env)
    a.exec("labc.blocking.portal.node()")
    time.sleep(12)
    # In 12 s: five quick ones, then one in 4.5 s or more.
    assert 5 <= counted(h1, "multicast") <= 7
    assert 5 * 4 <= counted(h1, "hosts") <= 7 * 4
    # A pass asks each of 254 addresses on two ports, and begins 5 s after the one before.
    assert 2 * 254 * 2 <= counted(h1, "scan") <= 4 * 254 * 2


def test_those_that_are_linked_are_not_asked_for_ever(make_lab: MakeLab, begin: StartWith) -> None:
    h1, h2 = blocked(make_lab(2)).hosts
    count_packets(h2, f"ip daddr {h1.address} udp dport > 0", "hosts")
    a, b = begin(h1, "a"), begin(h2, "b", LABC_HOSTS=h1.address)
    meet([a, b])
    time.sleep(2)
    before = counted(h2, "hosts")
    assert before > 0
    time.sleep(7)
    assert counted(h2, "hosts") == before


def test_a_flood_of_asks_is_bounded_and_harms_nobody(make_lab: MakeLab, begin: StartWith, network: str) -> None:
    h1, h2, h3 = make_lab(3).hosts
    a, b = begin(h1, "a"), begin(h2, "b")
    meet([a, b])
    offer(a)
    port = root_ports(network)[0]
    forged = encode(Datagram(False, network_digest(network), port, bytes(8), "1abc" + "0" * 28))
    count_packets(h1, f"ip daddr {h3.address} udp dport > 0", "answers")
    flood = h3.program(
        f"""
import os, socket, time
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
end = time.time() + 3
data = {forged!r}
while time.time() < end:
    for _ in range(100):
        sock.sendto(data[:-14] + os.urandom(14), ({h1.address!r}, {port}))
        sock.sendto(os.urandom(60), ({h1.address!r}, {port}))
    time.sleep(0.01)
print("done")
"""
    )
    began = time.time()
    first_call(b, a, began, "a call while another host floods", within=2.0)
    flood.expect("done", 10.0)
    first_call(b, a, time.time(), "and after it", within=2.0)
    answers = counted(h1, "answers")
    assert 100 < answers <= 1000 * (time.time() - began) + 200
    assert a.eval("len(labc.blocking.portal.node().rooms().fabric.heard())") <= 1000


def test_what_was_heard_can_be_seen(make_lab: MakeLab, begin: StartWith) -> None:
    h1, h2 = make_lab(2).hosts
    a, b = begin(h1, "a"), begin(h2, "b", LABC_HOSTS=h1.address)
    meet([a, b])
    b.exec("heard = labc.blocking.portal.node().rooms().fabric.heard")
    b.eval("until(lambda: len(heard()) == 1 and heard()[0].linked)")
    assert b.eval("[heard()[0].address, 'hosts' in heard()[0].methods or 'multicast' in heard()[0].methods]") == [
        h1.address,
        True,
    ]
