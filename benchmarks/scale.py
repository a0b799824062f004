"""Part ``scale``: many nodes at once on one host and on three, and the same presence with plain Zenoh peers."""

from __future__ import annotations

import contextlib
import os
import random
import re
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import psutil

from benchmarks.nodes import Agent
from benchmarks.report import Table, figure
from benchmarks.run import FAILURES, Lab, Run, last_line
from labc.testing import free_network_name

FUNCTIONS = 10
SETTINGS = [(1, 10), (1, 50), (1, 100), (1, 200), (3, 60)]
"""Hosts, and nodes on each."""
QUICK_SETTINGS = [(1, 10), (1, 30), (3, 10)]

_START_WITHIN = 240.0
_KNOW_WITHIN = 60.0
_REST = 10.0
_LOOK_EVERY = 0.2
"""Seconds. Looking is part of the load, where hundreds of nodes do it."""
_CALLERS = 40
_CALLS_EACH = 5
_LISTINGS = 3
_SETTLE = 3.0


@dataclass
class _Figures:
    """What was measured of one set of nodes; None is what could not be."""

    know_all: int = 0
    """How many nodes knew all in time."""
    known: float | None = None
    calls: list[float] = field(default_factory=list)
    listed: float | None = None
    """None if a listing failed or was incomplete."""
    rss: float = 0.0
    most_rss: float = 0.0
    sockets: float = 0.0
    most_sockets: int = 0
    cpu: float = 0.0
    roots: int = 0
    problems: list[str] = field(default_factory=list)


def measure(run: Run) -> None:
    table = Table(
        "scale",
        f"nodes with {FUNCTIONS} functions each, all started at once",
        (
            "nodes",
            "all know all, s",
            "first call median ms",
            "p99 ms",
            "all functions listed, s",
            "RSS a node MB",
            "the largest",
            "sockets a node",
            "the most",
            "CPU at rest %",
            "roots",
        ),
    )
    results: dict[tuple[int, int], _Figures] = {}
    beaten: set[str] = set()
    for hosts, each in run.nodes or (QUICK_SETTINGS if run.quick else SETTINGS):
        for title, peer, measured in (("labc", "labc", _labc), ("Zenoh peers", "zenoh", _zenoh)):
            if run.peers and peer not in run.peers:
                continue
            where = f"{hosts} x {each}" if hosts > 1 else f"{each}"
            if title in beaten:  # its sessions would keep the machine busy for minutes, and the next ones waiting
                table.notes.append(f"{title}, {where}: not tried, as fewer did not find each other in time")
                continue
            run.say(f"{title}, {where} nodes")
            try:
                with run.lab(hosts) as lab:
                    figures = measured(lab, [number % hosts for number in range(hosts * each)])
            except (*FAILURES, RuntimeError) as error:
                run.fail(f"{title}, {where} nodes", error)
                figures = _Figures(problems=[last_line(str(error))])
            _add_row(table, f"{title}, {where}", figures)
            print("    " + " | ".join(table.rows[-1]), flush=True)
            if title == "labc":
                results[hosts, each] = figures
            elif figures.known is None:
                beaten.add(title)
    run.report.add(table)
    _goals(run, results)


def _goals(run: Run, results: dict[tuple[int, int], _Figures]) -> None:
    few, many = results.get(SETTINGS[0]), results.get((1, 200))
    report = run.report
    figures = many or _Figures()
    report.at_most("scale", "200 nodes: all known to all within 5 s", figures.known, 5, " s")
    first = statistics.median(figures.calls) * 1e3 if figures.calls else None
    report.at_most("scale", "200 nodes: first call to an unused name under 30 ms (median)", first, 30, " ms")
    report.at_most("scale", "200 nodes: all 2 000 functions listed in under 1 s", figures.listed, 1, " s")
    report.at_most("scale", "200 nodes: at most 45 MB RSS a node (median)", figures.rss or None, 45, " MB")
    grown = many.sockets - few.sockets if many and few and many.sockets else None
    report.at_most("scale", "sockets a node (median): no more with 200 nodes than with 10", grown, 0, " more")
    report.at_most("scale", "200 nodes: under 10 % of one core at rest", many.cpu if many else None, 10, " %")


def _add_row(table: Table, title: str, figures: _Figures) -> None:
    known = f"{figures.know_all} in {_KNOW_WITHIN:.0f}" if figures.known is None else figure(figures.known)
    calls = sorted(figures.calls)
    listed = "-" if figures.listed is None else figure(figures.listed)
    table.rows.append(
        (
            title,
            known,
            figure(statistics.median(calls) * 1e3) if calls else "-",
            figure(calls[len(calls) * 99 // 100] * 1e3) if calls else "-",
            listed,
            figure(figures.rss),
            figure(figures.most_rss),
            figure(figures.sockets),
            str(figures.most_sockets),
            figure(figures.cpu),
            str(figures.roots or "-"),
        )
    )
    kinds: dict[str, list[str]] = {}
    for problem in figures.problems:
        kinds.setdefault(re.sub(r"\W.*", "", problem), []).append(problem)
    table.notes += [f"{title}: {len(problems)} x {problems[0]}" for problems in kinds.values()]


def _labc(lab: Lab, hosts: Sequence[int]) -> _Figures:
    network = free_network_name()
    agents = [Agent(lab, f"n{number}", host, network) for number, host in enumerate(hosts)]
    for number, agent in enumerate(agents):
        agent.send(f"import labc; offer({number}, {FUNCTIONS})", wanted=False)
    for agent in agents:
        agent.answer(_START_WITHIN)
    figures = _Figures()
    _all_know_all(figures, agents, "join()", "known()")
    _at_rest(figures, agents)
    chance = random.Random(1)
    for caller in chance.sample(agents, min(len(agents), _CALLERS)):
        for other in chance.sample([agent for agent in agents if agent is not caller], _CALLS_EACH):
            with _noting(figures):
                name = f"f{other.name[1:]}.{chance.randrange(FUNCTIONS)}"
                figures.calls.append(caller.eval(f"first_call({name!r})"))
    took = []
    for agent in chance.sample(agents, _LISTINGS):
        with _noting(figures):
            seconds, count = agent.eval("list_functions()")
            if count == len(agents) * FUNCTIONS:
                took.append(seconds)
            else:
                figures.problems.append(f"incomplete: {count} of {len(agents) * FUNCTIONS} functions were listed")
    with _noting(figures):
        answered, figures.roots = agents[0].eval("roots()")
        if answered < len(agents):
            figures.problems.append(f"{answered} of {len(agents)} nodes answered nodes()")
    figures.listed = statistics.median(took) if len(took) == _LISTINGS else None
    return figures


def _zenoh(lab: Lab, hosts: Sequence[int]) -> _Figures:
    agents = [Agent(lab, f"n{number}", host) for number, host in enumerate(hosts)]
    for agent in agents:
        agent.send("import zenoh", wanted=False)
    for agent in agents:
        agent.answer(_START_WITHIN)
    figures = _Figures()
    _all_know_all(figures, agents, "zenoh_join()", "len(seen)")
    _at_rest(figures, agents)
    return figures


def _all_know_all(figures: _Figures, agents: Sequence[Agent], join: str, known: str) -> None:
    """All join at once; seconds until the last of them knows all."""
    wanted = f"until(lambda: {known} >= {len(agents)}, {_KNOW_WITHIN}, {_LOOK_EVERY})"
    began = time.time()
    for agent in agents:
        agent.send(f"({join}, {wanted}, time.time())[-1]")
    ended = []
    for agent in agents:
        with _noting(figures):
            ended.append(agent.answer(_KNOW_WITHIN * 3))
    figures.know_all = len(ended)
    if len(ended) == len(agents):
        figures.known = max(ended) - began


def _at_rest(figures: _Figures, agents: Sequence[Agent]) -> None:
    """Memory, sockets and processor time of all, some seconds later."""
    time.sleep(_SETTLE)
    processes = [psutil.Process(agent.program.pid) for agent in agents]
    before, began = sum(map(_cpu_seconds, processes)), time.monotonic()
    time.sleep(_REST)
    figures.cpu = 100 * (sum(map(_cpu_seconds, processes)) - before) / (time.monotonic() - began)
    rss = [process.memory_info().rss / 1e6 for process in processes]
    figures.rss, figures.most_rss = statistics.median(rss), max(rss)
    sockets = [_sockets(process.pid) for process in processes]
    figures.sockets, figures.most_sockets = statistics.median(sockets), max(sockets)


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _sockets(pid: int) -> int:
    """All of a process's sockets: listening, connected, and those within it."""
    directory, count = f"/proc/{pid}/fd", 0
    for number in os.listdir(directory):
        with contextlib.suppress(FileNotFoundError):
            count += os.readlink(f"{directory}/{number}").startswith("socket:")
    return count


@contextlib.contextmanager
def _noting(figures: _Figures) -> Iterator[None]:
    """A failure becomes one of the problems."""
    try:
        yield
    except FAILURES as error:
        figures.problems.append(re.sub(r"^n\d+: ", "", last_line(str(error))))
