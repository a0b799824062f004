"""Part ``spread``: one function of several local workers, by ``map``."""

from __future__ import annotations

from benchmarks.report import Table, figure
from benchmarks.run import Contender, Run, median, ratio

_WORKERS = (1, 8)
_NAP = 0.01


def measure(run: Run) -> None:
    if not run.chosen([Contender("labc", "labc")]):
        return
    rounds = 2 if run.quick else run.rounds
    naps = {workers: _answers(run, workers, rounds, _NAP, 1) for workers in _WORKERS}
    naps_ahead = {workers: _answers(run, workers, rounds, _NAP, 2) for workers in _WORKERS}
    empty = {workers: _answers(run, workers, rounds, 0.0, 2) for workers in _WORKERS}
    head = ("", *(f"{workers} worker{'s' * (workers > 1)}, items/s" for workers in _WORKERS), "faster")
    table = Table("spread", "items by map, same host, def in threads", head)
    for title, answers in (
        ("10 ms of sleep, one at a time for each (window=1)", naps),
        ("10 ms of sleep, two at a time (the default)", naps_ahead),
        ("nothing to do, two at a time", empty),
    ):
        rates = [figure(median(answers[workers], "rate")) for workers in _WORKERS]
        table.rows.append((title, *rates, f"{_faster(answers):.2f} x"))
    run.report.add(table)
    run.report.at_least("spread", "8 local workers, 10 ms sleep: 7.5 x one", _faster(naps_ahead), 7.5, " x")


def _answers(run: Run, workers: int, rounds: int, nap: float, window: int) -> list[dict[str, float]]:
    run.say(f"{workers} of them, {nap * 1000:g} ms, window {window}")
    with run.lab(1) as lab:
        place = lab.place()
        for _ in range(workers):
            lab.worker("labc", "serve_values", place)
        client = lab.worker("labc", "spread", place)
        items = (20 if nap else 200) * workers * (1 if run.quick else 5)
        return run.take_turns({"labc": client}, rounds, "rate", 60, spread=[workers, items, nap, window])["labc"]


def _faster(answers: dict[int, list[dict[str, float]]]) -> float:
    one, all_of_them = ({"it": answers[workers]} for workers in _WORKERS)
    found = ratio({"one": one["it"], "all": all_of_them["it"]}, "all", "one", "rate")
    assert found is not None
    return found
