"""Part ``calls``: a blocking echo of 16 bytes, one caller."""

from __future__ import annotations

import os

from benchmarks.report import Table, figure
from benchmarks.run import FAILURES, Contender, Lab, Run, Worker, least, median, ratio

UNIX, TCP, ASYNC, DEF = "raw Unix socket", "raw TCP", "labc, async def", "labc, def"
CONTENDERS = [
    Contender(UNIX, "raw", "unix"),
    Contender(TCP, "raw", "tcp"),
    Contender(ASYNC, "labc", "async"),
    Contender(DEF, "labc", "def"),
    Contender("pyzmq REQ/REP + msgpack", "pyzmq"),
    Contender("RPyC", "rpyc"),
    Contender("RPyC over TCP", "rpyc", "tcp"),
    Contender("Pyro5", "pyro"),
    Contender("Pyro5 over TCP", "pyro", "tcp"),
    Contender("NATS request", "nats", broker=True),
    Contender("Zenoh query", "zenoh"),
    Contender("gRPC", "grpc"),
]
Answers = dict[str, list[dict[str, float]]]


def measure(run: Run) -> None:
    rounds = 2 if run.quick else 2 * run.rounds  # where the scheduler puts them differs from round to round
    with run.lab(1) as lab:
        workers = _start(run, lab, between=False)
        cores = os.sched_getaffinity(0)
        free = _turns(run, workers, rounds, "same host, free", UNIX)
        for worker in workers.values():
            worker.place_on({max(cores)})
        pinned = _turns(run, workers, rounds, "same host, both ends pinned to one core", UNIX)
        if len(cores) > 1:
            for worker in workers.values():
                worker.place_on({max(cores)}, {min(cores)})
            _turns(run, workers, rounds, "same host, caller and server on a core each", UNIX)
    far: Answers = {}
    try:
        with run.lab(2) as lab:
            far = _turns(run, _start(run, lab, between=True), rounds, "between two virtual hosts, free", TCP)
    except RuntimeError as error:
        run.say(f"between two hosts: {error}")
    _goals(run, free, pinned, far)


def _start(run: Run, lab: Lab, *, between: bool) -> dict[str, Worker]:
    workers = {}
    for contender in run.chosen(CONTENDERS):
        if between and _only_near(contender):
            continue
        try:
            workers[contender.title] = lab.pair(contender, "serve", "calls", between=between)
        except FAILURES as error:
            run.fail(contender.title, error)
    return workers


def _only_near(contender: Contender) -> bool:
    return contender.title == UNIX or contender.title.endswith(" over TCP")


def _turns(run: Run, workers: dict[str, Worker], rounds: int, where: str, limit: str) -> Answers:
    run.say(where)
    contenders = [contender for contender in CONTENDERS if limit == UNIX or not _only_near(contender)]
    seconds = 0.2 if run.quick else 0.25
    answers = run.take_turns(workers, rounds, "median", 15, size=16, seconds=seconds, warm=50)
    table = Table("calls", f"blocking echo of 16 bytes, {where}", ("", "median µs", "p99 µs", f"x {limit}"))
    for title, each in answers.items():
        quotient = ratio(answers, title, limit, "median")
        cells = [figure(median(each, key) * 1e6) for key in ("median", "p99")]
        table.rows.append((title, *cells, "-" if quotient is None else f"{quotient:.2f}"))
    table.notes += [f"{title}: {error}" for title, error in run.failed(contenders, answers)]
    run.report.add(table)
    return answers


def _goals(run: Run, free: Answers, pinned: Answers, far: Answers) -> None:
    report = run.report
    for title, free_limit, pinned_limit in ((ASYNC, 1.2, 3.0), (DEF, 2.5, 4.0)):
        text = f"same host, {title}: median at most {free_limit} x raw Unix socket"
        report.at_most("calls", text, ratio(free, title, UNIX, "median"), free_limit, " x")
        text = f"the same pinned to one core: at most {pinned_limit:g} x"
        report.at_most("calls", text, ratio(pinned, title, UNIX, "median"), pinned_limit, " x")
        faster = least(ratio(free, "RPyC", title, "median"), ratio(free, "Pyro5", title, "median"))
        report.at_least("calls", f"same host, {title}: 3 x faster than RPyC and Pyro5", faster, 3, " x")
        text = f"between hosts, {title}: median at most 1.6 x raw TCP"
        report.at_most("calls", text, ratio(far, title, TCP, "median"), 1.6, " x")
