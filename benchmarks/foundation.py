"""How fast nodes find, call and lose each other, on three virtual hosts of this machine (Linux, root).

``make bench`` runs it and writes its table to benchmarks/RESULTS.md. Every figure is of real processes; the first of
each kind is not counted.
"""

from __future__ import annotations

import contextlib
import itertools
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from agent import Agent, meet

from labc.testing import VirtualHosts, can_make_hosts, free_network_name, python_program

RESULTS = Path(__file__).parent / "RESULTS.md"
LABC = Path(sys.executable).parent / "labc"
RUNNING = "labc.blocking.portal.node().rooms()._provider.running"


def main() -> None:
    if problem := can_make_hosts():
        sys.exit(problem)
    rows = []
    for title, unit, scale, measure in MEASUREMENTS:
        print(f"{title} ...", file=sys.stderr, flush=True)
        values = sorted(value * scale for value in measure())
        rows.append((title, len(values), values[0], statistics.median(values), values[-1], unit))
    table = format_table(rows)
    RESULTS.write_text(table)
    print(table)


def format_table(rows: list[tuple[str, int, float, float, float, str]]) -> str:
    machine = f"{psutil.cpu_count()} x {platform.machine()}, {platform.system()} {platform.release()}"
    versions = f"Python {platform.python_version()}, eclipse-zenoh {version('eclipse-zenoh')}, labc {version('labc')}"
    lines = [
        "# Benchmark results",
        "",
        f"`make bench`, {datetime.now(UTC):%Y-%m-%d}; {machine}; {versions}.",
        "Three virtual hosts of one machine: these figures show what the design costs, not what a network adds.",
        "",
        "| what | runs | min | median | max | |",
        "|---|--:|--:|--:|--:|---|",
        *(
            f"| {title} | {count} | {least:.3g} | {median:.3g} | {most:.3g} | {unit} |"
            for title, count, least, median, most, unit in rows
        ),
    ]
    return "\n".join(lines) + "\n"


@contextlib.contextmanager
def laboratory(*names: str) -> Iterator[list[Agent]]:
    """Agents of these names on a virtual host each, which have met."""
    network = free_network_name()
    with VirtualHosts(len(names)) as lab, contextlib.ExitStack() as stack:
        agents = [
            stack.enter_context(Agent(host.program, name, LABC_NETWORK=network))
            for host, name in zip(lab.hosts, names, strict=True)
        ]
        meet(agents)
        yield agents


def registering(runs: int = 50) -> Iterator[float]:
    """From ``register`` on one host until the answer of a call that waits for it on another."""
    with laboratory("provider", "caller") as (provider, caller):
        for number in range(runs + 1):
            caller.exec(f"start_call('f{number}', at=dict(find_timeout=10))")
            caller.eval(f"until(lambda: 'f{number}' in labc.blocking.portal.node().rooms()._neighbourhood._names)")
            began = provider.eval(f"(time.time(), labc.register(lambda: 1, name='f{number}'))[0]")
            ended = caller.eval("call_result()")["ended"]
            if number:
                yield ended - began


def losing(harm: Callable[[Agent], None], runs: int) -> Iterator[float]:
    """From the provider's end until the caller of a running call is told."""
    for _ in range(runs):
        with laboratory("provider", "caller") as (provider, caller):
            provider.exec("labc.register(lambda: time.sleep(60), name='long')")
            caller.exec("start_call('long')")
            provider.eval(f"until(lambda: {RUNNING} == 1)")
            began = time.time()
            harm(provider)
            outcome = caller.eval("call_result()")
            if outcome.get("error") != "PeerLostError":
                sys.exit(f"expected PeerLostError, got {outcome}")
            yield outcome["ended"] - began


def new_call_after_loss(runs: int = 10) -> Iterator[float]:
    """A call to a name whose only provider was killed 0.1 s ago, until it fails."""
    for _ in range(runs):
        with laboratory("provider", "caller") as (provider, caller):
            provider.exec("labc.register(lambda: 1, name='f')")
            caller.eval("labc.call('f')")
            provider.program.kill()
            caller.exec("time.sleep(0.1); start_call('f')")
            outcome = caller.eval("call_result()")
            yield outcome["ended"] - outcome["began"]


def root_gap(stop: bool, runs: int) -> Iterator[float]:
    """The longest gap in a topic with 200 messages a second, at any of four subscribers on two hosts, when the root of
    the publisher's host is killed or stopped. Three nodes on each of three hosts."""
    for _ in range(runs):
        network = free_network_name()
        with VirtualHosts(3) as lab, contextlib.ExitStack() as stack:
            nodes = []
            for host, number in itertools.product(lab.hosts, range(3)):
                node = stack.enter_context(Agent(host.program, f"{host.name}-{number}", LABC_NETWORK=network))
                node.exec("labc.blocking.portal.node()")  # the first one on a host is its root
                nodes.append(node)
            meet(nodes)
            root, publisher, neighbour, *far = nodes[:6]
            subscribers = [neighbour, *far]
            for node in subscribers:
                node.exec("labc.subscribe(receive, topic='ticks')")
            publisher.exec("publish_numbers('ticks', 0.005)")
            for node in subscribers:
                node.eval("until(lambda: len(received) > 100)")
            harmed = time.time()
            root.program.stop() if stop else root.program.kill()
            for node in subscribers:
                node.eval(f"until(lambda: received[-1][1] > {harmed} + {7 if stop else 1.5})")
            publisher.exec("stop.set(); publisher.join()")
            yield max(
                later - earlier
                for node in subscribers
                for earlier, later in itertools.pairwise([moment for _, moment in node.eval("received")])
            )


def cold_call(runs: int = 15) -> Iterator[float]:
    """The whole process ``labc call echo hi``, on a host that has a root, to a function on the same host."""
    network = free_network_name()
    with Agent(python_program, "provider", LABC_NETWORK=network) as provider:
        provider.exec("labc.register(lambda x: x, name='echo'); labc.blocking.portal.node()")
        for number in range(runs + 1):
            began = time.perf_counter()
            command = [LABC, "call", "--network", network, "echo", "hi"]
            done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
            took = time.perf_counter() - began
            if done.stdout.strip() != "hi":
                sys.exit(f"labc call answered {done.stdout!r} {done.stderr!r}")
            if number:
                yield took


def memory(root: bool, runs: int = 3) -> Iterator[float]:
    """Resident memory of a node with one function, 1 s after it joined."""
    for _ in range(runs):
        network = free_network_name()
        with VirtualHosts(1) as lab, contextlib.ExitStack() as stack:
            for name in ("first", "second"):
                node = stack.enter_context(lab.hosts[0].program(IDLE, name=name, env={"LABC_NETWORK": network}))
                node.expect("ready")
                if root == (name == "first"):
                    yield psutil.Process(node.pid).memory_info().rss


IDLE = """
    import time, labc
    labc.register(lambda: 1, name="one")
    node = labc.blocking.portal.node()
    time.sleep(1)
    print("ready")
    labc.serve()
"""

MEASUREMENTS: list[tuple[str, str, float, Callable[[], Iterator[float]]]] = [
    ("registered on one host, called from another", "ms", 1e3, registering),
    ("provider killed (-9): the running call fails", "ms", 1e3, lambda: losing(lambda a: a.program.kill(), 10)),
    ("provider killed (-9) 0.1 s ago: a new call fails", "ms", 1e3, new_call_after_loss),
    ("provider stopped (SIGSTOP): the running call fails", "s", 1, lambda: losing(lambda a: a.program.stop(), 5)),
    ("root killed (-9): longest gap of a topic", "ms", 1e3, lambda: root_gap(False, 8)),
    ("root stopped (SIGSTOP): longest gap of a topic", "s", 1, lambda: root_gap(True, 3)),
    ("`labc call echo hi`, from nothing to its end", "ms", 1e3, cold_call),
    ("memory of an idle node", "MB", 1e-6, lambda: memory(root=False)),
    ("memory of an idle node that is the root", "MB", 1e-6, lambda: memory(root=True)),
]

if __name__ == "__main__":
    main()
