"""What a user would notice: with margins so wide that only a gross regression exceeds them.

What a call costs is counted in test_costs.py. Here it is timed, beside a call of the standard library that runs as much
Python: the ratio to a bare socket, which runs next to none, depends on who else uses the caches of the machine, and of
one and the same tree was several times as large on some days as on others. It serves for what waits where it must not,
as for an acknowledgement that the other end delays.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Callable
from pathlib import Path

import pytest

import labc
from labc.testing import can_make_hosts, python_program

ROOT = Path(__file__).parents[2]

SERVER = """
import xmlrpc.server
import labc

class Handler(xmlrpc.server.SimpleXMLRPCRequestHandler):
    protocol_version = "HTTP/1.1"  # the connection stays
    disable_nagle_algorithm = True

async def echo(x):
    return x

labc.register(echo)
labc.register(lambda x: x, name="plain echo")
server = xmlrpc.server.SimpleXMLRPCServer(("127.0.0.1", 0), Handler, logRequests=False)
server.register_function(lambda x: x, "echo")
labc.blocking.portal.node()
print("port", server.server_address[1], flush=True)
server.serve_forever()
"""
TIMES_AS_LONG = 1.0
"""As a call by XML-RPC, at most."""

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
@pytest.mark.parametrize("name", ["echo", "plain echo"])
def test_a_call_is_faster_than_one_by_xml_rpc(here: None, name: str) -> None:
    def median(call: Callable[[], object]) -> float:
        seconds = []
        for _ in range(200):
            began = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - began)
        return statistics.median(seconds)

    with python_program(SERVER) as server:
        port = server.expect(re.compile(r"port (\d+)"))[1]
        with xmlrpc.client.ServerProxy(f"http://127.0.0.1:{port}") as proxy:
            rounds = [
                (median(lambda: labc.call(name, "16 letters, bare")), median(lambda: proxy.echo("16 letters, bare")))
                for _ in range(5)
            ]
    ratio = statistics.median(ours / theirs for ours, theirs in rounds)
    print(f"\n{name}: {ratio:.2f} x XML-RPC")
    assert ratio < TIMES_AS_LONG, rounds


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
