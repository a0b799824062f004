"""Networks with a key on virtual hosts: joining, what an eavesdropper sees, strangers, and revoking."""

from __future__ import annotations

import contextlib
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from agent import Agent, RemoteFailure, meet
from keyed import add_member, as_member, make_members
from network.cli.runs import LABC

from labc.fabric.ports import root_ports, scouting_address
from labc.security import Credentials, authority
from labc.security.authority import revoke
from labc.testing import Program, VirtualHost, VirtualHosts, python_program
from labc.testing.namespaces import enter

MakeLab = Callable[[int], VirtualHosts]
StartAs = Callable[..., Agent]

OUT_WITHIN = 5.0
"""Seconds, by the documentation, in which a revoked host is out."""

FABRIC = "labc.blocking.portal.node().rooms().fabric"
ROUTER = f"{FABRIC}._seat._router"

EAR = """
# Keeps the last datagram of each host that it hears in the group, to say the same from here.
import socket, threading, time
heard = {{}}
ears = socket.socket(type=socket.SOCK_DGRAM)
ears.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
ears.bind(({group!r}, {port}))
ears.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton({group!r}) + socket.inet_aton({own!r}))
mouth = socket.socket(type=socket.SOCK_DGRAM)
def listen():
    while True:
        data, (address, _) = ears.recvfrom(2048)
        heard[address] = data
def repeat(data, place, times):
    for _ in range(times):
        mouth.sendto(data, place)
        time.sleep(0.1)
threading.Thread(target=listen, daemon=True).start()
"""

SCOUT = """
import socket
def answers_to_scouts(addresses):
    found = []
    with socket.socket(type=socket.SOCK_DGRAM) as asker:
        asker.settimeout(1.0)
        for _ in range(3):
            for address in addresses:
                group, _, port = address.partition(":")
                asker.sendto(bytes([1, 9, 1]), (group, int(port)))
        try:
            while True:
                found.append(asker.recvfrom(2048)[1][0])
        except TimeoutError:
            return found
"""

SNIFFER = """
import socket, sys, threading

sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(3))
sniffer.settimeout(0.2)
seen = bytearray()
over = threading.Event()

def listen():
    while not over.is_set():
        try:
            seen.extend(sniffer.recv(65536))
        except TimeoutError:
            pass

thread = threading.Thread(target=listen)
thread.start()
print("listens", flush=True)
for word in sys.stdin:
    word = word.strip()
    if word == "end":
        break
    print(word, seen.count(word.encode()), len(seen) > 10_000, flush=True)
over.set()
"""


@pytest.fixture
def start_as(network: str, tmp_path: Path) -> Iterator[StartAs]:
    """``start_as(host, name, member)`` runs an agent there, of a user with that member's data folder."""
    with contextlib.ExitStack() as agents:

        def start(host: VirtualHost, name: str, member: str) -> Agent:
            # On a busy machine a handshake may take so long that the relay would be tried as well.
            patience = {"LABC_RELAY_AFTER": "6", "LABC_CONNECT_TIMEOUT": "8"}
            environment = {"LABC_NETWORK": network, **patience, **as_member(tmp_path, member)}
            return agents.enter_context(Agent(host.program, name, **environment))

        yield start


def kinds_of_lanes(agent: Agent) -> list[str]:
    found: list[str] = agent.eval("[lane.kind for lane in labc.blocking.portal.node().rooms()._pool.lanes()]")
    return found


def test_inviting_and_joining(make_lab: MakeLab, start_as: StartAs, network: str, tmp_path: Path) -> None:
    h1, h2, h3 = make_lab(3).hosts

    def labc_on(host: VirtualHost, *arguments: str) -> Program:
        return Program([LABC, *arguments], env=as_member(tmp_path, host.name), popen=host.popen)

    with labc_on(h1, "network", "create", network, "--uses", "2") as inviting:
        invitation = inviting.expect(re.compile(r"labc network join (labc-\w+)"))[1]
        for seat, host in enumerate((h2, h3), 1):
            with labc_on(host, "network", "join", invitation) as joining:
                assert joining.wait(20.0) == 0, joining.errors
                assert invitation not in joining.output + joining.errors
            inviting.expect(f"{host.name} joined from {host.address}, seat {seat}; {2 - seat} left")
        assert inviting.wait() == 0, inviting.errors
    a, b, c = (start_as(host, f"node{host.name}", host.name) for host in (h1, h2, h3))
    meet([a, b, c])
    a.exec("labc.register(lambda x: x, name='echo'); labc.subscribe(receive, topic='ticks')")
    assert [agent.eval("labc.call('echo', 'hi')") for agent in (b, c)] == ["hi", "hi"]
    assert kinds_of_lanes(b) == ["tls"]
    b.exec("labc.publish('ticks', 1)")
    a.eval("until(lambda: [number for number, _ in received] == [1])")
    # Much more than one record of TLS, both ways.
    assert b.eval("len(labc.call('echo', bytes(20_000_000)))", timeout=30) == 20_000_000


def test_scopes_and_retained_values_of_members(
    make_lab: MakeLab, start_as: StartAs, network: str, tmp_path: Path
) -> None:
    h1, h2 = make_lab(2).hosts
    make_members(tmp_path, network, ["h1", "h2"])
    a, a2, b = start_as(h1, "a", "h1"), start_as(h1, "a2", "h1"), start_as(h2, "b", "h2")
    meet([a, a2, b])
    a.exec("labc.register(lambda: 'near', name='near', scope='host'); labc.register(lambda: 'far', name='far')")
    a.exec("labc.publish('state', 'on', retain=True)")
    assert [agent.eval("labc.call('far')") for agent in (a2, b)] == ["far", "far"]
    assert a2.eval("labc.call('near')") == "near"
    with pytest.raises(RemoteFailure, match="NotFoundError"):
        b.eval("labc.at(find_timeout=0.5).call('near')")
    assert [agent.eval("labc.last('state').value") for agent in (a2, b)] == ["on", "on"]
    b.exec("labc.subscribe(receive, topic='state')")
    b.eval("until(lambda: [value for value, _ in received] == ['on'])")


def test_an_eavesdropper_sees_nothing(make_lab: MakeLab, start_as: StartAs, network: str, tmp_path: Path) -> None:
    lab = make_lab(2)
    h1, h2 = lab.hosts
    make_members(tmp_path, network, ["h1", "h2"])
    words = ["secretfunction", "secrettopic", "secretvalue", "secretnode", network]
    with sniffer_at_the_switch(lab) as sniffer:
        a, b = start_as(h1, "secretnode1", "h1"), start_as(h2, "secretnode2", "h2")
        meet([a, b])
        converse(a, b)
        assert seen(sniffer, words) == dict.fromkeys(words, 0)


def test_the_eavesdropper_would_see_an_open_network(
    make_lab: MakeLab, start_as: StartAs, network: str, tmp_path: Path
) -> None:
    """So that the test above can fail."""
    lab = make_lab(2)
    h1, h2 = lab.hosts
    words = ["secretfunction", "secrettopic", "secretvalue", "secretnode", network]
    with sniffer_at_the_switch(lab) as sniffer:
        a, b = start_as(h1, "secretnode1", "nobody"), start_as(h2, "secretnode2", "nobody")
        meet([a, b])
        converse(a, b)
        assert all(seen(sniffer, words).values())


def converse(a: Agent, b: Agent) -> None:
    a.exec("labc.register(lambda x: x, name='secretfunction'); labc.subscribe(receive, topic='secrettopic')")
    assert b.eval("labc.call('secretfunction', 'secretvalue')") == "secretvalue"
    b.exec("labc.publish('secrettopic', 'secretvalue')")
    a.eval("until(lambda: [value for value, _ in received] == ['secretvalue'])")
    assert len(b.eval("[f.name for f in labc.functions()]")) == 1


@contextlib.contextmanager
def sniffer_at_the_switch(lab: VirtualHosts) -> Iterator[Program]:
    """In the switch itself, through which all passes."""

    def in_the_switch(arguments: list[str], **options: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen([*enter(lab._switches[0]), *arguments], **options)

    with python_program(SNIFFER, name="sniffer", popen=in_the_switch) as sniffer:
        sniffer.expect("listens")
        yield sniffer


def seen(sniffer: Program, words: list[str]) -> dict[str, int]:
    """How often it saw each word, of more than 10 kB in all."""
    found = {}
    for word in words:
        sniffer.send_line(word)
        match = sniffer.expect(re.compile(rf"^{re.escape(word)} (\d+) (\w+)$"))
        assert match[2] == "True", "it has not seen what passes between the others"
        found[word] = int(match[1])
    sniffer.send_line("end")
    assert sniffer.wait() == 0
    return found


@pytest.mark.parametrize("stranger", ["open", "of another network of this name"])
def test_a_stranger_gets_nothing(
    make_lab: MakeLab, start_as: StartAs, network: str, tmp_path: Path, stranger: str
) -> None:
    h1, h2, h3 = make_lab(3).hosts
    members = make_members(tmp_path, network, ["h1", "h2"])
    a, b = start_as(h1, "a", "h1"), start_as(h2, "b", "h2")
    meet([a, b])
    a.exec("labc.register(lambda: 'told', name='tell'); labc.subscribe(receive, topic='ticks')")
    if stranger != "open":
        strange = make_members(tmp_path / "strange", network, ["h3"])
        # He knows where they are, and pretends to be one of them as well as he can.
        _pretend(strange["h3"], members["h1"])
    c = start_as(h3, "c", "strange/h3")
    assert c.eval("names()") == ["c"]
    with pytest.raises(RemoteFailure, match="NotFoundError"):
        c.eval("labc.call('tell')")
    c.exec("labc.publish('ticks', 'from the stranger')")
    # Straight to the door of a lane.
    port = a.eval("labc.blocking.portal.node().rooms()._pool.listener.port")
    answer = c.eval(f"""
(lambda s: (s.settimeout(5), s.sendall(b'labc' * 100), s.recv(100))[-1].hex())(
    __import__('socket').create_connection(({h1.address!r}, {port})))
""")
    assert b"labc" not in bytes.fromhex(answer)
    assert b.eval("labc.call('tell')") == "told"
    b.exec("labc.publish('ticks', 'from a member')")
    a.eval("until(lambda: [value for value, _ in received] == ['from a member'])")
    a.eval("until(lambda: labc.blocking.portal.node().rooms()._pool.listener.refused == 1)")
    assert a.program.errors.count(f"a connection from {h3.address} was refused") <= 1


def test_a_certificate_that_the_engine_takes_is_not_enough(
    make_lab: MakeLab, start_as: StartAs, network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one of a public authority would be: the roots link, and no message passes."""
    h1, h2, h3 = make_lab(3).hosts
    members = make_members(tmp_path, network, ["h1", "h2"])
    monkeypatch.setattr(authority, "common_name", lambda _: "www.example.org")
    add_member(tmp_path, members["h1"], "h3")
    a, b, c = (start_as(host, name, host.name) for host, name in ((h1, "a"), (h2, "b"), (h3, "c")))
    meet([a, b])
    a.exec("labc.register(lambda: 'told', name='tell'); labc.subscribe(receive, topic='ticks')")
    c.exec("labc.subscribe(receive, topic='news'); labc.blocking.portal.node()")
    router = "labc.blocking.portal.node().rooms().fabric._seat._router"
    for root in (a, b):  # it is linked indeed
        root.eval(f"until(lambda: 'www.example.org' in [link.auth_identifier for link in {router}.info.links()])")
    assert c.eval("names()") == ["c"]
    with pytest.raises(RemoteFailure, match="NotFoundError"):
        c.eval("labc.call('tell')")
    c.exec("labc.publish('ticks', 'from the stranger')")
    b.exec("labc.publish('news', 'for members'); labc.publish('ticks', 'from a member')")
    assert b.eval("labc.call('tell')") == "told"
    a.eval("until(lambda: [value for value, _ in received] == ['from a member'])")
    assert c.eval("received") == []
    assert a.eval("names()") == ["a", "b"]


def test_roots_do_not_even_connect_to_who_can_not_seal_his_datagrams(
    make_lab: MakeLab, start_as: StartAs, network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the test before; but a stranger knows no secret. He also says again what he heard from one who is gone."""
    h1, h2, h3 = make_lab(3).hosts
    members = make_members(tmp_path, network, ["h1", "h2"])
    monkeypatch.setattr(authority, "common_name", lambda _: "www.example.org")
    strange = add_member(tmp_path, members["h1"], "h3")
    about = strange.folder / "membership.json"
    about.write_text(about.read_text().replace(strange.about.secret, "00" * 32))
    group, port = scouting_address(strange.realm).split(":")
    c = start_as(h3, "c", "h3")
    c.exec("labc.blocking.portal.node()")
    c.exec(EAR.format(group=group, port=port, own=h3.address))
    a, b = start_as(h1, "a", "h1"), start_as(h2, "b", "h2")
    meet([a, b])
    c.eval(f"until(lambda: {h1.address!r} in heard)")
    names_on_links = f"[link.auth_identifier for link in {ROUTER}.info.links()]"
    for root in (a, b):
        assert "www.example.org" not in root.eval(names_on_links)
    a.close()
    b.close()
    b = start_as(h2, "b", "h2")
    b.exec("labc.blocking.portal.node()")
    # For longer than a root takes to try one who asks, and does not answer.
    place = (h2.address, root_ports(strange.realm)[0])
    c.exec(f"repeat(heard[{h1.address!r}], {place!r}, 40)")
    assert "www.example.org" not in b.eval(names_on_links)
    assert h3.address not in b.eval(f"[heard.address for heard in {FABRIC}._seat.heard()]")
    assert b.eval("names()") == ["b"]


def test_a_plain_program_that_looks_for_a_router_hears_nothing(
    make_lab: MakeLab, start_as: StartAs, network: str, tmp_path: Path
) -> None:
    h1, h2 = make_lab(2).hosts
    members = make_members(tmp_path, network, ["h1"])
    keyed, open_ = start_as(h1, "keyed", "h1"), start_as(h1, "open", "nobody")
    asker = start_as(h2, "asker", "nobody")
    keyed.exec("labc.blocking.portal.node()")
    open_.exec("labc.blocking.portal.node()")
    tap = keyed.eval(f"{FABRIC}._seat._carrier.scouting_address")
    asker.exec(SCOUT)
    open_answers = asker.eval(f"answers_to_scouts([{scouting_address(network)!r}])")
    assert h1.address in open_answers, "so that this test can fail"
    wanted = [scouting_address(members["h1"].realm), tap]
    assert asker.eval(f"answers_to_scouts({wanted!r})") == []


def test_connections_that_lead_nowhere_any_more(
    make_lab: MakeLab, start_as: StartAs, network: str, tmp_path: Path
) -> None:
    """The system is asked about an encrypted lane as about any other."""
    h1, h2 = make_lab(2).hosts
    members = make_members(tmp_path, network, ["h1", "h2"])
    a, b = start_as(h1, "a", "h1"), start_as(h2, "b", "h2")
    meet([a, b])
    a.exec("labc.register(lambda: 'a', name='who')")
    b.exec("""
def try_call():
    try:
        return labc.at(timeout=20).call('who')
    except (labc.NotFoundError, labc.PeerLostError, labc.CallTimeoutError):
        return None
""")
    assert b.eval("[try_call() for _ in range(3)]") == ["a"] * 3
    assert kinds_of_lanes(b) == ["tls"]
    ports = "{ " + ", ".join(map(str, root_ports(members["h1"].realm))) + " }"
    for host in (h1, h2):
        host.add_rule("input", f"iifname != lo tcp sport != {ports} tcp dport != {ports} drop")
    began = time.monotonic()
    b.eval("until(lambda: try_call() == 'a', 25)", timeout=30)
    print(f"another way after {time.monotonic() - began:.2f} s")
    assert kinds_of_lanes(b) == ["relay"]


def test_a_stranger_at_the_door_is_in_nobodys_way(
    make_lab: MakeLab, start_as: StartAs, network: str, tmp_path: Path
) -> None:
    """More connections that say nothing than a node keeps in their handshake."""
    h1, h2, h3 = make_lab(3).hosts
    make_members(tmp_path, network, ["h1", "h2"])
    a, b = start_as(h1, "a", "h1"), start_as(h2, "b", "h2")
    meet([a, b])
    a.exec("labc.register(lambda x: x, name='echo')")
    port = a.eval("labc.blocking.portal.node().rooms()._pool.listener.port")
    c = start_as(h3, "c", "nobody")
    c.exec(f"import socket; crowd = [socket.create_connection(({h1.address!r}, {port}), 5) for _ in range(300)]")
    assert b.eval("labc.call('echo', 'hi')") == "hi"
    assert kinds_of_lanes(b) == ["tls"]
    # Those that were put out, and in the end all of them, are closed.
    c.exec("[s.settimeout(10) for s in crowd]")
    assert c.eval("sum(s.recv(1) == b'' for s in crowd)") == 300


def _pretend(stranger: Credentials, member: Credentials) -> None:
    """The ports and ids of the other network, with certificates of his own authority."""
    about = stranger.folder / "membership.json"
    text = about.read_text()
    assert stranger.about.fingerprint in text
    about.write_text(text.replace(stranger.about.fingerprint, member.about.fingerprint))


def test_a_revoked_host_is_out(make_lab: MakeLab, start_as: StartAs, network: str, tmp_path: Path) -> None:
    lab = make_lab(3)
    members = make_members(tmp_path, network, ["h1", "h2", "h3"])
    agents = [start_as(host, f"node{host.name}", host.name) for host in lab.hosts]
    a, b, c = agents
    meet(agents)
    b.exec("labc.register(lambda x: x, name='echo'); labc.subscribe(receive, topic='ticks')")
    a.exec("labc.subscribe(receive, topic='ticks')")
    c.exec("labc.subscribe(receive, topic='news')")
    assert [agent.eval("labc.call('echo', 1)") for agent in (a, c)] == [1, 1]
    began = time.monotonic()
    revoke(members["h1"], [members["h3"].about.seat], datetime.now(UTC))
    for agent in (a, b):
        agent.eval("until(lambda: names() == ['nodeh1', 'nodeh2'])")
    took = time.monotonic() - began
    print(f"out after {took:.2f} s")
    assert took < OUT_WITHIN
    with pytest.raises(RemoteFailure, match=r"NotFoundError|PeerLostError|FabricError"):
        c.eval("labc.call('echo', 1)")
    assert "membership of the network" in c.program.errors
    c.exec("labc.publish('ticks', 'revoked')")
    a.exec("labc.publish('news', 'for members')")
    assert a.eval("labc.call('echo', 2)") == 2
    a.exec("labc.publish('ticks', 'member')")
    b.eval("until(lambda: [value for value, _ in received] == ['member'])")
    assert c.eval("received") == []
    # Nor does it come back with a program that starts anew.
    again = start_as(lab.hosts[2], "again", "h3")
    with pytest.raises(RemoteFailure, match=r"MembershipError.*revoked"):
        again.eval("names()")
    # And a new invitation would let it in: another seat is good.
    assert members["h1"].read_trust().seats >= {0, 1, 3}


def test_a_host_that_was_away_hears_of_it(make_lab: MakeLab, start_as: StartAs, network: str, tmp_path: Path) -> None:
    lab = make_lab(3)
    h1, h2, _ = lab.hosts
    members = make_members(tmp_path, network, ["h1", "h2", "h3"])
    a, b = start_as(h1, "a", "h1"), start_as(h2, "b", "h2")
    meet([a, b])
    lab.cut(h2)
    a.eval("until(lambda: names() == ['a'])")
    revoke(members["h1"], [members["h3"].about.seat], datetime.now(UTC))
    lab.mend(h2)
    meet([a, b])
    number = members["h1"].read_trust().number
    deadline = time.monotonic() + 15.0
    while members["h2"].read_trust().number < number:
        assert time.monotonic() < deadline, "h2 did not hear of it"
        time.sleep(0.05)
    meet([a, b])


def test_open_and_keyed_networks_of_one_name_live_side_by_side(
    make_lab: MakeLab, start_as: StartAs, network: str, tmp_path: Path
) -> None:
    lab = make_lab(2)
    members = make_members(tmp_path, network, ["h1", "h2"])
    assert not set(root_ports(network)) & set(root_ports(members["h1"].realm))
    keyed = [start_as(host, f"keyed{host.name}", host.name) for host in lab.hosts]
    open_ = [start_as(host, f"open{host.name}", "nobody") for host in lab.hosts]
    meet(keyed)
    meet(open_)
    for agents in (keyed, open_):
        agents[0].exec(f"labc.register(lambda: {agents[0].name!r}, name='who')")
    for agents in (keyed, open_):
        assert agents[1].eval("[outcome.value for outcome in labc.call_all('who')]") == [agents[0].name]
