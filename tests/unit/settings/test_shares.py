"""The setting ``shares``: its tables in files, variables and arguments, what a path counts from, what is said of
mistakes."""

from __future__ import annotations

import os
import tomllib
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labc.errors import SettingsError
from labc.settings import Settings, Share, checked, is_share_name, parsed, project_file
from labc.settings.writing import toml, with_value

NOWHERE = {"XDG_CONFIG_HOME": "/nowhere"}
NAMES = st.from_regex(r"[^\W_][\w.-]{0,63}", fullmatch=True)
PATHS = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=40).map("/{}".format)
SHARES = st.dictionaries(
    NAMES,
    st.builds(Share, PATHS.map(lambda text: str(Path(text))), st.booleans(), st.booleans(), st.booleans()),
    max_size=4,
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return folder / "labc.toml"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {"XDG_CONFIG_HOME": str(tmp_path / "config")}


@pytest.fixture
def user_file(environment: dict[str, str]) -> Path:
    path = Path(environment["XDG_CONFIG_HOME"], "labc", "labc.toml")
    path.parent.mkdir(parents=True)
    return path


def complaint(environment: dict[str, str], **arguments: object) -> str:
    with pytest.raises(SettingsError) as failure:
        Settings.load(environment, **arguments)
    return str(failure.value)


def test_names_of_shares() -> None:
    assert all(map(is_share_name, ["logs", "a", "run-17", "x_y", "0", "ä", "a" * 64]))
    assert not any(map(is_share_name, ["", "_a", "-a", ".a", "a/b", "a b", "a:b", "a" * 65, "a\n"]))


def test_a_share_can_be_read_and_no_more() -> None:
    assert Share("/x") == Share("/x", read=True, write=False, open=False)
    assert Settings().shares == {}


def test_tables_in_a_file(project: Path, environment: dict[str, str]) -> None:
    project.write_text(
        "timeout = 5\n\n"
        '[shares.logs]\npath = "/var/log/rig"\nread = true\nwrite = false\n\n'
        "[ shares . \"run-1.7\" ]\nwrite = true\nread = false\nopen = true\npath = '/srv/drop'\n"
    )
    loaded = Settings.load_with_sources(environment)
    assert loaded.settings.shares == {
        "logs": Share("/var/log/rig"),
        "run-1.7": Share("/srv/drop", read=False, write=True, open=True),
    }
    assert loaded.sources == {
        "timeout": "labc.toml, line 1",
        "shares": "labc.toml, line 3",
        "shares.logs": "labc.toml, line 3",
        "shares.run-1.7": "labc.toml, line 8",
    }


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('shares = {first = {path = "/x"}, logs = {path = "/y"}}', 1),
        ('shares.first.path = "/x"\nshares.logs.path = "/y"', 2),
        ('[shares]\nfirst = {path = "/x"}\nlogs = {path = "/y"}', 3),
        ('[shares]\nfirst.path = "/x"\n"logs".path = "/y"', 3),
        ('\ufeff[shares.logs]\npath = "/y"\n[shares.first]\npath = "/x"', 1),
        ('[aliases]\nlogs = "a"\r\n[shares]\r\nfirst.path = "/x"\r\nlogs.path = "/y"', 5),
    ],
)
def test_other_ways_to_write_it(project: Path, environment: dict[str, str], text: str, line: int) -> None:
    project.write_text(text, encoding="utf-8", newline="")
    loaded = Settings.load_with_sources(environment)
    assert loaded.settings.shares == {"first": Share("/x"), "logs": Share("/y")}
    assert loaded.sources["shares.logs"] == f"labc.toml, line {line}"


def test_of_several_places_the_last_wins_for_a_share_as_a_whole(
    project: Path, environment: dict[str, str], user_file: Path
) -> None:
    user_file.write_text("".join(f'[shares.{name}]\npath = "/u"\nwrite = true\nopen = true\n' for name in "abcde"))
    project.write_text("".join(f'[shares.{name}]\npath = "/p"\nread = false\n' for name in "bcde"))
    variables = {"LABC_SHARES": "c=/v,d=/v,write", "LABC_SHARES__D": "/w"}
    loaded = Settings.load_with_sources({**environment, **variables}, shares={"e": {"path": "/arg"}})
    assert loaded.settings.shares == {
        "a": Share("/u", write=True, open=True),
        "b": Share("/p", read=False),
        "c": Share("/v"),
        "d": Share("/w"),
        "e": Share("/arg"),
    }
    assert {name: loaded.sources[f"shares.{name}"] for name in "abcde"} == {
        "a": f"{user_file}, line 1",
        "b": "labc.toml, line 1",
        "c": "LABC_SHARES",
        "d": "LABC_SHARES__D",
        "e": "argument",
    }


def test_a_relative_path_counts_from_the_folder_of_its_file(
    project: Path, environment: dict[str, str], user_file: Path
) -> None:
    user_file.write_text('[shares]\nu.path = "logs"\nup.path = "../logs"\nhome.path = "~/logs"\nfull.path = "/x"\n')
    project.write_text('[shares]\np.path = "logs"\nhere.path = "."\n')
    variables = {"LABC_SHARES__V": "logs", "LABC_SHARES__H": "~"}
    arguments = {"a": {"path": "./logs"}, "b": {"path": Path("logs")}, "c": Share("~/logs")}
    found = Settings.load({**environment, **variables}, shares=arguments).shares
    home = os.environ["HOME"]
    here = project.parent
    assert {name: share.path for name, share in found.items()} == {
        "u": f"{user_file.parent}/logs",
        "up": f"{user_file.parent}/../logs",
        "home": f"{home}/logs",
        "full": "/x",
        "p": f"{here}/logs",
        "here": str(here),
        "v": f"{here}/logs",
        "h": home,
        "a": f"{here}/logs",
        "b": f"{here}/logs",
        "c": f"{home}/logs",
    }


def test_a_home_that_nobody_knows(project: Path, environment: dict[str, str]) -> None:
    project.write_text('[shares.logs]\nread = true\npath = "~no such user/logs"\n')
    said = complaint(environment)
    assert said.startswith('labc.toml, line 3: shares: "logs".path = "~no such user/logs": nobody knows this home')
    project.write_text('[shares.logs]\npath = "./~no such user"\n')
    assert Settings.load(environment).shares["logs"].path == f"{project.parent}/~no such user"


@pytest.mark.skipif(os.name != "posix", reason="elsewhere the current folder can't be deleted")
def test_a_current_folder_that_was_deleted(project: Path, environment: dict[str, str]) -> None:
    project.parent.rmdir()
    assert "was deleted: expected a path from the root on" in complaint(environment, shares={"a": {"path": "x"}})
    assert Settings.load(environment, shares={"a": {"path": "/x"}}).shares == {"a": Share("/x")}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('path = "/x"\nwrtie = true', '4: shares: "logs".wrtie = True: no such key of a share; did you mean write?'),
        ('path = "/x"\nmode = "rw"', '4: shares: "logs".mode = "rw": no such key of a share, which has path, read, w'),
        ('path = "/x"\nread = "yes"', '4: shares: "logs".read = "yes": expected true or false'),
        ('path = "/x"\nopen = 1', '4: shares: "logs".open = 1: expected true or false'),
        ('path = "/x"\nwrite = {a = 1}', '4: shares: "logs".write: expected true or false'),
        ("read = true\npath = 5", '4: shares: "logs".path = 5: expected the path of a folder, like "/var/log/rig"'),
        ('path = ""', '3: shares: "logs".path = "": expected the path of a folder'),
        ('path = " "', '3: shares: "logs".path = " ": expected the path of a folder'),
        ('path = "/a\\u0000b"', '3: shares: "logs".path = '),
        ('path = ["/x"]', "3: shares: \"logs\".path = ['/x']: expected the path of a folder"),
        ("read = true", '2: shares: "logs": expected a path in it, like path = "/var/log/rig"'),
        ("", '2: shares: "logs": expected a path in it'),
        ('path = "/x"\n[shares."a b"]\npath = "/x"', '4: shares: "a b": expected a name of at most 64 letters, digits'),
        ('path = "/x"\n[shares.""]\npath = "/x"', '4: shares: "": expected a name of'),
    ],
)
def test_mistakes_in_a_file_are_told_with_their_line(
    project: Path, environment: dict[str, str], text: str, says: str
) -> None:
    project.write_text(f"timeout = 5\n[shares.logs]\n{text}\n")
    assert complaint(environment).startswith(f"labc.toml, line {says}")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("shares = 5", "shares = 5: expected names with a table each, like {logs = {path = "),
        (
            '[shares]\npath = "/x"',
            'shares: "path" = "/x": expected a table, like {path = "/var/log/rig", write = true}',
        ),
        ('[[shares]]\npath = "/x"', "shares = [{'path': '/x'}]: expected names with a table each"),
        ('share.logs.path = "/x"', "share: no such setting; did you mean shares?"),
    ],
)
def test_tables_of_another_form(project: Path, environment: dict[str, str], text: str, says: str) -> None:
    project.write_text(text)
    assert says in complaint(environment)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("logs=/var/log/rig", {"logs": Share("/var/log/rig")}),
        (
            " logs = /a=b , write ,b=/c d,no-read,open,",
            {"logs": Share("/a=b", write=True), "b": Share("/c d", False, open=True)},
        ),
        ("a=/x,read,no-write,no-open", {"a": Share("/x")}),
        ("read=/x,read", {"read": Share("/x")}),
    ],
)
def test_texts(project: Path, environment: dict[str, str], text: str, expected: dict[str, Share]) -> None:
    assert Settings.load({**environment, "LABC_SHARES": text}).shares == expected


def test_one_share_for_each_variable(project: Path, environment: dict[str, str]) -> None:
    variables = {"LABC_SHARES__LOGS": "/var/log/rig", "LABC_SHARES__RUN_1": "/srv/run,write,open"}
    loaded = Settings.load_with_sources({**environment, **variables})
    assert loaded.settings.shares == {
        "logs": Share("/var/log/rig"),
        "run_1": Share("/srv/run", write=True, open=True),
    }
    assert loaded.sources["shares.run_1"] == "LABC_SHARES__RUN_1"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("/x", "expected names with a table each, like .*or logs=/var/log/rig,write$"),
        ("write,a=/x", "expected names with a table each"),
        ("a=/x,a=/y", "expected names with a table each"),
        ("a=/x,wirte", '"a" = "wirte": expected after a path "read", "write" or "open", or .*"no-".*comma'),
        ("a=/x,write,no-write", '"a" = "no-write": expected after a path'),
        ("a=/x,path", '"a" = "path": expected after a path'),
        ("a=/x,no-path", '"a" = "no-path": expected after a path'),
        ("a=", '"a".path = "": expected the path of a folder'),
        ("a b=/x", '"a b": expected a name of at most 64'),
    ],
)
def test_mistakes_in_a_variable(project: Path, environment: dict[str, str], text: str, says: str) -> None:
    with pytest.raises(SettingsError, match=f"environment variable LABC_SHARES=.*{says}"):
        Settings.load({**environment, "LABC_SHARES": text})


@pytest.mark.parametrize(
    "value",
    [
        "logs=/x",
        [Share("/x")],
        {5: {"path": "/x"}},
        {"logs": "/x"},
        {"logs": None},
        {"logs": {"path": b"/x"}},
        {"logs": {"path": "/x", 5: True}},
        {"logs": Share(5)},  # type: ignore[arg-type]
        {"logs": {"path": "/\ud800"}},
    ],
)
def test_mistakes_in_arguments(project: Path, environment: dict[str, str], value: object) -> None:
    said = complaint(environment, shares=value)
    assert said.startswith("argument shares=")
    assert "expected" in said or "no such key" in said


@given(SHARES)
@settings(deadline=None)
def test_what_is_written_is_read_again(shares: dict[str, Share]) -> None:
    tables = {name: asdict(share) for name, share in shares.items()}
    assert tomllib.loads(f"shares = {toml(shares)}") == {"shares": tables}
    text = with_value("timeout = 5.0\n", "shares", shares)
    assert tomllib.loads(text) == {"timeout": 5.0, "shares": tables}
    loaded = Settings.load_with_sources(NOWHERE, {project_file(): text})
    assert loaded.settings.shares == shares
    assert checked("shares", loaded.settings.shares) == shares
    lines = text.split("\n")
    for name in shares:
        line = int(loaded.sources[f"shares.{name}"].rpartition(" ")[2])
        assert lines[line - 1] in (f"[shares.{name}]", f'[shares."{name}"]')


@given(SHARES, st.booleans())
@settings(deadline=None)
def test_a_text_says_the_same_as_tables(shares: dict[str, Share], explicit: bool) -> None:
    """Where a path has no comma and no space around it: those it can't say."""
    shares = {
        name: share for name, share in shares.items() if "," not in share.path and share.path.strip() == share.path
    }
    parts = []
    for name, share in shares.items():
        parts.append(f"{name}={share.path}")
        for word, default in (("read", True), ("write", False), ("open", False)):
            if explicit or getattr(share, word) is not default:
                parts.append(word if getattr(share, word) else f"no-{word}")
    assert parsed("shares", ",".join(parts)) == shares


@given(
    st.lists(st.sampled_from(["a", "logs", "=", "=/x", ",", ",write", ",no-", "read", "~", " ", "ä/", "."])).map(
        "".join
    )
)
def test_any_text_is_understood_or_refused(text: str) -> None:
    try:
        found = parsed("shares", text)
    except ValueError:
        return
    assert all(is_share_name(name) and Path(share.path).is_absolute() for name, share in found.items())
    assert len(found) == text.count("=") - sum(share.path.count("=") for share in found.values())
