"""Part ``arrays``: echo of numpy arrays, in GB/s counting both ways."""

from __future__ import annotations

from benchmarks.report import Table
from benchmarks.run import FAILURES, Contender, Run, Worker, least, median, ratio

LIMIT, LABC = "raw TCP recv_into, buffers kept", "labc"
CONTENDERS = [
    Contender(LIMIT, "raw", "tcp"),
    Contender("raw TCP recv_into, a new array each", "raw", "tcp new"),
    Contender(LABC, "labc", "async"),
    Contender("pyzmq, copy=False", "pyzmq"),
    Contender("RPyC", "rpyc"),
    Contender("Pyro5", "pyro"),
    Contender("gRPC", "grpc"),
]
SIZES = {"64 KiB": 64 << 10, "1 MiB": 1 << 20, "16 MiB": 16 << 20}


def measure(run: Run) -> None:
    head = ("", *(f"{size} GB/s" for size in SIZES), *(f"labc is, {size}" for size in SIZES))
    table = Table("arrays", "echo of arrays, same host, both ways counted", head)
    with run.lab(1) as lab:
        workers: dict[str, Worker] = {}
        for contender in run.chosen(CONTENDERS):
            try:
                workers[contender.title] = lab.pair(contender, "serve_arrays", "arrays")
            except FAILURES as error:
                run.fail(contender.title, error)
        answers = {}
        for size, count in SIZES.items():
            run.say(size)
            seconds = 0.2 if run.quick else 0.5
            rounds = 2 if run.quick else run.rounds
            answers[size] = run.take_turns(workers, rounds, "rate", 30, size=count, seconds=seconds)
    for title in workers:
        rates, quotients = [], []
        for size in SIZES:
            each = answers[size].get(title)
            rates.append(f"{median(each, 'rate') / 1e9:.2f}" if each else "failed")
            quotient = ratio(answers[size], LABC, title, "rate")
            quotients.append("-" if quotient is None else f"{quotient:.2f} x")
        table.rows.append((title, *rates, *quotients))
    table.notes += [f"{title}: {error}" for title, error in run.failed(CONTENDERS, answers["16 MiB"])]
    run.report.add(table)
    for size in ("1 MiB", "16 MiB"):
        reached = ratio(answers[size], LABC, LIMIT, "rate")
        run.report.at_least("arrays", f"{size}: at least half of raw TCP with recv_into", reached, 0.5, " x")
        faster = least(*(ratio(answers[size], LABC, peer, "rate") for peer in ("RPyC", "Pyro5")))
        run.report.at_least("arrays", f"{size}: 3 x RPyC and Pyro5", faster, 3, " x")
