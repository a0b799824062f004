"""``labc shares``, ``ls``, ``get``, ``put`` and ``sync``."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path

import pytest
from network.cli.runs import SERVES, Begin, Run
from network.cli.test_completion import complete_at_last

HOST = socket.gethostname()


@pytest.fixture
def logs(tmp_path: Path, begin: Begin, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "logs"
    (root / "2026").mkdir(parents=True)
    (root / "2026" / "a.log").write_bytes(bytes(1500))
    (root / "2026" / "b.txt").write_text("b")
    os.utime(root / "2026" / "a.log", (1_000_000, 1_000_000))
    (tmp_path / "inbox").mkdir()
    (tmp_path / "here").mkdir()
    (tmp_path / "server.py").write_text("import labc\n")
    shares = f"logs={root},inbox={tmp_path / 'inbox'},write"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABC_SHARES", shares)
        server = begin("serve", tmp_path / "server.py")
        server.expect(SERVES, stream="stderr")
    monkeypatch.chdir(tmp_path / "here")
    return root


@pytest.mark.usefixtures("logs")
def test_what_there_is(run: Run) -> None:
    assert run("shares").stdout.splitlines()[1:] == [
        f"{HOST}:inbox  yes   yes    server",
        f"{HOST}:logs   yes   no     server",
    ]
    assert [share["name"] for share in json.loads(run("shares", HOST, "--json").stdout)] == ["inbox", "logs"]
    assert run("ls", f"{HOST}:logs/2026/*.log").stdout.splitlines()[1:] == ["1970-01-12 13:46:40  1.5 kB  2026/a.log"]
    (info,) = json.loads(run("ls", f"{HOST}:logs", "--json", "--matching", r".*\.log").stdout)
    assert info == {"path": "logs:2026/a.log", "size": 1500, "modified": 1_000_000.0, "executable": False}


@pytest.mark.usefixtures("logs")
def test_there_and_back(run: Run, tmp_path: Path) -> None:
    here, inbox = tmp_path / "here", tmp_path / "inbox"
    told = run("get", f"{HOST}:logs/2026").stdout
    assert told.startswith("2 files, 1.5 kB in ")
    assert (here / "2026" / "a.log").read_bytes() == bytes(1500)
    assert "0 files, 0 B" in (told := run("get", f"{HOST}:logs/2026", ".", "-c", "1").stdout)
    assert "2 files were there already" in told
    assert json.loads(run("put", "2026", f"{HOST}:inbox/run", "--json").stdout)["files"] == 2
    assert (inbox / "run" / "2026" / "b.txt").read_text() == "b"
    assert run("put", "2026/", f"{HOST}:inbox", "--quiet").stdout == ""
    assert (inbox / "b.txt").read_text() == "b"


@pytest.mark.usefixtures("logs")
def test_sync_means_what_is_in_the_folder(run: Run, tmp_path: Path) -> None:
    run("sync", f"{HOST}:logs/2026", "may")
    assert sorted(os.listdir(tmp_path / "here" / "may")) == ["a.log", "b.txt"]
    (tmp_path / "here" / "may" / "new").write_text("x")
    assert run("sync", "may", f"{HOST}:inbox/may").stdout.startswith("3 files")
    (tmp_path / "here" / "may" / "new").write_text("xyz")
    told = run("sync", "may/", f"{HOST}:inbox/may/").stdout
    assert told.startswith("1 file, 3 B in ")
    assert "2 files were there already" in told
    assert (tmp_path / "inbox" / "may" / "new").read_text() == "xyz"


@pytest.mark.usefixtures("logs")
def test_what_does_not_arrive_is_told(run: Run, tmp_path: Path) -> None:
    (tmp_path / "here" / "2026" / "a.log" / "in the way").mkdir(parents=True)
    done = run("get", f"{HOST}:logs/2026", code=1)
    assert done.stderr.startswith("labc: '2026/a.log': ")
    assert done.stdout.startswith("1 file, ")
    assert "1 file failed" in done.stdout
    answer = json.loads(run("get", f"{HOST}:logs/2026", "--json", code=1).stdout)
    assert (answer["skipped"], list(answer["failed"])) == (1, ["2026/a.log"])


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["ls", "logs"], 2, "expected HOST:SHARE/PATH"),
        (["get", "nas:"], 2, "expected HOST:SHARE/PATH"),
        (["put", f"{HOST}:inbox"], 2, "where to?"),
        (["sync", "a", "b"], 2, "one of the two folders has to be of a share"),
        (["get", f"{HOST}:logs", "-c", "0"], 2, "a whole number, 1 or more"),
        (["ls", f"{HOST}:other"], 1, "there is no share 'other'"),
        (["ls", f"{HOST}:logs/2025"], 1, "'2025': no such file or directory"),
        (["put", "nothing", f"{HOST}:inbox"], 1, "'nothing': there is no such file or folder here"),
        (["put", ".", f"{HOST}:logs"], 1, "write = false"),
        (["ls", f"{HOST}:logs", "--matching", "("], 1, "the regular expression '('"),
    ],
)
@pytest.mark.usefixtures("logs")
def test_what_can_not_be_done_is_a_sentence(run: Run, words: list[str], code: int, sentence: str) -> None:
    done = run(*words, code=code)
    assert sentence in done.stderr
    assert done.stderr.startswith("labc: ")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


@pytest.mark.usefixtures("logs")
def test_shares_are_offered_at_tab() -> None:
    words = complete_at_last("labc get ")
    assert words == [f"{HOST}:inbox/", f"{HOST}:logs/"]


def test_ctrl_c_ends_it_and_the_same_command_goes_on(logs: Path, run: Run, begin: Begin, tmp_path: Path) -> None:
    (logs / "huge.bin").write_bytes(b"0123456789abcde\n" * 20_000_000)
    program = begin("get", f"{HOST}:logs/huge.bin")
    here = tmp_path / "here"
    while not any(journal.stat().st_size > 500 for journal in here.glob(".labc-part-*.journal")):
        assert program.process.poll() is None, program.errors
    program.send_signal(signal.SIGINT)
    assert program.wait(5.0) == 130
    assert not (here / "huge.bin").exists()
    assert json.loads(run("get", f"{HOST}:logs/huge.bin", "--json").stdout)["bytes"] < 320_000_000
    assert (here / "huge.bin").stat().st_size == 320_000_000


def test_nobody_there(run: Run) -> None:
    assert "no shares that this computer may use" in run("shares").stdout
