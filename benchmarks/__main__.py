"""``python -m benchmarks``, from the root of the repository: run the parts, and write RESULTS.md."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import shlex
import signal
import sys
import time
import traceback
from pathlib import Path

from benchmarks import environment
from benchmarks.report import RESULTS, Report
from benchmarks.run import Run

PARTS = ("calls", "flight", "arrays", "streams", "spread", "topics", "files", "start", "presence", "scale")


def main() -> None:
    options = _options()
    chosen = [part for part in PARTS if part in options.only.split(",")] if options.only else list(PARTS)
    if unknown := set(filter(None, options.only.split(","))) - set(PARTS):
        sys.exit(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    output = Path(options.output) if options.output else None
    if output is None and not (options.only or options.quick or options.peers):
        output = RESULTS
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything it started is ended
    environment.prepare()
    command = options.command or f"python -m benchmarks {shlex.join(sys.argv[1:])}".strip()
    description = environment.description(command)
    print("\n".join(description), flush=True)
    nodes = [(int(hosts), int(each)) for hosts, each in re.findall(r"(\d+)x(\d+)", options.nodes)]
    peers = frozenset(filter(None, options.peers.split(",")))
    run = Run(Report(), quick=options.quick, rounds=options.rounds, peers=peers, nodes=nodes)
    for part in chosen:
        _measure(run, part)
        if output:
            output.write_text(run.report.markdown(description))
    if run.report.goals:
        print("\n" + run.report.goals_table().text())
    if output:
        print(f"Written to {output}")
    if options.goals:
        Path(options.goals).write_text(json.dumps({goal.text: goal.value for goal in run.report.goals}))


def _measure(run: Run, part: str) -> None:
    """A part that breaks does not take the others with it."""
    print(f"\n{part} ...", flush=True)
    began = time.monotonic()
    run.errors.clear()
    try:
        importlib.import_module(f"benchmarks.{part}").measure(run)
    except Exception as error:
        traceback.print_exc()
        run.fail(part, error)
    print(f"{part} took {time.monotonic() - began:.0f} s", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    only = os.environ.get("ONLY", "")
    parser.add_argument("--only", default=only, metavar="PART,...", help=f"some of {', '.join(PARTS)} (also ONLY=)")
    parser.add_argument("--quick", action="store_true", help="few short rounds, to see if it runs")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of each measurement (default 7)")
    peers = "only these: labc, raw, pyzmq, rpyc, pyro, nats, zenoh, grpc, mqtt, rsync, scp, cp, pynetwork"
    parser.add_argument("--peers", default="", metavar="PEER,...", help=peers)
    parser.add_argument("--nodes", default="", metavar="HOSTSxNODES,...", help="for scale, such as 1x200,3x60")
    parser.add_argument("--output", metavar="FILE", help="write the tables there; a whole run writes RESULTS.md")
    parser.add_argument("--goals", metavar="FILE", help="write what was reached of each goal there, as JSON")
    parser.add_argument("--command", default=os.environ.get("BENCH_COMMAND", ""), help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
