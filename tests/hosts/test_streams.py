"""Streams from host to host, through a relay, and with a key."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

from agent import Agent, Start, meet, start_all
from keyed import as_member, make_members

from labc.fabric import root_ports
from labc.testing import VirtualHosts

MakeLab = Callable[[int], VirtualHosts]

FUNCTIONS = """
import numpy
closed = []
given = []

def count(n, size=0):
    try:
        for number in range(n):
            given.append(number)
            yield numpy.full(size, number % 256, numpy.uint8) if size else number
    finally:
        closed.append(time.time())

labc.register(count)
labc.register(lambda values: sum(values), name="total")
"""
READ = """
got = []
ended = []

def read(*args, **kwargs):
    def run():
        try:
            for value in labc.stream(*args, **kwargs):
                got.append(value)
            ended.append("end")
        except Exception as error:
            ended.append(type(error).__name__)
        ended.append(time.time())
    threading.Thread(target=run, daemon=True).start()
"""


def test_streams_across_hosts(make_lab: MakeLab, start: Start) -> None:
    a, b = start_all(start, make_lab(2).hosts)
    a.exec(FUNCTIONS)
    assert b.eval("list(labc.stream('count', 5000)) == list(range(5000))") is True
    assert b.eval("labc.call('total', labc.outgoing(range(5000)))") == sum(range(5000))
    big = "[(int(x[0]), len(x)) for x in labc.stream('count', 50, size=1_000_000)]"
    assert b.eval(big) == [[number, 1_000_000] for number in range(50)]


def test_a_cable_that_is_cut_ends_both_sides(make_lab: MakeLab, start: Start) -> None:
    h1, h2 = make_lab(2).hosts
    a, b = start_all(start, [h1, h2])
    a.exec(FUNCTIONS)
    b.exec(READ)
    b.exec("read('count', 10**9)")
    b.eval("until(lambda: len(got) > 5000)")
    cut = time.time()
    h2.cut()
    b.eval("until(lambda: len(ended) == 2)")
    assert b.eval("ended[0]") == "PeerLostError"
    assert b.eval("got == list(range(len(got)))") is True
    assert b.eval("ended[1]") - cut < 4.0
    a.eval("until(lambda: closed)")
    assert a.eval("closed[0]") - cut < 4.0


def test_a_slow_reader_on_another_host_holds_the_generator_back(make_lab: MakeLab, start: Start) -> None:
    a, b = start_all(start, make_lab(2).hosts)
    a.exec(FUNCTIONS)
    b.exec("values = labc.stream('count', 10**9, size=1_000_000)")
    assert b.eval("len(next(values))") == 1_000_000
    a.eval("until(lambda: len(given) >= 8)")
    time.sleep(0.5)  # nothing may come that is not there
    assert a.eval("len(given)") <= 12
    b.exec("values.close()")
    a.eval("until(lambda: closed)")


def test_through_the_roots_where_there_is_no_direct_way(make_lab: MakeLab, start: Start, network: str) -> None:
    h1, h2 = make_lab(2).hosts
    for host in (h1, h2):
        host.block_tcp(all_but=root_ports(network))
    a, b = start_all(start, [h1, h2])
    a.exec(FUNCTIONS)
    assert b.eval("list(labc.stream('count', 5000)) == list(range(5000))") is True
    assert b.eval("[lane.kind for lane in labc.blocking.portal.node().rooms()._pool.lanes()]") == ["relay"]
    assert b.eval("labc.call('total', labc.outgoing(range(5000)))") == sum(range(5000))


def test_with_a_key(make_lab: MakeLab, network: str, tmp_path: Path) -> None:
    h1, h2 = make_lab(2).hosts
    make_members(tmp_path, network, ["h1", "h2"])
    with contextlib.ExitStack() as agents:
        a, b = (
            agents.enter_context(Agent(host.program, host.name, LABC_NETWORK=network, **as_member(tmp_path, host.name)))
            for host in (h1, h2)
        )
        meet([a, b])
        a.exec(FUNCTIONS)
        assert b.eval("list(labc.stream('count', 5000)) == list(range(5000))", timeout=30) is True
        assert b.eval("[lane.kind for lane in labc.blocking.portal.node().rooms()._pool.lanes()]") == ["tls"]
        assert b.eval("labc.call('total', labc.outgoing(range(5000)))") == sum(range(5000))
        b.exec("for value in labc.stream('count', 10**9):\n    if value: break\ndel value")
        a.eval("until(lambda: len(closed) == 2)")
