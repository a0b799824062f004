"""Shares of another program, as their functions are asked; and files that come over its lane."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

import labc
from labc.files import Download, Folder, Summary

pytestmark = pytest.mark.usefixtures("here")

SERVER = "import labc\nlabc.serve()\n"


class There:
    """The node that has the shares."""

    def stream(self, name: str, *args: Any) -> Any:
        return labc.at(node="nas").stream(name, *args)

    def outgoing(self, values: Iterable[Any]) -> Any:
        return labc.outgoing(values)


@pytest.fixture
def logs(tmp_path: Path, serve) -> Path:
    root = tmp_path / "logs"
    (root / "a").mkdir(parents=True)
    for number in range(300):
        (root / "a" / f"{number}.log").write_bytes(random.Random(number).randbytes(number * 10))
    (root / "large.bin").write_bytes(random.Random(1).randbytes(20_000_003))
    (root / os.fsdecode(b"\xff\xfe")).write_text("no text in UTF-8")
    serve(SERVER, name="nas", LABC_SHARES__LOGS=str(root))
    return root


def fetch(to: Path, glob: str = "", connections: int = 4) -> Summary:
    to.mkdir(exist_ok=True)
    return Download(There(), "logs", "glob", glob, Folder(to), lambda path: path, connections).run()


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_shares_are_told(logs: Path) -> None:
    assert labc.at(node="nas").call("core.shares")["shares"][0][:3] == ["logs", True, False]


@pytest.mark.parametrize("connections", [1, 8])
def test_files_come_as_they_are(logs: Path, tmp_path: Path, connections: int) -> None:
    summary = fetch(tmp_path / "to", connections=connections)
    assert summary.failed == {}
    assert contents(tmp_path / "to") == contents(logs)
    assert fetch(tmp_path / "to").skipped == 302


def test_what_is_not_written_is_not_deleted(logs: Path) -> None:
    with pytest.raises(labc.FilesError, match="write = false"):
        list(labc.at(node="nas").stream("core.files.delete", "logs", labc.outgoing([["large.bin", None]])))
    assert (logs / "large.bin").exists()


def test_the_rights_of_the_settings(tmp_path: Path, serve) -> None:
    serve(SERVER, name="nas", LABC_SHARES__LOGS=str(tmp_path), LABC_ACCESS="call files/logs/*=nobody")
    with pytest.raises(labc.LabcError, match="does not allow"):
        list(labc.at(node="nas").stream("core.files.list", "logs", "glob", ""))


def test_a_provider_that_is_killed_meanwhile(logs: Path, tmp_path: Path, serve) -> None:
    """Another one of that name, with the same share, goes on."""
    server = serve(SERVER, name="nas", LABC_SHARES__LOGS=str(logs))
    (logs / "huge.bin").write_bytes(random.Random(2).randbytes(60_000_000))
    download = Download(There(), "logs", "glob", "", Folder(tmp_path / "to"), lambda path: path, 3)
    (tmp_path / "to").mkdir()
    threading.Timer(0.15, server.kill).start()
    summary = download.run()
    assert summary.failed == {}
    assert contents(tmp_path / "to") == contents(logs)
