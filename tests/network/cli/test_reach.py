"""Scopes, perspectives, ports and addresses on the command line."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path

import pytest
from network.cli.runs import SERVES, Begin, Run

from labc.testing import Program

RIG = """\
import labc

@labc.register(scope="group")
def secret():
    return "of the group"

@labc.register(scope="host")
def near():
    return "of the host"

@labc.subscribe(topic="status", scope="host")
def show(text):
    print(f"near: {text}\\n", end="", flush=True)  # in one piece, as two threads print

@labc.subscribe(topic="**")
def far(*values):
    print(f"far: {values}\\n", end="", flush=True)

labc.serve()
"""


@pytest.fixture
def rig(begin: Begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """A program of the group "lab", with things of several scopes."""
    monkeypatch.setenv("LABC_GROUP", "lab")
    file = tmp_path / "rig.py"
    file.write_text(RIG)
    program = begin("serve", file)
    program.expect(SERVES, stream="stderr")
    return program


def port_of(run: Run, node: str) -> int:
    [info] = json.loads(run("nodes", "--json", "--node", node).stdout)
    return int(info["addresses"][-1].rpartition(":")[2])


@pytest.mark.usefixtures("rig")
def test_scopes_of_calls(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for scope in ("group", "host", "network"):
        assert run("call", "near", "--scope", scope).stdout == "of the host\n"
        assert run("call", "--scope", scope, "secret", "--all").stdout.endswith(": of the group\n")
    assert "nobody offers 'near'" in run("call", "near", "--scope", "node", "--find-timeout", 0.2, code=1).stderr
    monkeypatch.setenv("LABC_GROUP", "another")
    assert run("call", "near", "--scope", "host").stdout == "of the host\n"
    assert "nobody offers" in run("call", "near", "--scope", "group", "--find-timeout", 0.2, code=1).stderr
    assert "nobody offers" in run("call", "secret", "--scope", "host", "--find-timeout", 0.2, code=1).stderr


@pytest.mark.usefixtures("rig")
def test_perspectives(run: Run) -> None:
    host = socket.gethostname()
    for place in (host, "rig", "127.0.0.1"):
        assert run("call", "near", "--scope", "host", "--perspective", place).stdout == "of the host\n", place
    assert run("call", "near", "--scope", "node", "--perspective", "rig").stdout == "of the host\n"
    assert "'nowhere'" in run("call", "near", "--perspective", "nowhere", "--find-timeout", 0.2, code=1).stderr


@pytest.mark.usefixtures("rig")
def test_scopes_of_lists(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def names(scope: str) -> set[str]:
        return {info["name"] for info in json.loads(run("functions", "--json", "--scope", scope).stdout)}

    assert names("group") == {"near", "secret"}
    monkeypatch.setenv("LABC_GROUP", "")
    assert names("host") == {"near"}
    assert "nobody in the scope 'group' offers a function" in run("functions", "--scope", "group").stderr


def test_scopes_of_messages(run: Run, begin: Begin, rig: Program) -> None:
    run("publish", "status", "1", "--scope", "host")
    rig.expect("near: 1")
    run("publish", "status", "2", "--node", "rig")
    rig.expect("near: 2")
    run("publish", "status", "3", "--host", "localhost")
    rig.expect("near: 3")
    run("publish", "status", "4", "--scope", "node")
    run("publish", "status", "5")
    rig.expect("near: 5")
    assert "near: 4" not in rig.output
    nobody = run("publish", "status", "6", "--node", "nobody", code=1).stderr
    assert "nobody" in nobody
    assert nobody.count("\n") == 1
    listener = begin("subscribe", "status", "--scope", "host", "--count", 2)
    listener.expect(re.compile("listening to"), stream="stderr")
    run("publish", "status", "7", "--scope", "host")
    run("publish", "status", "8")
    assert listener.wait() == 0
    assert [line.split()[2] for line in listener.output.splitlines()] == ["7", "8"]


@pytest.mark.usefixtures("server")
def test_a_node_by_its_port(run: Run, rig: Program) -> None:
    port, other = port_of(run, "rig"), port_of(run, "server")
    assert run("call", "near", "--node", port).stdout == "of the host\n"
    assert f"not at {other}" in run("call", "near", "--node", other, "--find-timeout", 0.2, code=1).stderr
    assert run("nodes", "--node", port, "--json").stdout.count('"name": "rig"') == 1
    assert {info["node"] for info in json.loads(run("functions", "--node", port, "--json").stdout)} == {"rig"}
    assert run("ping", port, "--count", 1).stdout.startswith("rig on ")
    run("publish", "status", "by port", "--node", port)
    rig.expect("near: by port")
    assert "there is nobody at port 9 in" in run("nodes", "--node", 9).stderr


def test_watching_takes_addresses_aliases_and_ports(
    run: Run, begin: Begin, server: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABC_ALIASES", "bench=127.0.0.1,nas=10.99.0.1")
    watchers = [begin("nodes", "--watch", "--host", place) for place in ("127.0.0.1", "bench", "LocalHost")]
    by_port = begin("nodes", "--watch", "--node", port_of(run, "server"))
    elsewhere = begin("nodes", "--watch", "--host", "nas")
    for watcher in (*watchers, by_port):
        watcher.expect(re.compile("  joined   server on "))
    (tmp_path / "guest.py").write_text("")
    guest = begin("serve", tmp_path / "guest.py")
    for watcher in watchers:
        watcher.expect(re.compile("  joined   guest on "))
    guest.terminate()
    for watcher in watchers:
        watcher.expect(re.compile("  left     guest on "))
    server.kill()
    for watcher in watchers:
        watcher.expect(re.compile("  lost     server on "))
    by_port.expect(re.compile("  lost     server on "))
    assert "guest" not in by_port.output
    assert elsewhere.output == ""
