"""Part ``flight``: 256 calls in flight from one asyncio program, in a closed loop."""

from __future__ import annotations

from benchmarks.report import Table, figure
from benchmarks.run import FAILURES, Contender, Run, Worker, median, ratio

ASYNC, DEF, NATS = "labc, async def", "labc, def", "NATS request"
CONTENDERS = [
    Contender(ASYNC, "labc", "async"),
    Contender(DEF, "labc", "def"),
    Contender("pyzmq DEALER/ROUTER + msgpack", "pyzmq", "dealer"),
    Contender(NATS, "nats", broker=True),
    Contender("Zenoh query", "zenoh"),
    Contender("gRPC aio", "grpc"),
]
_TASKS = 256


def measure(run: Run) -> None:
    with run.lab(1) as lab:
        workers: dict[str, Worker] = {}
        for contender in run.chosen(CONTENDERS):
            try:
                workers[contender.title] = lab.pair(contender, "serve", "flight")
            except FAILURES as error:
                run.fail(contender.title, error)
        seconds = 0.5 if run.quick else 1.5
        rounds = 2 if run.quick else run.rounds
        answers = run.take_turns(workers, rounds, "rate", 30, size=16, seconds=seconds, tasks=_TASKS)
    table = Table("flight", f"{_TASKS} echoes of 16 bytes in flight, same host", ("", "calls/s", "labc async def is"))
    for title, each in answers.items():
        quotient = ratio(answers, ASYNC, title, "rate")
        table.rows.append((title, figure(median(each, "rate")), "-" if quotient is None else f"{quotient:.2f} x"))
    table.notes += [f"{title}: {error}" for title, error in run.failed(CONTENDERS, answers)]
    run.report.add(table)
    rates = {title: median(each, "rate") for title, each in answers.items()}
    report = run.report
    report.at_least("flight", "async def: at least 120 000 calls/s", rates.get(ASYNC), 120_000, "/s")
    report.at_least("flight", "async def: at least 3 x NATS", ratio(answers, ASYNC, NATS, "rate"), 3, " x")
    report.at_least("flight", "def in threads: at least 40 000 calls/s", rates.get(DEF), 40_000, "/s")
