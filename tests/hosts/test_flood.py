"""A stranger floods a member of a keyed network: he gets nothing, and the members hardly notice him."""

from __future__ import annotations

import contextlib
import re
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from agent import Agent, meet
from keyed import as_member, make_members

from labc.fabric.ports import root_ports, scouting_address
from labc.testing import VirtualHost, VirtualHosts

MakeLab = Callable[[int], VirtualHosts]
StartAs = Callable[[VirtualHost, str, str], Agent]

RATE = 1000
"""Connections a second, of all kinds and to both ports together; and as many datagrams."""
SECONDS = 14.0
BEGINS = 2.0
"""After so long it says that it floods: by then all is full that can be."""
SLOWER_AT_MOST = 3.0

MAX_GROWTH_BYTES = 100 << 20
"""Of the flooded process. What it may keep for strangers: 32 handshakes of TLS of one address at the door of its lanes,
some 50 kB each (buffers of Python and OpenSSL), and in the engine what has come to the root's port: 5000 connections in
this time, 10 kB each, as none of them gets further than TLS. That is 52 MB, and as much again for what the allocator
does not give back at once."""
MAX_FILES = 300
"""Open files more than before, behind the rule: 32 at the door, 10 s (the engine's patience) of the two a second and of
the first ten that the rule lets pass; and the links and lanes of members."""

FLOOD = """
# Connects as often as it is told, does what each kind does, and closes the oldest when it holds 1500 connections.
import collections, errno, itertools, os, random, select, socket, sys, time
address, ports, udp_ports, rate, seconds, begins = sys.argv[1], *map(eval, sys.argv[2:7])
hello = bytes.fromhex("1603010200010001fc0303") + os.urandom(100)  # a ClientHello of 512 bytes that ends early
kinds = itertools.cycle([b"", hello, os.urandom(300), b"labc" * 100, None])
targets = itertools.cycle(ports)
held = collections.deque()
started, made, failed, datagrams = time.monotonic(), 0, 0, 0
mouth = socket.socket(type=socket.SOCK_DGRAM)
begun = collections.deque()  # connections that are not made yet, and what to say on them
def settle(until):
    global made, failed
    while begun and (begun[0][2] < until):
        connection, said, _ = begun.popleft()
        if (error := connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)):
            failed += 1
            connection.close()
            continue
        try:
            if said is None:
                connection.close()  # and gone again
            else:
                connection.send(said)
        except BlockingIOError:
            pass
        except OSError:
            failed += 1
            connection.close()
            continue
        made += 1
        held.append(connection)
        while len(held) > 1500:
            held.popleft().close()
told = False
while (passed := time.monotonic() - started) < seconds:
    while made + failed + len(begun) < rate * passed:
        connection = socket.socket()
        connection.setblocking(False)
        error = connection.connect_ex((address, next(targets)))
        if error not in (0, errno.EINPROGRESS):
            failed += 1
            connection.close()
            continue
        begun.append((connection, next(kinds), time.monotonic()))
    while datagrams < rate * passed:
        mouth.sendto(os.urandom(random.randrange(1, 600)), (address, random.choice(udp_ports)))
        datagrams += 1
    settle(time.monotonic() - 0.05)
    if passed > begins and not told:
        told = True
        print("floods", flush=True)
    time.sleep(0.001)
for connection in held:
    connection.close()
print("ended", made, failed, datagrams, flush=True)
"""

MEASURE = """
def medians(seconds):
    # Of calls to each of them, in turn.
    took = {name: [] for name in ("a", "d")}
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for name, times in took.items():
            began = time.perf_counter()
            assert labc.call("echo." + name, 5) == 5
            times.append(time.perf_counter() - began)
        time.sleep(0.005)
    return {name: sorted(times) for name, times in took.items()}
"""

SHAKE_HANDS = """
import socket, ssl
from labc.lanes.tls import Tls
from labc.security import credentials_of

def shake_hands(address, port, timeout):
    # As a member, at the port of a root: the seconds that it takes.
    began = time.monotonic()
    try:
        with socket.create_connection((address, port), timeout) as connection:
            Tls(credentials_of(os.environ["LABC_NETWORK"])).client().wrap_socket(connection).close()
    except TimeoutError:
        return None
    return time.monotonic() - began
"""

RULE = (
    "tcp dport {port} tcp flags & (syn | ack) == syn "
    "meter labc {{ ip saddr limit rate over 2/second burst 10 packets }} drop"
)
"""That of docs/security.md, with its one port."""

ROUTER = "labc.blocking.portal.node().rooms().fabric._seat._router"
ROOMS = "labc.blocking.portal.node().rooms()"


@pytest.fixture
def start_as(network: str, tmp_path: Path) -> Iterator[StartAs]:
    with contextlib.ExitStack() as agents:

        def start(host: VirtualHost, name: str, member: str) -> Agent:
            patience = {"LABC_RELAY_AFTER": "6", "LABC_CONNECT_TIMEOUT": "8"}
            environment = {"LABC_NETWORK": network, **patience, **as_member(tmp_path, member)}
            return agents.enter_context(Agent(host.program, name, **environment))

        yield start


class Memory:
    """The most that a process had, of what nobody shares with it; looked at all the time."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self.before = self.peak = self.now()
        self.files_before = self.files = self._process.num_fds()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def now(self) -> int:
        return int(self._process.memory_info().rss)

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            self.peak = max(self.peak, self.now())
            self.files = max(self.files, self._process.num_fds())

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


@pytest.mark.alone
@pytest.mark.timeout(120)
@pytest.mark.parametrize("firewall", [False, True], ids=["bare", "behind a rule"])
def test_a_flood(make_lab: MakeLab, start_as: StartAs, network: str, tmp_path: Path, firewall: bool) -> None:
    h1, h2, h3, h4, h5 = make_lab(5).hosts
    members = make_members(tmp_path, network, ["h1", "h2", "h4", "h5"])
    a, b, d = start_as(h1, "a", "h1"), start_as(h2, "b", "h2"), start_as(h4, "d", "h4")
    meet([a, b, d])
    for agent in (a, d):
        agent.exec(f"labc.register(lambda x: x, name='echo.{agent.name}'); labc.subscribe(receive, topic='ticks')")
    b.exec(MEASURE)
    b.eval("medians(1.0)", timeout=30)
    before = b.eval("medians(3.0)", timeout=30)
    links_now = f"[link.dst for link in {ROUTER}.info.links()]"
    links = a.eval(links_now)

    realm = members["h1"].realm
    root_port = a.eval(f"{ROOMS}.fabric.root_port")
    if firewall:
        h1.add_rule("input", RULE.format(port=root_port))
    ports = [root_port, a.eval(f"{ROOMS}._pool.listener.port")]
    udp_ports = [*root_ports(realm), int(scouting_address(realm).rpartition(":")[2])]
    arguments = h1.address, repr(ports), repr(udp_ports), repr(RATE), repr(SECONDS), repr(BEGINS)
    with Memory(a.pid) as memory, h3.program(FLOOD, *arguments, name="flood") as flood:
        flood.expect("floods")
        began = time.monotonic()
        b.send(f"medians({SECONDS - BEGINS - 1.0})")
        e = start_as(h5, "e", "h5")  # who comes just now
        e.exec("labc.blocking.portal.node()", timeout=30)
        e.eval("until(lambda: labc.at(find_timeout=20).call('echo.a', 1) == 1)", timeout=30)
        joined = time.monotonic() - began
        e.eval(f"until(lambda: any({h1.address!r} in link.dst for link in {ROUTER}.info.links()))")
        linked = time.monotonic() - began
        e.exec(SHAKE_HANDS)
        shaken = e.eval(f"shake_hands({h1.address!r}, {root_port}, 5.0)", timeout=30)
        began_there = time.monotonic()
        neighbour = start_as(h1, "neighbour", "h1")  # who has to go by the flooded port, or by another root
        neighbour.exec("labc.blocking.portal.node()", timeout=60)
        neighbour.eval("until(lambda: labc.at(find_timeout=20).call('echo.d', 1) == 1)", timeout=30)
        nearby = time.monotonic() - began_there
        during = b.answer(timeout=60)
        numbers = flood.expect(re.compile(r"^ended (\d+) (\d+) (\d+)$"), timeout=60)
    assert joined < SECONDS - BEGINS, "a new member had to wait for the end of the flood"
    made, failed, datagrams = map(int, numbers.groups())
    print(f"\n{made} connections, {failed} refused, {datagrams} datagrams in {SECONDS:.0f} s")
    print(f"a new member calls after {joined:.1f} s, its root is linked after {linked:.1f} s")
    for name in ("a", "d"):
        old, new = (statistics.median(times[name]) * 1e6 for times in (before, during))
        late = during[name][int(0.99 * len(during[name]))] * 1e3
        print(f"calls to {name}: {old:.0f} us before, {new:.0f} us meanwhile, 1 of 100 more than {late:.1f} ms")
    print(f"a new program on the flooded computer calls after {nearby:.1f} s")
    print(f"a member's handshake at the flooded root: {'not within 5 s' if shaken is None else f'{shaken:.2f} s'}")
    print(f"open files: {memory.files_before} before, {memory.files} at most")
    print(f"memory: {memory.before >> 20} MiB before, {memory.peak >> 20} MiB at most, {memory.now() >> 20} MiB after")

    assert made + failed >= 0.9 * RATE * SECONDS, "this was no flood"
    for name in ("a", "d"):
        assert statistics.median(during[name]) <= SLOWER_AT_MOST * statistics.median(before[name])
    if firewall:  # without it the engine takes no new links meanwhile, and has a file open for each connection
        assert shaken is not None
        assert memory.files - memory.files_before < MAX_FILES
    assert memory.peak - memory.before <= MAX_GROWTH_BYTES
    # He has not got in, and nobody has been put out.
    assert a.eval("names()") == ["a", "b", "d", "e", "neighbour"]
    assert set(links) <= set(a.eval(links_now))
    assert not [link for link in a.eval(links_now) if h3.address in link]
    lanes = a.eval(f"[str(lane.who) for lane in {ROOMS}._pool.lanes()]")
    assert not [who for who in lanes if h3.address in who]
    assert a.eval(f"{ROOMS}._pool.listener.refused") > 100
    b.exec("labc.publish('ticks', 'after')")
    for agent in (a, d):
        agent.eval("until(lambda: [value for value, _ in received] == ['after'])")
    # What was held for strangers is let go.
    a.eval(f"until(lambda: len({ROOMS}._pool.listener._doors[0]._crowd) == 0)")
    assert a.program.errors.count(f"a connection from {h3.address} was refused") == 1
