"""``labc settings``."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from network.cli.runs import Run

from labc.settings import Settings


@pytest.fixture(autouse=True)
def user_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a user who has none yet; and no variables."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for variable in [name for name in os.environ if name.startswith("LABC_")]:
        monkeypatch.delenv(variable)
    return tmp_path / "config" / "labc" / "labc.toml"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def test_a_value_is_set_shown_and_taken_back(run: Run, user_file: Path, project: Path) -> None:
    assert run("settings", "get", "timeout").stdout == "3600.0\n"
    assert run("settings", "set", "timeout", "5").stdout == f"timeout = 5.0 in {user_file}\n"
    assert run("settings", "set", "timeout", "6", "--project", cwd=project).stdout == "timeout = 6.0 in labc.toml\n"
    assert run("settings", "get", "timeout", cwd=project).stdout == "6.0\n"
    for verb in ((), ("show",)):
        lines = run("settings", *verb, cwd=project).stdout.splitlines()
        assert lines[0].split() == ["SETTING", "VALUE", "SET", "BY"]
        assert [line.split(maxsplit=2) for line in lines if line.startswith(("timeout", "name"))] == [
            ["name", '""'],
            ["timeout", "6.0", "labc.toml, line 1"],
        ]
    shown = json.loads(run("settings", "show", "--json").stdout)
    assert list(shown) == list(Settings.explained())
    assert shown["timeout"] == {"value": 5.0, "source": f"{user_file}, line 1", "default": 3600.0}
    assert run("settings", "unset", "timeout", "--project", cwd=project).stdout == (
        f"timeout = 5.0, {user_file}, line 1\n"
    )
    assert run("settings", "unset", "timeout").stdout == "timeout = 3600.0, the default\n"
    assert run("settings", "unset", "timeout", code=1).stderr == f"labc: {user_file} does not set timeout\n"


def test_the_written_file_is_not_overwritten(run: Run, user_file: Path) -> None:
    assert str(user_file) in run("settings", "init").stdout
    run("settings", "set", "queue_size", "7")
    assert "\nqueue_size = 7\n" in user_file.read_text()
    assert f"{user_file} is there already" in run("settings", "init", code=1).stderr
    assert run("settings", "get", "queue_size", "--json").stdout == "7\n"


def test_path_tells_what_is_there(run: Run, user_file: Path, project: Path) -> None:
    run("settings", "init")
    expected = f"{project / 'labc.toml'}  (not there)\n{user_file}\n"
    assert run("settings", "path", cwd=project).stdout == expected


def test_who_says_otherwise_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABC_TIMEOUT", "9")
    assert "it has no effect: LABC_TIMEOUT says otherwise" in run("settings", "set", "timeout", "5").stdout


def test_shares_are_shown_one_by_one(run: Run, user_file: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [line.split() for line in run("settings").stdout.splitlines() if "shares" in line] == [["shares", "{}"]]
    assert json.loads(run("settings", "show", "--json").stdout)["shares"] == {
        "value": {},
        "source": None,
        "default": {},
        "sources": {},
    }
    (project / "labc.toml").write_text('timeout = 1\n\n[shares.logs]\npath = "logs"\n')
    monkeypatch.setenv("LABC_SHARES__DROP", "/srv/drop,write,no-read")
    lines = [line for line in run("settings", cwd=project).stdout.splitlines() if line.startswith("shares")]
    assert [" ".join(line.split()) for line in lines] == [
        f'shares.logs {{path = "{project}/logs", read = true, write = false, open = false}} labc.toml, line 3',
        'shares.drop {path = "/srv/drop", read = false, write = true, open = false} LABC_SHARES__DROP',
    ]
    values = {
        "logs": {"path": f"{project}/logs", "read": True, "write": False, "open": False},
        "drop": {"path": "/srv/drop", "read": False, "write": True, "open": False},
    }
    assert json.loads(run("settings", "show", "--json", cwd=project).stdout)["shares"] == {
        "value": values,
        "source": "LABC_SHARES__DROP",
        "default": {},
        "sources": {"logs": "labc.toml, line 3", "drop": "LABC_SHARES__DROP"},
    }
    assert json.loads(run("settings", "get", "shares", cwd=project).stdout) == values


def test_shares_are_set_and_taken_back(run: Run, user_file: Path, project: Path) -> None:
    """A relative path is meant where it is typed, whatever file it goes to."""
    shown = f'shares = {{logs = {{path = "{project}/logs", read = true, write = true, open = false}}}}'
    assert run("settings", "set", "shares", "logs=logs,write", cwd=project).stdout == f"{shown} in {user_file}\n"
    told = run("settings", "set", "shares", "logs=/x", "--project", cwd=project).stdout
    assert told == 'shares = {logs = {path = "/x", read = true, write = false, open = false}} in labc.toml\n'
    told = run("settings", "unset", "shares", "--project", cwd=project).stdout
    assert told == f"{shown}, {user_file}, line 1\n"
    run("settings", "set", "shares", "data=/y", cwd=project)
    assert list(json.loads(run("settings", "get", "shares").stdout)) == ["data"]
    assert run("settings", "unset", "shares").stdout == "shares = {}, the default\n"


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("get", "tiemout"), 2, "no such setting: 'tiemout'; did you mean 'timeout'?"),
        (("set", "timeout", "soon"), 2, "timeout = 'soon': expected seconds, from 0 to 1e9"),
        (("set", "timeout", "-1"), 2, "timeout = '-1': expected seconds, from 0 to 1e9"),
        (("set", "timeout", "inf"), 2, "timeout = 'inf': expected seconds, from 0 to 1e9"),
        (("set", "fabric_lease", "10"), 2, "expected at least fabric_lease + 0.25 = 10.25 s"),
        (("set", "shares", "/x"), 2, "shares = '/x': expected names with a table each"),
        (("set", "shares", "a=/x,wirte"), 2, '"a" = "wirte": expected after a path "read", "write" or "open"'),
        (("set", "max_message_bytes", "much"), 2, 'expected a number of bytes, or a text like "64 MiB"'),
    ],
)
def test_mistakes(run: Run, user_file: Path, words: tuple[str, ...], code: int, says: str) -> None:
    assert says in run("settings", *words, code=code).stderr
    assert not user_file.exists()


def test_a_broken_file_stops_every_verb(run: Run, project: Path) -> None:
    (project / "labc.toml").write_text("timout = 3\n")
    sentence = "labc: labc.toml, line 1: timout: no such setting; did you mean timeout?\n"
    for words in (("nodes",), ("call", "echo"), ("settings",)):
        assert run(*words, code=2, cwd=project).stderr == sentence, words


def test_a_file_that_is_not_toml_is_not_touched(run: Run, project: Path) -> None:
    path = project / "labc.toml"
    path.write_text("timeout = = 3\n")
    for words in (("set", "timeout", "1"), ("unset", "timeout")):
        told = run("settings", *words, "--project", code=2, cwd=project).stderr
        assert told == "labc: labc.toml, line 1, column 11: invalid value\n"
    assert path.read_text() == "timeout = = 3\n"


def test_bad_values_can_be_mended(run: Run, project: Path) -> None:
    path = project / "labc.toml"
    path.write_text("timeout = 'soon'\nqueue_size = 0\n")
    assert "queue_size" in run("settings", "set", "timeout", "1", "--project", code=2, cwd=project).stderr
    assert run("settings", "unset", "queue_size", "--project", cwd=project).stdout == "queue_size = 1000, the default\n"
    assert path.read_text() == "timeout = 1.0\n"


def test_a_link_stays_one_and_a_secret_file_secret(run: Run, user_file: Path, tmp_path: Path) -> None:
    target = tmp_path / "dotfiles.toml"
    target.write_bytes(b"name = 'x'\r\n")
    target.chmod(0o600)
    user_file.parent.mkdir(parents=True)
    user_file.symlink_to(target)
    assert "says otherwise" not in run("settings", "set", "timeout", "5", cwd=tmp_path).stdout
    assert user_file.is_symlink()
    assert target.read_bytes().startswith(b"name = 'x'\r\n")
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert run("settings", "get", "timeout").stdout == "5.0\n"


def test_the_users_file_may_be_that_of_the_folder(run: Run, user_file: Path) -> None:
    user_file.parent.mkdir(parents=True)
    told = run("settings", "set", "timeout", "5", cwd=user_file.parent).stdout
    assert told == f"timeout = 5.0 in {user_file}\n"


def test_where_nothing_can_be_written(run: Run, user_file: Path) -> None:
    user_file.parent.parent.write_text("a file, not a folder")
    assert f"{user_file} can't be written: " in run("settings", "set", "timeout", "1", code=1).stderr
