"""``labc publish`` and ``labc subscribe``."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from pathlib import Path

import pytest
from network.cli.runs import LABC, Begin, Run

from labc.testing import Program

LISTENS = re.compile("^labc: listening to ")


def test_a_message_is_handled_by_who_subscribed(run: Run, server: Program) -> None:
    assert run("publish", "print", "Hello", "World!").stdout == ""
    server.expect("Hello World!")
    printed = json.loads(run("publish", "print", "a", "--end", ";\n", "--json").stdout)
    assert printed == {"topic": "print", "args": ["a"], "kwargs": {"end": ";\n"}}
    server.expect("a;")


def test_subscribe_prints_a_line_for_each_message(run: Run, begin: Begin) -> None:
    subscriber = begin("subscribe", "lab/*", "--count", 3)
    subscriber.expect(LISTENS, stream="stderr")
    run("publish", "lab/temperature", 21.5, "--unit", "C")
    run("publish", "elsewhere", 0)
    run("publish", "lab/note", "two\nlines", "[1, null]")
    run("publish", "lab/go")
    assert subscriber.wait() == 0
    lines = subscriber.output.splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3}  lab/temperature  21\.5 unit=C  \(labc on .+\)", lines[0])
    assert '  lab/note  "two\\nlines" [1, null]  (' in lines[1]
    assert len(lines) == 3


def test_subscribe_prints_an_object_a_line_for_programs(run: Run, begin: Begin) -> None:
    subscriber = begin("subscribe", "**", "--json", "--count", 1)
    subscriber.expect(LISTENS, stream="stderr")
    run("publish", "a/b", "{}", "text", "--key", "[]")
    assert subscriber.wait() == 0
    message = json.loads(subscriber.output)
    assert message["topic"] == "a/b"
    assert (message["args"], message["kwargs"]) == ([{}, "text"], {"key": []})
    assert message["sender"]["node"] == "labc"
    assert message["time"].endswith("+00:00")


def test_subscribe_leaves_when_the_time_is_over(run: Run) -> None:
    assert run("subscribe", "x", "--timeout", "0.1").stdout == ""
    assert "labc: 0 of 2 messages came\n" in run("subscribe", "x", "--timeout", "0.1", "--count", "2", code=1).stderr


def test_the_timeout_of_subscribe_may_be_very_long(run: Run, begin: Begin) -> None:
    subscriber = begin("subscribe", "x", "--count", 1, "--timeout", "1e9")
    subscriber.expect(LISTENS, stream="stderr")
    run("publish", "x")
    assert subscriber.wait() == 0
    assert "Traceback" not in subscriber.errors


@pytest.mark.usefixtures("network")
def test_subscribe_ends_quietly_when_nobody_reads_any_more() -> None:
    """Also if no further message comes that it would fail to print."""
    subscriber = subprocess.Popen(
        [LABC, "subscribe", "x", "--count", "3"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with subscriber:
        assert subscriber.stdout is not None
        assert subscriber.stderr is not None
        assert LISTENS.match(subscriber.stderr.readline())
        subprocess.run([LABC, "publish", "x", "1"], check=True, timeout=20)
        assert subscriber.stdout.readline().split()[1:3] == ["x", "1"]
        subscriber.stdout.close()
        began = time.monotonic()
        assert subscriber.wait(10) == 0
        assert time.monotonic() - began < 1.0
        assert subscriber.stderr.read() == ""


def test_any_output_may_be_cut_off(server: Program, tmp_path: Path) -> None:
    command = f"{LABC} call show {'x' * 2000} | head -c 1; {LABC} functions | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("[FUNCTION")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no full disk here: /dev/full is Linux's")
def test_a_full_disk_is_told(server: Program) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([LABC, "functions"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=20)
    assert done.returncode == 1
    assert done.stderr.startswith("labc: ")
    assert done.stderr.count("\n") == 1
