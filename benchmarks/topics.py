"""Part ``topics``: one publisher floods, each subscriber counts what its handler gets."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.report import Table, figure
from benchmarks.run import FAILURES, Contender, Lab, Run, Worker, median, ratio

LABC, NATS, ZENOH = "labc", "NATS", "Zenoh through a router"
CONTENDERS = [
    Contender(LABC, "labc", "def"),
    Contender("labc, async def handler", "labc", "async"),
    Contender("labc, when_full=hold", "labc", "hold"),
    Contender(ZENOH, "zenoh", broker=True),
    Contender("the same without shared memory", "zenoh", "tcp", broker=True),
    Contender("pyzmq PUB/SUB", "pyzmq"),
    Contender(NATS, "nats", broker=True),
    Contender("MQTT (mosquitto, aiomqtt)", "mqtt", broker=True),
]
SIZES = {"16 B": 16, "1 KiB": 1 << 10, "1 MiB": 1 << 20}
SUBSCRIBERS = (1, 2, 5, 10)
Answers = dict[str, list[dict[str, float]]]

_DRAIN_WITHIN = 20.0
_QUIET = 0.4


class _Channel:
    """A publisher and its subscribers, asked like one worker."""

    def __init__(self, publisher: Worker, subscribers: list[Worker]) -> None:
        self._publisher = publisher
        self._subscribers = subscribers

    def ask(self, timeout: float = 30.0, **command: Any) -> dict[str, float]:
        """One flood: messages and bytes a second received, summed over the subscribers, and the part that was lost."""
        sent = self._publisher.ask(timeout, **command)["sent"]
        deadline = time.monotonic() + _DRAIN_WITHIN
        before, quiet_since = -1, time.monotonic()
        while time.monotonic() < min(deadline, quiet_since + _QUIET):
            time.sleep(0.1)
            count = sum(subscriber.ask(timeout)["count"] for subscriber in self._subscribers)
            if count != before:
                before, quiet_since = count, time.monotonic()
        reports = [subscriber.ask(timeout, reset=True) for subscriber in self._subscribers]
        received = sum(report["count"] for report in reports)
        if not received:
            raise TimeoutError("nothing was received")
        return {
            "rate": sum(report["count"] / max(report["seconds"], 1e-9) for report in reports),
            "bytes": sum(report["bytes"] / max(report["seconds"], 1e-9) for report in reports),
            "lost": 1 - received / sent / len(self._subscribers),
        }

    def close(self) -> None:
        for worker in (self._publisher, *self._subscribers):
            worker.close()


def measure(run: Run) -> None:
    answers: dict[str, Answers] = {}
    with run.lab(1) as lab:
        channels = _start(run, lab, 1)
        for size, count in SIZES.items():
            run.say(size)
            answers[size] = _turns(run, channels, count, 2 if run.quick else run.rounds)
    run.report.add(_sizes_table(run, answers))
    _subscribers_part(run)
    small, large = answers["16 B"], answers["1 MiB"]
    rate = median(small[LABC], "rate") if small.get(LABC) else None
    run.report.at_least("topics", "16 B: at least 250 000 messages/s into the handler", rate, 250_000, "/s")
    run.report.at_least("topics", "16 B: 2 x NATS", ratio(small, LABC, NATS, "rate"), 2, " x")
    part = ratio(large, LABC, ZENOH, "bytes")
    run.report.at_least("topics", "1 MiB: at least 0.6 x plain Zenoh through a router", part, 0.6, " x")


def _start(run: Run, lab: Lab, subscribers: int) -> dict[str, _Channel]:
    channels = {}
    for contender in run.chosen(CONTENDERS):
        place = lab.place(contender.way)
        try:
            if contender.broker:
                lab.worker(contender.peer, "broker", place)
            publisher = lab.worker(contender.peer, "flood", place)
            listening = [lab.worker(contender.peer, "subscribe", place) for _ in range(subscribers)]
            channels[contender.title] = _Channel(publisher, listening)
        except FAILURES as error:
            run.fail(contender.title, error)
    time.sleep(0.5)  # subscriptions reach the publishers
    return channels


def _turns(run: Run, channels: dict[str, _Channel], size: int, rounds: int) -> Answers:
    seconds = 0.3 if run.quick else 1.0
    return run.take_turns(channels, rounds, "rate", 30, size=size, seconds=seconds)


def _sizes_table(run: Run, answers: dict[str, Answers]) -> Table:
    head = ("", "16 B msg/s", "lost", "1 KiB msg/s", "lost", "1 MiB msg/s", "GB/s", "lost")
    table = Table("topics", "one publisher, one subscriber, same host, received by the handler", head)
    for title in (contender.title for contender in run.chosen(CONTENDERS)):
        cells: list[str] = []
        for size in SIZES:
            each = answers[size].get(title)
            if not each:
                cells += ["failed"] + [""] * (2 if size == "1 MiB" else 1)
                continue
            cells.append(figure(median(each, "rate")))
            if size == "1 MiB":
                cells.append(f"{median(each, 'bytes') / 1e9:.2f}")
            cells.append(f"{median(each, 'lost'):.0%}")
        table.rows.append((title, *cells))
    table.notes += [f"{title}: {error}" for title, error in run.failed(CONTENDERS, answers["1 MiB"])]
    return table


def _subscribers_part(run: Run) -> None:
    head = ("", *(f"{number}" for number in SUBSCRIBERS))
    table = Table("topics", "messages/s of 16 B received by 1 to 10 subscribers together, same host", head)
    cells: dict[str, list[str]] = {contender.title: [] for contender in run.chosen(CONTENDERS)}
    for number in SUBSCRIBERS[:2] if run.quick else SUBSCRIBERS:
        run.say(f"{number} subscribers")
        with run.lab(1) as lab:
            answers = _turns(run, _start(run, lab, number), 16, 1 if run.quick else 3)
        for title, row in cells.items():
            each = answers.get(title)
            row.append(figure(median(each, "rate")) if each else "failed")
    for title, row in cells.items():
        table.rows.append((title, *row, *[""] * (len(SUBSCRIBERS) - len(row))))
    run.report.add(table)
