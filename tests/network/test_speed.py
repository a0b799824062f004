"""A small part of the benchmark, with margins so wide that only a gross regression exceeds them.

It is for what waits where it must not, as for an acknowledgement that the other end delays. What a call costs is
counted in test_costs.py: the time of what runs much code depends on who else uses the caches of the machine, and of one
and the same tree the ratio to a bare socket, which runs next to none, was several times as large on some days as on
others.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from labc.testing import can_make_hosts

ROOT = Path(__file__).parents[2]

AT_MOST = {
    "same host, labc, async def: median at most 1.2 x raw Unix socket": 25.0,
    "same host, labc, def: median at most 2.5 x raw Unix socket": 25.0,
    "between hosts, labc, async def: median at most 1.6 x raw TCP": 25.0,
    "between hosts, labc, def: median at most 1.6 x raw TCP": 25.0,
}
AT_LEAST = {
    "16 MiB: at least half of raw TCP with recv_into": 0.1,
    "1 MiB: at least half of raw TCP with recv_into": 0.1,
}


@pytest.mark.alone
def test_nothing_has_become_grossly_slower(tmp_path: Path) -> None:
    file = tmp_path / "goals.json"
    command = [sys.executable, "-m", "benchmarks", "--quick", "--only=calls,arrays", "--peers=labc,raw"]
    done = subprocess.run(
        [*command, f"--goals={file}"],
        cwd=ROOT,
        env={**os.environ, "BENCH_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    reached = json.loads(file.read_text())
    far = not can_make_hosts()  # it tells why not
    at_most = {goal: limit for goal, limit in AT_MOST.items() if far or not goal.startswith("between hosts")}
    exceeded = [goal for goal, limit in at_most.items() if not 0 < (reached[goal] or 0) < limit]
    exceeded += [goal for goal, limit in AT_LEAST.items() if (reached[goal] or 0) < limit]
    assert exceeded == [], done.stdout
