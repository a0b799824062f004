"""Part ``streams``: values of a generator read to the end, small ones and arrays, and a call beside such a stream."""

from __future__ import annotations

from benchmarks.report import Table, figure
from benchmarks.run import FAILURES, Contender, Run, Worker, median, ratio

LIMIT, DEF, ASYNC, OUTGOING = "raw TCP recv_into, buffers kept", "labc, def", "labc, async def", "labc, outgoing"
CONTENDERS = [
    Contender(LIMIT, "raw", "tcp"),
    Contender("raw TCP recv_into, a new buffer each", "raw", "tcp new"),
    Contender(DEF, "labc", "def"),
    Contender(ASYNC, "labc", "async"),
    Contender(OUTGOING, "labc", "outgoing"),
    Contender("gRPC", "grpc"),
]
_LARGE = 1 << 20


def measure(run: Run) -> None:
    rounds = 2 if run.quick else run.rounds
    with run.lab(1) as lab:
        workers: dict[str, Worker] = {}
        for contender in run.chosen(CONTENDERS):
            try:
                workers[contender.title] = lab.pair(contender, "serve_values", "values")
            except FAILURES as error:
                run.fail(contender.title, error)
        run.say("small values")
        count = 20_000 if run.quick else 200_000
        quick = {title: worker for title, worker in workers.items() if not title.startswith("raw")}
        small = run.take_turns(quick, rounds, "rate", 60, size=0, count=count)
        run.say("1 MiB")
        count = 100 if run.quick else 1000
        large = run.take_turns(workers, rounds, "rate", 60, size=_LARGE, count=count)
    table = Table("streams", "a stream read to its end, same host", ("", "small values/s", "1 MiB GB/s", "of raw TCP"))
    for title in workers:
        each, arrays, part = small.get(title), large.get(title), ratio(large, title, LIMIT, "rate")
        cells = [
            figure(median(each, "rate")) if each else "-",
            f"{median(arrays, 'rate') / 1e9:.2f}" if arrays else "-",
        ]
        table.rows.append((title, *cells, "-" if part is None else f"{part:.2f} x"))
    table.notes += [f"{title}: {error}" for title, error in run.failed(CONTENDERS, large)]
    run.report.add(table)
    for title in (DEF, ASYNC, OUTGOING):
        rate = median(small[title], "rate") if small.get(title) else None
        run.report.at_least("streams", f"{title}: at least 200 000 small values/s", rate, 200_000, "/s")
        part = ratio(large, title, LIMIT, "rate")
        run.report.at_least("streams", f"{title}: 1 MiB, at least half of raw TCP with recv_into", part, 0.5, " x")
    _beside(run, rounds)


def _beside(run: Run, rounds: int) -> None:
    """A call over the lane on which a stream of arrays comes as fast as it is read."""
    contender = Contender("labc", "labc")
    if not run.chosen([contender]):
        return
    run.say("calls beside a stream")
    with run.lab(1) as lab:
        worker = lab.pair(contender, "serve_values", "beside")
        answers = run.take_turns({"labc": worker}, rounds, "beside", 30, seconds=0.3 if run.quick else 1.0)["labc"]
    slower = [answer["beside"] / answer["alone"] for answer in answers]
    head = ("", "alone µs", "beside µs", "slower", "the stream GB/s")
    table = Table("streams", "median of calls on the lane of a stream of 1 MiB arrays", head)
    factor = sorted(slower)[len(slower) // 2]
    alone, beside = (figure(median(answers, key) * 1e6) for key in ("alone", "beside"))
    table.rows.append(("labc, async def", alone, beside, f"{factor:.2f} x", f"{median(answers, 'rate') / 1e9:.2f}"))
    run.report.add(table)
    run.report.at_most("streams", "a call beside a stream: at most 2 x the time of one alone", factor, 2.0, " x")
