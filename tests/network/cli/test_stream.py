"""``labc stream``."""

from __future__ import annotations

import json
import re
import signal
import subprocess

import pytest
from network.cli.runs import LABC, Begin, Run

SOURCE = """
import labc, time

@labc.register
def count(n: int = 10**9, pause: float = 0.0):
    try:
        for number in range(n):
            yield {"number": number, "text": "a b"} if n == 2 else number
            time.sleep(pause)
    finally:
        print("closed", flush=True)

@labc.register
def fail():
    yield 1
    raise ValueError("oh")

labc.serve()
"""


@pytest.fixture
def counter(serve):
    return serve(SOURCE, name="counter")


def test_a_line_for_each_value(run: Run, counter) -> None:
    assert run("stream", "count", 3).stdout == "0\n1\n2\n"
    assert run("stream", "count", "--n", 0).stdout == ""
    lines = run("stream", "count", 2, "--json").stdout.splitlines()
    assert [json.loads(line) for line in lines] == [{"number": 0, "text": "a b"}, {"number": 1, "text": "a b"}]


def test_it_leaves_after_so_many_and_closes_the_generator(run: Run, counter) -> None:
    assert run("stream", "count", "--count", 3).stdout == "0\n1\n2\n"
    counter.expect("closed")


def test_values_come_as_they_are_made_until_nobody_reads(counter) -> None:
    command = f"{LABC} stream count --pause 0.01 | head -2"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=20)
    assert (done.stdout, done.stderr) == ("0\n1\n", "")
    counter.expect("closed")


def test_ctrl_c_ends_it(begin: Begin, counter) -> None:
    program = begin("stream", "count", "--pause", "0.01")
    program.expect(re.compile("^5$"))
    program.process.send_signal(signal.SIGINT)
    assert program.wait() == 130
    counter.expect("closed")


def test_what_goes_wrong_is_a_sentence(run: Run, counter) -> None:
    failed = run("stream", "fail", code=1)
    assert failed.stdout == "1\n"
    assert failed.stderr.startswith("labc: ValueError: oh (at counter on ")
    assert "nobody offers 'cuont'" in run("stream", "cuont", "--find-timeout", 0, code=1).stderr
    assert "read them with stream('count', ...)" in run("call", "count", code=1).stderr
    assert (
        "no answer to 'count' within 0.2 s" in run("stream", "count", "--pause", 60, "--timeout", "0.2", code=1).stderr
    )
