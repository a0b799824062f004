"""Part ``start``: from nothing. Imports, the command line, and a whole program that makes one call and ends."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.environment import PYTHON, search_path
from benchmarks.peers.common import Place
from benchmarks.report import Table, figure
from benchmarks.run import FAILURES, Contender, Lab, Run

LABC = str(PYTHON.parent / "labc")
_WITHIN = 30.0

IMPORT = """
import time; began = time.perf_counter()
import {module}
print(time.perf_counter() - began)
"""
MODULES = ("labc", "Pyro5.api", "rpyc", "nats", "grpc", "zenoh")

CALLS = {
    "Pyro5 program": (
        Contender("Pyro5", "pyro"),
        """
import Pyro5.api
Pyro5.config.SERIALIZER = "marshal"
print(Pyro5.api.Proxy("PYRO:echo@./u:{path}").echo("hi"))
""",
    ),
    "RPyC program": (
        Contender("RPyC", "rpyc"),
        """
import rpyc
connection = rpyc.utils.factory.unix_connect("{path}")
print(connection.root.echo("hi"))
connection.close()
""",
    ),
    "NATS program": (
        Contender("NATS", "nats", broker=True),
        """
import asyncio, nats
async def main():
    connection = await nats.connect("nats://{address}:{port}")
    print((await connection.request("bench.echo", b"hi")).data.decode())
    await connection.close()
asyncio.run(main())
""",
    ),
}
LABC_PROGRAM = "import labc; print(labc.call('echo', 'hi'))"


@dataclass(frozen=True)
class _Command:
    args: list[str]
    env: Mapping[str, str]
    wanted: str


def measure(run: Run) -> None:
    rounds = 3 if run.quick else 2 * run.rounds + 1
    imports = _alternate(run, {module: _importer(module) for module in MODULES}, rounds)
    table = Table("start", "import, measured in a new process", ("module", "median s", "max s"))
    for module, took in imports.items():
        table.rows.append((f"import {module}", figure(statistics.median(took)), figure(max(took))))
    run.report.add(table)
    with run.lab(1) as lab:
        commands = _commands(run, lab)
        calls = _alternate(run, {title: _runner(lab, command) for title, command in commands.items()}, rounds)
    table = Table("start", "a process from its start to its exit", ("", "median s", "max s"))
    for title, took in calls.items():
        table.rows.append((title, figure(statistics.median(took)), figure(max(took))))
    table.notes += [f"{title}: {error}" for title, error in run.errors.items()]
    run.report.add(table)
    importing, calling = imports.get("labc"), calls.get("labc call echo hi")
    value = statistics.median(importing) if importing else None
    run.report.at_most("start", "import labc under 0.15 s", value, 0.15, " s")
    value = statistics.median(calling) if calling else None
    run.report.at_most("start", "cold labc call under 0.45 s", value, 0.45, " s")


def _commands(run: Run, lab: Lab) -> dict[str, _Command]:
    """The commands, with a server for each that calls one. labc's server is its host's root."""
    commands = {
        "python -c pass": _Command([str(PYTHON), "-c", "pass"], {}, ""),
        "labc --help": _Command([LABC, "--help"], {}, "Usage"),
    }
    for title, (contender, source) in {"labc": (Contender("labc", "labc", "def"), ""), **CALLS}.items():
        place = lab.place(contender.way)
        try:
            if contender.broker:
                lab.worker(contender.peer, "broker", place)
            lab.worker(contender.peer, "serve", place)
        except FAILURES as error:
            run.fail(title, error)
            continue
        if source:
            commands[title] = _Command([str(PYTHON), "-c", _filled(source, place)], {}, "hi")
            continue
        env = {"LABC_NETWORK": place.network}
        commands["labc call echo hi"] = _Command([LABC, "call", "echo", "hi"], env, "hi")
        commands["labc program"] = _Command([str(PYTHON), "-c", LABC_PROGRAM], env, "hi")
    return commands


def _filled(source: str, place: Place) -> str:
    return source.format(path=place.path, address=place.address, port=place.port)


def _importer(module: str) -> Callable[[], float]:
    def once() -> float:
        args = [str(PYTHON), "-c", IMPORT.format(module=module)]
        env = {**os.environ, "PYTHONPATH": search_path()}
        done = subprocess.run(args, env=env, check=True, capture_output=True, text=True, timeout=_WITHIN)
        return float(done.stdout)

    return once


def _runner(lab: Lab, command: _Command) -> Callable[[], float]:
    popen = lab.hosts[0].popen if lab.hosts else subprocess.Popen

    def once() -> float:
        began = time.perf_counter()
        process = popen(
            command.args,
            env={**os.environ, "PYTHONPATH": search_path(), **command.env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            out, errors = process.communicate(timeout=_WITHIN)
        finally:
            process.kill()
        took = time.perf_counter() - began
        if process.returncode or command.wanted not in out:
            raise OSError(f"{' '.join(command.args[:3])} failed: {out[-80:]} {errors[-200:]}")
        return took

    return once


def _alternate(run: Run, measures: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each, all rounds; the first is not counted."""
    took: dict[str, list[float]] = {title: [] for title in measures}
    for number in range(rounds + 1):
        for title, once in measures.items():
            if title not in took:
                continue
            try:
                seconds = once()
            except (subprocess.SubprocessError, OSError) as error:
                run.fail(title, error)
                del took[title]
            else:
                if number:
                    took[title].append(seconds)
    run.say(", ".join(f"{title} {statistics.median(each):.3f}" for title, each in took.items() if each))
    return took
