"""The example of a backup: killed at any moment, it loses nothing."""

from __future__ import annotations

import os
import random
import re
import shutil
import socket
import sys
import time
from pathlib import Path

import pytest

from labc.testing import Program, python_program

BACKUP = Path(__file__).parents[2] / "examples" / "backup" / "backup.py"
SERVER = "import labc\nlabc.serve()\n"
SERVES = re.compile("is in the network")
MOMENTS = 20
FILES = 120


def contents(root: Path) -> dict[str, bytes]:
    """Of what is complete."""
    found = (path for path in root.rglob("*") if path.is_file() and not path.name.startswith(".labc-part-"))
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in found}


def make_logs(root: Path) -> None:
    for number in range(FILES):
        path = root / f"{number % 7}" / f"{number}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(random.Random(number).randbytes(10_000 if number % 40 else 6_000_000))
        os.utime(path, (1_000_000 + number, 1_000_000 + number))


def backup(to: Path) -> Program:
    words = ["logs", "--to", str(to), "--limit", "0"]
    return Program([sys.executable, str(BACKUP), socket.gethostname(), *words])


def killed_on_its_way(program: Program, logs: Path, to: Path, steps: int) -> bool:
    """Kill it when so many more files are here, or deleted there. False: it had ended before."""

    def progress() -> int:
        return len(names(to)) + FILES - len(names(logs))

    goal = progress() + steps
    while program.running and progress() < goal:
        time.sleep(0.001)
    killed = program.running
    program.kill()
    program.wait()
    return killed


def names(root: Path) -> list[str]:
    found = (path for path in root.rglob("*.log") if path.is_file())
    return [path.relative_to(root).as_posix() for path in found]


@pytest.mark.timeout(180)
def test_killed_at_twenty_moments_it_loses_nothing(tmp_path: Path, network: str) -> None:
    logs, to = tmp_path / "logs", tmp_path / "backup"
    make_logs(logs)
    original = contents(logs)
    kills, deleted = 0, set()
    with python_program(SERVER, name="nas", env={"LABC_SHARES": f"logs={logs},write"}) as server:
        server.expect(SERVES, stream="stderr")
        while kills < MOMENTS:
            with backup(to) as program:
                kills += killed_on_its_way(program, logs, to, steps=1 + 7 * (kills % 5))
            here, there = contents(to), contents(logs)
            for path, content in original.items():
                assert content in (here.get(path), there.get(path)), f"{path} was lost at kill {kills}"
            assert here.items() <= original.items(), "half a file"
            deleted.add(FILES - len(there))
            if not there:  # all is moved: once more
                shutil.rmtree(to)
                make_logs(logs)
        with backup(to) as program:
            assert program.wait(60.0) == 0, program.output + program.errors
        assert contents(to) == original
        assert contents(logs) == {}
    assert len(deleted) > 1, "some were killed after the first had been deleted"


def test_only_the_oldest_that_are_too_many_go(tmp_path: Path, network: str) -> None:
    logs, to = tmp_path / "logs", tmp_path / "backup"
    logs.mkdir()
    for number in range(10):
        (logs / f"{number}.log").write_bytes(bytes(100_000))
        os.utime(logs / f"{number}.log", (1_000_000 + number, 1_000_000 + number))
    words = [sys.executable, str(BACKUP), socket.gethostname(), "logs", "--to", str(to), "--limit", "0.65"]
    with python_program(SERVER, name="nas", env={"LABC_SHARES": f"logs={logs},write"}) as server:
        server.expect(SERVES, stream="stderr")
        with Program(words) as program:
            assert program.wait(20.0) == 0, program.errors
            assert program.output == f"4 of 4 files moved to {to}\n"
        assert sorted(os.listdir(to)) == [f"{number}.log" for number in range(4)]
        assert sorted(os.listdir(logs)) == [f"{number}.log" for number in range(4, 10)]
        with Program(words) as program:
            assert program.wait(20.0) == 0
            assert program.output == "logs takes 600000 bytes of 650000: nothing to do\n"
