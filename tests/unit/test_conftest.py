"""The check that nothing is left running, and the way virtual hosts are refused: run on tests made to fail."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"

LEAKS = """
import asyncio, socket, subprocess, sys, threading
from labc.testing import VirtualHosts

kept = []

def test_clean(network):
    loop = asyncio.new_event_loop()
    task = loop.create_task(asyncio.sleep(0))
    loop.run_until_complete(task)
    loop.close()
    threading.Timer(0.05, print).start()  # ends within the grace

def test_thread():
    event = threading.Event()
    kept.append(event)
    threading.Thread(target=event.wait, name="leaking").start()

def test_daemon_of_ours():
    kept[0].set()
    threading.Thread(target=threading.Event().wait, name="labc loop", daemon=True).start()

def test_task():
    loop = asyncio.new_event_loop()
    kept.append(loop.create_task(asyncio.sleep(10)))
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()

def test_process():
    kept.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1))

def test_socket():
    kept.append(socket.create_server(("127.0.0.1", 0)))

def test_clean_again():
    pass
"""

EXPECTED = {
    "test_thread": "thread 'leaking'",
    "test_daemon_of_ours": "thread 'labc loop'",
    "test_task": "task <Task pending",
    "test_process": "process",
    "test_socket": "socket",
}


def run_pytest(directory: Path, source: str, **env: str) -> str:
    conftest = re.sub(r"GRACE = [\d.]+", "GRACE = 0.2", CONFTEST.read_text(encoding="utf-8"))
    (directory / "conftest.py").write_text(conftest, encoding="utf-8")
    (directory / "test_it.py").write_text(source, encoding="utf-8")
    (directory / "pytest.ini").write_text("[pytest]\nmarkers = hosts\n", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider", "--color=no", str(directory)]
    done = subprocess.run(command, env=os.environ | env, cwd=directory, capture_output=True, text=True, timeout=50.0)
    return done.stdout + done.stderr


def test_what_leaks_fails(tmp_path: Path) -> None:
    output = run_pytest(tmp_path, LEAKS)
    for test, what in EXPECTED.items():
        assert re.search(rf"ERROR test_it.py::{test} - Failed: left running: {re.escape(what)}", output), output
    assert output.count("ERROR test_it.py") == len(EXPECTED), output


@pytest.mark.parametrize(("required", "outcome"), [("", "1 skipped"), ("1", "1 error")])
def test_hosts_that_cannot_be_made_are_never_passed_over_in_silence(
    tmp_path: Path, required: str, outcome: str
) -> None:
    source = (
        "import labc.testing, conftest\n"
        "conftest.can_make_hosts = lambda: 'this is why not'\n"
        "def test_on_hosts(make_lab): make_lab(1)\n"
    )
    output = run_pytest(tmp_path, source, REQUIRE_VIRTUAL_HOSTS=required)
    assert "this is why not" in output, output
    assert outcome in output.splitlines()[-1], output
