"""What the parts have in common: processes on virtual hosts, contenders that take turns, failures that are told."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import os
import re
import statistics
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from benchmarks.environment import PYTHON, ROOT, search_path
from benchmarks.peers.common import Place
from benchmarks.report import Report
from labc.testing import Program, VirtualHost, VirtualHosts, can_make_hosts, free_network_name

FAILURES = (TimeoutError, EOFError, OSError)
"""What a process that fails shows itself as."""

_START_WITHIN = 30.0
_ports = itertools.count(20000)


@dataclass(frozen=True)
class Contender:
    """One line of a table: a peer and the way of it that is measured."""

    title: str
    peer: str
    way: str = ""
    broker: bool = False


class Asked(Protocol):
    """What takes turns."""

    def ask(self, timeout: float = ..., **command: Any) -> Any: ...
    def close(self) -> None: ...


class Worker:
    """A process of ``benchmarks.worker``, ready for commands."""

    def __init__(self, program: Program, others: Sequence[Worker] = ()) -> None:
        self.program = program
        self._all = [program, *(other.program for other in others)]

    def ask(self, timeout: float = 30.0, **command: Any) -> Any:
        """The answer to a command. Raises one of FAILURES."""
        self.program.send_line(json.dumps(command))
        return json.loads(self.program.expect(re.compile(r"^=> (.*)$"), timeout)[1])

    def close(self) -> None:
        """End it, and the servers that it talks to."""
        for program in self._all:
            program.close()

    def place_on(self, cores: set[int], servers: set[int] | None = None) -> None:
        """Bind it, and the servers that it talks to, to these cores (or to others), with all their threads."""
        for program in self._all:
            wanted = cores if servers is None or program is self.program else servers
            for thread in Path(f"/proc/{program.pid}/task").iterdir():
                with contextlib.suppress(ProcessLookupError):
                    os.sched_setaffinity(int(thread.name), wanted)


class Lab:
    """Virtual hosts, or only this one where they can't be made. Workers end with it."""

    def __init__(self, stack: ExitStack, hosts: Sequence[VirtualHost]) -> None:
        self._stack = stack
        self.hosts = hosts
        self._directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="labc-bench-"))

    def program(self, args: Sequence[str], host: int = 0, **env: str) -> Program:
        """A program on one of the hosts, with the repository's root on its path."""
        environment = {
            "PYTHONPATH": search_path(),
            "BENCH_DIRECTORY": self._directory,
            "PATH": f"{PYTHON.parent}:{os.environ.get('PATH', '')}",
            **env,
        }
        popen = self.hosts[host].popen if self.hosts else subprocess.Popen
        return self._stack.enter_context(Program(args, env=environment, cwd=str(ROOT), popen=popen))

    def worker(self, peer: str, role: str, place: Place, host: int = 0, others: Sequence[Worker] = ()) -> Worker:
        arguments = [peer, role, json.dumps(dataclasses.asdict(place))]
        program = self.program([str(PYTHON), "-m", "benchmarks.worker", *arguments], host)
        program.expect("ready", _START_WITHIN)
        return Worker(program, others)

    def place(self, way: str = "", *, between: bool = False) -> Place:
        """A place for a server on the first host; ``between``: for clients on the second one."""
        port = next(_ports)
        address = self.hosts[0].address if between else "127.0.0.1"
        path = "" if between or way == "tcp" else str(Path(self._directory, f"{port}.sock"))
        return Place(address, port, path, free_network_name(), way)

    def pair(self, contender: Contender, server: str, client: str, *, between: bool = False) -> Worker:
        """The client of a new server."""
        place = self.place(contender.way, between=between)
        servers = []
        if contender.broker:
            servers.append(self.worker(contender.peer, "broker", place))
        servers.append(self.worker(contender.peer, server, place))
        return self.worker(contender.peer, client, place, 1 if between else 0, servers)


@dataclass
class Run:
    """One sitting."""

    report: Report
    quick: bool = False
    rounds: int = 7
    peers: frozenset[str] = frozenset()
    """Only these take part; empty: all."""
    nodes: Sequence[tuple[int, int]] = ()
    """Hosts, and nodes on each, for ``scale``; empty: those of the issue."""
    errors: dict[str, str] = field(default_factory=dict)

    @contextlib.contextmanager
    def lab(self, hosts: int) -> Iterator[Lab]:
        """Raises RuntimeError where several hosts are needed and can't be made."""
        problem = can_make_hosts()
        if problem and hosts > 1:
            raise RuntimeError(problem)
        with ExitStack() as stack:
            yield Lab(stack, () if problem else stack.enter_context(VirtualHosts(hosts)).hosts)

    def chosen(self, contenders: Iterable[Contender]) -> list[Contender]:
        """Those that take part."""
        return [contender for contender in contenders if not self.peers or contender.peer in self.peers]

    def failed(self, contenders: Iterable[Contender], answers: Mapping[str, object]) -> list[tuple[str, str]]:
        """Those that have no answers, and why."""
        titles = [contender.title for contender in self.chosen(contenders) if not answers.get(contender.title)]
        return [(title, self.errors.get(title, "not measured")) for title in titles]

    def say(self, text: str) -> None:
        print(f"  {text}", flush=True)

    def fail(self, title: str, error: BaseException) -> None:
        """Note why a contender is out, and say so."""
        text = last_line(str(error))
        self.errors[title] = text
        self.say(f"{title} failed: {text}")

    def take_turns(
        self, workers: Mapping[str, Asked], rounds: int, key: str, timeout: float, **command: Any
    ) -> dict[str, list[dict[str, float]]]:
        """The answers of each, of all rounds. Who fails is out, and its error noted."""
        answers: dict[str, list[dict[str, float]]] = {title: [] for title in workers}
        for number in range(1, rounds + 1):
            for title, worker in workers.items():
                if title in answers:
                    try:
                        answers[title].append(worker.ask(timeout, **command))
                    except FAILURES as error:
                        self.fail(title, error)
                        worker.close()  # or it would be in the way of the others
                        del answers[title]
            self.say(f"round {number}/{rounds}: " + _glance({t: a[-1][key] for t, a in answers.items()}))
        return answers


def median(answers: Sequence[Mapping[str, float]], key: str) -> float:
    return statistics.median(answer[key] for answer in answers)


def ratio(answers: Mapping[str, Sequence[Mapping[str, float]]], above: str, below: str, key: str) -> float | None:
    """The median over the rounds of the quotient of two contenders' figures in one round."""
    pairs = list(zip(answers.get(above, ()), answers.get(below, ()), strict=False))
    return statistics.median(a[key] / b[key] for a, b in pairs) if pairs else None


def least(*values: float | None) -> float | None:
    """The least of what was measured, None if something was not."""
    known = [value for value in values if value is not None]
    return min(known) if known and len(known) == len(values) else None


def last_line(text: str) -> str:
    """The line that tells most of a program's failure: the last one that it printed."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and line.strip() != "(nothing)"]
    useful = [line for line in lines if not line.endswith("so far:")]
    return (useful or [text])[-1][:160]


def _glance(values: Mapping[str, float]) -> str:
    return ", ".join(f"{title} {_short(value)}" for title, value in values.items())


def _short(value: float) -> str:
    if value >= 1e6:
        return f"{value / 1e9:.2f}G"
    if value >= 100:
        return f"{value / 1e3:.1f}k"
    return f"{value * 1e6:.0f}µ" if value < 0.01 else f"{value:.2f}"
