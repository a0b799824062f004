"""Part ``presence``: how fast nodes on three virtual hosts find, call and lose each other; and plain Zenoh."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterator

import psutil

from benchmarks.nodes import Agent, labc_network, together
from benchmarks.report import Table, figure
from benchmarks.run import FAILURES, Run
from labc.testing import free_network_name

_ROUTER = 7447


def measure(run: Run) -> None:
    table = Table("presence", "three virtual hosts", ("", "runs", "min", "median", "max", ""), texts=1)
    slowest: dict[str, float] = {}
    for title, unit, scale, count, measured in MEASUREMENTS:
        run.say(title)
        values: list[float] = []
        try:
            values = sorted(value * scale for value in measured(run, min(count, 2) if run.quick else count))
        except (*FAILURES, RuntimeError) as error:
            run.fail(title, error)
        if values:
            slowest[title] = values[-1]
            cells = [figure(value) for value in (values[0], statistics.median(values), values[-1])]
            table.rows.append((title, str(len(values)), *cells, unit))
        else:
            table.rows.append((title, "0", "", run.errors.get(title, "no value"), "", unit))
    table.notes.append(
        "Plain Zenoh has no root to lose: when a router dies, its clients wait for it to come back. "
        "A router of its own runs on each host there, as labc's roots do."
    )
    run.report.add(table)
    for title, unit, *_ in MEASUREMENTS:
        if title in GOALS:
            text = f"{title}: the slowest within {GOALS[title]:g} {unit}"
            run.report.at_most("presence", text, slowest.get(title), GOALS[title], f" {unit}")


def registering(run: Run, count: int) -> Iterator[float]:
    """From ``register`` on one host until the answer of a call that waits for it on another."""
    with run.lab(2) as lab:
        provider, caller = labc_network(lab, free_network_name(), [("provider", 0), ("caller", 1)])
        for number in range(count + 1):
            caller.exec(f"start_call('f{number}', find_timeout=10)")
            time.sleep(0.05)  # the caller is looking
            began = provider.eval(f"(time.time(), labc.register(lambda: 1, name='f{number}'))[0]")
            ended = caller.eval("call_result()")["ended"]
            if number:
                yield ended - began


def losing(harm: Callable[[Agent], None], run: Run, count: int) -> Iterator[float]:
    """From the provider's end until callers of a running call on all three hosts are told."""
    for _ in range(count):
        with run.lab(3) as lab:
            places = [("first", 0), ("provider", 0), ("caller0", 0), ("caller1", 1), ("caller2", 2)]
            _, provider, *callers = labc_network(lab, free_network_name(), places)
            provider.exec("labc.register(long_function, name='long')")
            together(callers, "start_call('long')", wanted=False)
            provider.eval(f"until(lambda: len(started) == {len(callers)})")
            began = time.time()
            harm(provider)
            yield max(_failed(caller) for caller in callers) - began


def new_call_after_loss(run: Run, count: int) -> Iterator[float]:
    """A call to a name whose only provider was killed 0.1 s ago, until it fails."""
    for _ in range(count):
        with run.lab(2) as lab:
            provider, caller = labc_network(lab, free_network_name(), [("provider", 0), ("caller", 1)])
            provider.exec("labc.register(lambda: 1, name='f')")
            caller.eval("labc.call('f')")
            provider.program.kill()
            caller.exec("time.sleep(0.1); start_call('f')")
            outcome = caller.eval("call_result()")
            yield outcome["ended"] - outcome["began"]


def root_gap(stop: bool, run: Run, count: int) -> Iterator[float]:
    """The longest gap in a topic with 200 messages a second, at any of four subscribers on two hosts, when the root of
    the publisher's host is killed or stopped. Three nodes on each of three hosts."""
    for _ in range(count):
        with run.lab(3) as lab:
            places = [(f"h{host}-{number}", host) for host, number in itertools.product(range(3), range(3))]
            root, publisher, neighbour, *far = labc_network(lab, free_network_name(), places)[:6]
            subscribers = [neighbour, *far]
            together(subscribers, "labc.subscribe(receive, topic='ticks')", wanted=False)
            publisher.exec("publish_numbers('ticks', 0.005)")
            together(subscribers, "until(lambda: len(received) > 100)")
            harmed = time.time()
            root.program.stop() if stop else root.program.kill()
            together(subscribers, f"until(lambda: received[-1] > {harmed} + {7 if stop else 1.5})")
            publisher.exec("stop.set()")
            yield max(
                later - earlier for node in subscribers for earlier, later in itertools.pairwise(node.eval("received"))
            )


def memory(root: bool, run: Run, count: int) -> Iterator[float]:
    """Resident memory of a node with one function, 1 s after it joined."""
    for _ in range(count):
        with run.lab(1) as lab:
            network = free_network_name()
            nodes = [Agent(lab, name, 0, network) for name in ("first", "second")]
            for node in nodes:
                node.exec("import labc; labc.register(lambda: 1, name='one'); labc.publish('bench/other', 0)")
            time.sleep(1)
            yield psutil.Process(nodes[0 if root else 1].program.pid).memory_info().rss


def zenoh_seen(run: Run, count: int) -> Iterator[float]:
    """From declaring a token on one host until a subscriber on another sees it."""
    with run.lab(3) as lab:
        provider, *watchers = _zenoh_clients([Agent(lab, f"z{n}", n // 2) for n in range(6)], lab.hosts)
        for number in range(count + 1):
            began = provider.eval(f"zenoh_token('bench/{number}')")
            together(watchers, f"until(lambda: 'bench/{number}' in seen)")
            if number:
                yield watchers[-1].eval(f"seen['bench/{number}']") - began


def zenoh_lost(harm: Callable[[Agent], None], run: Run, count: int) -> Iterator[float]:
    """From a client's end until subscribers on all three hosts see its token vanish."""
    for _ in range(count):
        with run.lab(3) as lab:
            agents = [Agent(lab, f"z{n}", n // 2) for n in range(6)]
            extra = Agent(lab, "watcher", 0)
            provider, *watchers = _zenoh_clients([*agents, extra], lab.hosts)
            provider.exec("zenoh_token('bench/one')")
            together(watchers, "until(lambda: 'bench/one' in seen)")
            began = time.time()
            harm(provider)
            together(watchers, "until(lambda: 'bench/one' in gone)", 30)
            yield max(watcher.eval("gone['bench/one']") for watcher in watchers) - began


def _zenoh_clients(agents: list[Agent], hosts: object) -> list[Agent]:
    """The first agent of each host becomes a router, the others clients of it that watch; these are returned."""
    routers, clients = {}, []
    for agent in agents:
        if agent.host not in routers:
            routers[agent.host] = agent
            agent.exec(f"zenoh_open('router', '0.0.0.0:{_ROUTER}', listen=True, multicast=True)")
        else:
            clients.append(agent)
            agent.exec(f"zenoh_open('client', '127.0.0.1:{_ROUTER}', listen=False)")
    for client in clients:
        client.exec("zenoh_watch('bench/**')")
    for client in clients:
        client.exec(f"zenoh_token('bench/here/{client.name}')")
    together(clients, f"until(lambda: len(seen) >= {len(clients)})")
    return clients


def _failed(caller: Agent) -> float:
    outcome = caller.eval("call_result()")
    if outcome.get("error") != "PeerLostError":
        raise OSError(f"expected PeerLostError, got {outcome}")
    ended = outcome["ended"]
    assert isinstance(ended, float)
    return ended


def _kill(agent: Agent) -> None:
    agent.program.kill()


def _stop(agent: Agent) -> None:
    agent.program.stop()


Measurement = Callable[[Run, int], Iterator[float]]
MEASUREMENTS: list[tuple[str, str, float, int, Measurement]] = [
    ("registered on one host, called from another", "ms", 1e3, 50, registering),
    ("Zenoh: token declared on one host, seen on another", "ms", 1e3, 50, zenoh_seen),
    ("provider killed (-9): running calls on 3 hosts fail", "ms", 1e3, 10, lambda r, n: losing(_kill, r, n)),
    ("Zenoh: client killed (-9), known on 3 hosts", "ms", 1e3, 10, lambda r, n: zenoh_lost(_kill, r, n)),
    ("provider killed (-9) 0.1 s ago: a new call fails", "ms", 1e3, 10, new_call_after_loss),
    ("provider stopped (SIGSTOP): running calls fail", "s", 1, 5, lambda r, n: losing(_stop, r, n)),
    ("Zenoh: client stopped (SIGSTOP), known on 3 hosts", "s", 1, 3, lambda r, n: zenoh_lost(_stop, r, n)),
    ("root killed (-9): longest gap of a topic", "ms", 1e3, 8, lambda r, n: root_gap(False, r, n)),
    ("root stopped (SIGSTOP): longest gap of a topic", "s", 1, 3, lambda r, n: root_gap(True, r, n)),
    ("memory of an idle node", "MB", 1e-6, 3, lambda r, n: memory(False, r, n)),
    ("memory of an idle node that is the root", "MB", 1e-6, 3, lambda r, n: memory(True, r, n)),
]

GOALS = {
    "registered on one host, called from another": 100.0,
    "provider killed (-9): running calls on 3 hosts fail": 200.0,
    "provider killed (-9) 0.1 s ago: a new call fails": 500.0,
    "provider stopped (SIGSTOP): running calls fail": 3.0,
    "root killed (-9): longest gap of a topic": 500.0,
    "root stopped (SIGSTOP): longest gap of a topic": 5.0,
}
"""In the unit of the measurement."""
