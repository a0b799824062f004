"""``labc network``, as a user types it."""

from __future__ import annotations

import json
import re
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from keyed import make_members
from network.cli.runs import Begin, Run

from labc.security import credentials_of
from labc.security.authority import MEMBER_LIFE, create

INVITATION = re.compile(r"^  labc network join (labc-\w+)$")
SLOW = 30.0


def be(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """The programs that follow are of the user with this data folder."""
    monkeypatch.setenv("XDG_DATA_HOME", str(folder))


def test_making_and_joining(
    run: Run, begin: Begin, network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    be(monkeypatch, tmp_path / "one")
    making = begin("network", "create", network, "--as", "h1", "--address", "127.0.0.1")
    invitation = making.expect(INVITATION, SLOW)[1]
    be(monkeypatch, tmp_path / "two")
    joined = run("network", "join", invitation, "--as", "h2")
    assert joined.stdout.startswith(f"This computer is a member of the network {network!r} now")
    assert making.wait(SLOW) == 0
    assert "h2 joined from 127.0.0.1, seat 1; 0 left" in making.output
    (row,) = json.loads(run("network", "list", "--json").stdout)
    assert (row["network"], row["made_on"], row["joined_as"], row["state"]) == (network, "h1", "h2", "member")


def test_who_made_it_lists_and_revokes(run: Run, network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_members(tmp_path, network, ["h1", "h2"])
    be(monkeypatch, tmp_path / "h1")
    run("network", "revoke", network, "h2")
    assert json.loads(run("network", "members", network, "--json").stdout) == [
        {"host": "h1", "seat": 0, "state": "member"},
        {"host": "h2", "seat": 1, "state": "revoked"},
    ]
    assert "no member" in run("network", "revoke", network, "h2", code=1).stderr
    assert "put itself out" in run("network", "revoke", network, "h1", code=1).stderr


def test_inviting_renews_who_made_it(
    begin: Begin, network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who else should invite it?"""
    be(monkeypatch, tmp_path / "h1")
    create(network, "h1", datetime.now(UTC) - MEMBER_LIFE - timedelta(days=1))
    inviting = begin("network", "invite", network)
    inviting.expect(re.compile("own certificate was renewed, until"), SLOW)
    inviting.expect(INVITATION, SLOW)
    assert credentials_of(network) is not None


def test_another_member_can_only_leave(run: Run, network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_members(tmp_path, network, ["h1", "h2"])
    be(monkeypatch, tmp_path / "h2")
    assert "made on h1" in run("network", "members", network, code=1).stderr
    assert "made on h1" in run("network", "revoke", network, "h1", code=1).stderr
    run("network", "leave", network)
    assert "no member of a network with a key" in run("network").stderr


def test_what_is_refused(run: Run, network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_members(tmp_path, network, ["h1"])
    be(monkeypatch, tmp_path / "h1")
    assert "already" in run("network", "create", network, code=1).stderr
    assert "nothing was changed" in run("network", "leave", network, code=1).stderr
    assert "like 90s, 30m or 2h" in run("network", "invite", network, "--for", "soon", code=2).stderr
    assert "between 1s and 720h" in run("network", "invite", network, "--for", "800h", code=2).stderr
    assert "no member" in run("network", "invite", "another", code=1).stderr
    assert "typo" in run("network", "join", "labc-aaaaaaaaaaaaaaaa", code=1).stderr
    assert "no invitation" in run("network", "join", code=1).stderr, "there is nobody to ask"


def test_ctrl_c_ends_an_invitation(begin: Begin, network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_members(tmp_path, network, ["h1"])
    be(monkeypatch, tmp_path / "h1")
    inviting = begin("network", "invite", network, "--uses", "0")
    inviting.expect(INVITATION, SLOW)
    inviting.send_signal(signal.SIGINT)
    assert inviting.wait() == 130
    assert "Traceback" not in inviting.errors


def test_serving_and_calling_in_it(run: Run, server_in: None, network: str) -> None:
    assert run("call", "echo", "hi").stdout == "hi\n"
    assert f"The network {network!r} is encrypted: only its members" in run("nodes").stdout


@pytest.fixture
def server_in(begin: Begin, network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_members(tmp_path, network, ["h1"])
    be(monkeypatch, tmp_path / "h1")
    (tmp_path / "server.py").write_text("import labc\n@labc.register\ndef echo(x):\n    return x\nlabc.serve()\n")
    server = begin("serve", tmp_path / "server.py")
    server.expect(re.compile(f"is in the network {network!r}, which is encrypted"), SLOW, stream="stderr")
