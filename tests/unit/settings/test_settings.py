"""Where settings come from, and what is said of mistakes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from labc.errors import SettingsError
from labc.settings import Settings, project_file, user_file

Write = Callable[[str], Path]


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Of a user with an empty home, in an empty folder."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return {"XDG_CONFIG_HOME": str(tmp_path / "config")}


@pytest.fixture
def write_user_file(environment: dict[str, str]) -> Write:
    def write(text: str) -> Path:
        path = user_file(environment)
        assert path is not None
        path.parent.mkdir(parents=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


def complaint(environment: dict[str, str], **arguments: object) -> str:
    with pytest.raises(SettingsError) as caught:
        Settings.load(environment, **arguments)
    return str(caught.value)


def test_with_nothing_set_all_are_the_defaults(environment: dict[str, str]) -> None:
    assert Settings.load_with_sources(environment) == (Settings(), {})
    assert Settings.load(environment, name=None) == Settings()


def test_the_nearer_source_wins(environment: dict[str, str], write_user_file: Write) -> None:
    path = write_user_file('network = "user"\nname = "user"\n\ntimeout = 1\nfind_timeout = 1.5\nqueue_size = 1\n')
    project_file().write_text('name = "project"\ntimeout = 2\nfind_timeout = 2.5\nqueue_size = 2\n')
    environment |= {"LABC_TIMEOUT": "3", "LABC_FIND_TIMEOUT": "3.5", "LABC_QUEUE_SIZE": "3", "LABC_NAME": ""}
    settings, sources = Settings.load_with_sources(environment, find_timeout=4.5, queue_size=4, processes=None)
    assert settings == Settings(network="user", name="project", timeout=3.0, find_timeout=4.5, queue_size=4)
    assert sources == {
        "network": f"{path}, line 1",
        "name": "labc.toml, line 1",
        "timeout": "LABC_TIMEOUT",
        "find_timeout": "argument",
        "queue_size": "argument",
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('name = "x"\n\n netwrok = "y"\n', "labc.toml, line 3: netwrok: no such setting; did you mean network?"),
        ("xyz = 1", "labc.toml, line 1: xyz: no such setting"),
        ("\n[network]\nname = 1", "labc.toml, line 2: network is a table here: expected printable text"),
        ('"timeout"="soon"', "labc.toml, line 1: timeout = 'soon': expected seconds, from 0 to 1e9"),
        ("name = 'a'\ntimeout = = 3", "labc.toml, line 2, column 11: invalid value"),
        ('name = "a', "labc.toml, end of document: "),
        ("timeout = 1\ntimeout = 2", "labc.toml, line 2: timeout is set a second time"),
        ("'timeout' = 1\r\n# more\r\n\"timeout\"=2\r\n", "labc.toml, line 3: timeout is set a second time"),
        ('name = """\ntimeout = 1\ntimeout = 2\n"""\nname = 1', "labc.toml, line 5: name is set a second time"),
        ("\ufefftimeouts = 1", "labc.toml, line 1: timeouts: no such setting; did you mean timeout?"),
        ("adresses = 1", "labc.toml, line 1: adresses: no such setting"),
        (
            '\nlane_ports = "50k"',
            "labc.toml, line 2: lane_ports = '50k': expected a text like \"50000-50100\", or an empty",
        ),
        ("timeout.x = 1", "labc.toml, line 1: timeout is a table here: expected seconds"),
        ("timeout = " + "9" * 400, "labc.toml, line 1: timeout = 9999"),
        ("queue_size = " + "9" * 5000, "labc.toml: exceeds the limit"),
        ("queue_size = " + "[" * 3000, "labc.toml: nested too deeply"),
        ("fabric_lease = 5", "heartbeat_timeout=2.5: expected at least fabric_lease + 0.25 = 5.25 s"),
    ],
)
def test_a_mistake_in_a_file_is_told_with_its_line(environment: dict[str, str], text: str, says: str) -> None:
    project_file().write_text(text)
    assert complaint(environment).startswith(says)


def test_a_file_that_can_not_be_read(environment: dict[str, str], write_user_file: Write) -> None:
    project_file().write_bytes(b"name = '\xff'")
    assert complaint(environment) == "labc.toml can't be read: it is not UTF-8 text"
    project_file().unlink()
    project_file().mkdir()
    assert complaint(environment).startswith("labc.toml can't be read: ")
    project_file().rmdir()
    path = write_user_file("timeout = true")
    assert complaint(environment) == f"{path}, line 1: timeout = True: expected seconds, from 0 to 1e9"


def test_mistakes_in_variables_and_arguments(environment: dict[str, str]) -> None:
    misspelt = environment | {"LABC_NETWROK": "x"}
    assert complaint(misspelt) == "environment variable LABC_NETWROK: no such setting; did you mean LABC_NETWORK?"
    misspelt = environment | {"LABC_timeout": "5"}
    assert complaint(misspelt) == "environment variable LABC_timeout: no such setting; did you mean LABC_TIMEOUT?"
    assert complaint(environment | {"LABC_TIMEOUT": "soon"}) == (
        "environment variable LABC_TIMEOUT='soon': expected seconds, from 0 to 1e9"
    )
    assert complaint(environment, netwrok="x") == "argument 'netwrok': no such setting; did you mean 'network'?"
    assert complaint(environment, when_full="wait") == ("argument when_full='wait': expected 'drop-oldest' or 'hold'")
    assert "heartbeat_timeout=1: expected at least fabric_lease + 0.25 = 2.25 s" in complaint(
        environment, heartbeat_timeout=1
    )


def test_a_file_of_windows(environment: dict[str, str]) -> None:
    project_file().write_bytes(b"\xef\xbb\xbfname = 'x'\r\ntimeout = 5\r\n")
    settings, sources = Settings.load_with_sources(environment)
    assert (settings.name, settings.timeout, sources["timeout"]) == ("x", 5.0, "labc.toml, line 2")


def test_a_folder_that_may_not_be_entered_has_no_file(
    environment: dict[str, str], write_user_file: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a service runs for somebody with the home of another user."""
    path = write_user_file("timeout = 5")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert complaint(environment) == f"{path} can't be read: Permission denied"
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert Settings.load(environment) == Settings()


def test_the_users_file_is_where_the_system_keeps_such_files(monkeypatch: pytest.MonkeyPatch) -> None:
    assert user_file({"XDG_CONFIG_HOME": "/x", "HOME": "/home/me"}) == Path("/x/labc/labc.toml")
    for platform, folder in (("linux", "/home/me/.config"), ("darwin", "/home/me/Library/Application Support")):
        monkeypatch.setattr("sys.platform", platform)
        assert user_file({"HOME": "/home/me"}) == Path(folder, "labc", "labc.toml")
    monkeypatch.setattr("sys.platform", "win32")
    assert user_file({"APPDATA": "C:/me"}) == Path("C:/me/labc/labc.toml")
    assert user_file({}) is None


@pytest.mark.skipif(os.name != "posix", reason="homes are found by the user's id")
def test_a_user_without_a_home_has_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError

    monkeypatch.setattr(Path, "home", no_home)
    assert user_file({}) is None
    assert Settings.load({}) == Settings()
