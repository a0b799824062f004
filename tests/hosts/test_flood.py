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
SECONDS = 8.0
SLOWER_AT_MOST = 3.0

MAX_GROWTH_BYTES = 150 << 20
"""Of the flooded process. What it may keep for strangers: 256 handshakes of TLS at each of two doors of lanes, about
50 kB each (Python's buffers and OpenSSL's), and 1000 links that wait in the engine, 64 KiB each: 90 MB; the rest is what
the system's allocator does not give back at once."""

FLOOD = """
# Connects as often as it is told, does what each kind does, and closes the oldest when it holds 1500 connections.
import collections, errno, itertools, os, random, select, socket, sys, time
address, ports, udp_ports, rate, seconds = sys.argv[1], *map(eval, sys.argv[2:6])
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
        made += 1
        held.append(connection)
        while len(held) > 1500:
            held.popleft().close()
print("floods", flush=True)
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

ROOMS = "labc.blocking.portal.node().rooms()"


@pytest.fixture
def start_as(network: str, tmp_path: Path) -> Iterator[StartAs]:
    with contextlib.ExitStack() as agents:

        def start(host: VirtualHost, name: str, member: str) -> Agent:
            environment = {"LABC_NETWORK": network, **as_member(tmp_path, member)}
            return agents.enter_context(Agent(host.program, name, **environment))

        yield start


class Memory:
    """The most that a process had, of what nobody shares with it; looked at all the time."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self.before = self.peak = self.now()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def now(self) -> int:
        return int(self._process.memory_info().rss)

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            self.peak = max(self.peak, self.now())

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


@pytest.mark.alone
@pytest.mark.timeout(120)
def test_a_flood(make_lab: MakeLab, start_as: StartAs, network: str, tmp_path: Path) -> None:
    h1, h2, h3, h4, h5 = make_lab(5).hosts
    members = make_members(tmp_path, network, ["h1", "h2", "h4", "h5"])
    a, b, d = start_as(h1, "a", "h1"), start_as(h2, "b", "h2"), start_as(h4, "d", "h4")
    meet([a, b, d])
    for agent in (a, d):
        agent.exec(f"labc.register(lambda x: x, name='echo.{agent.name}'); labc.subscribe(receive, topic='ticks')")
    b.exec(MEASURE)
    b.eval("medians(1.0)", timeout=30)
    before = b.eval("medians(3.0)", timeout=30)
    links = sorted(a.eval(f"[link.dst for link in {ROOMS}.fabric._seat._router.info.links()]"))

    realm = members["h1"].realm
    ports = [root_ports(realm)[0], a.eval(f"{ROOMS}._pool.listener.port")]
    udp_ports = [*root_ports(realm), int(scouting_address(realm).rpartition(":")[2])]
    arguments = h1.address, repr(ports), repr(udp_ports), repr(RATE), repr(SECONDS)
    with Memory(a.pid) as memory, h3.program(FLOOD, *arguments, name="flood") as flood:
        flood.expect("floods")
        began = time.monotonic()
        b.send(f"medians({SECONDS - 1.0})")
        e = start_as(h5, "e", "h5")  # who comes just now
        e.exec("labc.blocking.portal.node()", timeout=30)
        e.eval("until(lambda: labc.at(find_timeout=20).call('echo.a', 1) == 1)", timeout=30)
        joined = time.monotonic() - began
        during = b.answer(timeout=60)
        numbers = flood.expect(re.compile(r"^ended (\d+) (\d+) (\d+)$"), timeout=60)
    made, failed, datagrams = map(int, numbers.groups())
    took = time.monotonic() - began
    print(f"\n{made} connections, {failed} refused, {datagrams} datagrams in {took:.1f} s; a new member after {joined:.1f} s")
    for name in ("a", "d"):
        old, new = statistics.median(before[name]), statistics.median(during[name])
        worst = during[name][int(0.99 * len(during[name]))]
        print(f"calls to {name}: {old * 1e6:.0f} us before, {new * 1e6:.0f} us meanwhile; 99 % within {worst * 1e3:.1f} ms")
    print(f"memory: {memory.before >> 20} MiB before, {memory.peak >> 20} MiB at most, {memory.now() >> 20} MiB after")

    assert made + failed >= 0.9 * RATE * SECONDS, "this was no flood"
    for name in ("a", "d"):
        assert statistics.median(during[name]) <= SLOWER_AT_MOST * statistics.median(before[name])
    assert memory.peak - memory.before <= MAX_GROWTH_BYTES
    # He has not got in, and nobody has been put out.
    assert a.eval("names()") == ["a", "b", "d", "e"]
    assert set(links) <= set(a.eval(f"[link.dst for link in {ROOMS}.fabric._seat._router.info.links()]"))
    assert h3.address not in a.eval(f"[link.dst for link in {ROOMS}.fabric._seat._router.info.links()]").__repr__()
    lanes = a.eval(f"[str(lane.who) for lane in {ROOMS}._pool.lanes()]")
    assert not [who for who in lanes if h3.address in who]
    assert a.eval(f"{ROOMS}._pool.listener.refused") > 100
    b.exec("labc.publish('ticks', 'after')")
    for agent in (a, d):
        agent.eval("until(lambda: [value for value, _ in received] == ['after'])")
    # What was held for strangers is let go.
    a.eval(f"until(lambda: len({ROOMS}._pool.listener._doors[0]._crowd) == 0)")
    assert a.program.errors.count(f"a connection from {h3.address} was refused") == 1
