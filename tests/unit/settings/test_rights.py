"""The setting ``access``: its lines in files, variables and arguments, and what is said of mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from labc.errors import SettingsError
from labc.settings import Settings, right
from labc.settings.rights import Right


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "labc.toml"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {"XDG_CONFIG_HOME": str(tmp_path / "config")}


@pytest.mark.parametrize(
    ("key", "people", "expected"),
    [
        ("lights.*", "localhost", Right("lights.*", None, "lights.*", ("localhost",))),
        ("call lights.*", " a , b,a ", Right("call lights.*", "call", "lights.*", ("a", "b"))),
        ("publish x/**", "10.0.0.0/8", Right("publish x/**", "publish", "x/**", ("10.0.0.0/8",))),
        ("subscribe **", "nobody", Right("subscribe **", "subscribe", "**", ("nobody",))),
        ("a", "Localhost, Bench1", Right("a", None, "a", ("localhost", "Bench1"))),
        ("a", "NOBODY", Right("a", None, "a", ("nobody",))),
        ("call", "everybody", Right("call", None, "call", ("everybody",))),
        ("call call me", "seat 12", Right("call call me", "call", "call me", ("seat 12",))),
        ("caller id", "fd00::1, lab3.local", Right("caller id", None, "caller id", ("fd00::1", "lab3.local"))),
    ],
)
def test_lines(key: str, people: str, expected: Right) -> None:
    assert right(key, people) == expected


@pytest.mark.parametrize(
    "key", ["", "*", "call *", "publish  *", "a//b", "/a", "a/", "a**", "a/b**/c", "a\nb", "ä" * 128]
)
def test_names_that_are_refused(key: str) -> None:
    with pytest.raises(ValueError, match=r'expected a name or a pattern.*"\*\*" stands for all names'):
        right(key, "localhost")


@pytest.mark.parametrize(
    "people",
    [
        "",
        ",",
        "a,",
        "a b",
        "a, nobody",
        "a, everybody",
        "10.0.0",
        "10.0.0.256",
        "10.0.0.0/33",
        "a/b",
        "a=b",
        "-a",
        "lab3:55555",
        "seat x",
    ],
)
def test_computers_that_are_refused(people: str) -> None:
    with pytest.raises(ValueError, match="expected computers with commas between"):
        right("lights.*", people)


def test_a_table_in_a_file(project: Path, environment: dict[str, str]) -> None:
    project.write_text(
        'timeout = 5\n\n[access]\n"lights.*" = "localhost,bench1"\n\'call x\' = ["a", "b"]\necho = "nobody"\n'
    )
    loaded = Settings.load_with_sources(environment)
    assert loaded.settings.access == {"lights.*": "localhost, bench1", "call x": "a, b", "echo": "nobody"}
    assert loaded.sources == {
        "timeout": "labc.toml, line 1",
        "access": "labc.toml, line 3",
        "access.lights.*": "labc.toml, line 4",
        "access.call x": "labc.toml, line 5",
        "access.echo": "labc.toml, line 6",
    }


@pytest.mark.parametrize("text", ['access = {"a.b" = "x"}', 'access."a.b" = "x"'])
def test_other_ways_to_write_it(project: Path, environment: dict[str, str], text: str) -> None:
    project.write_text(f"timeout = 5\n{text}\n")
    loaded = Settings.load_with_sources(environment)
    assert loaded.settings.access == {"a.b": "x"}
    assert loaded.sources["access.a.b"] == "labc.toml, line 2"


def test_lines_of_several_places_come_together(project: Path, environment: dict[str, str]) -> None:
    user = Path(environment["XDG_CONFIG_HOME"], "labc", "labc.toml")
    user.parent.mkdir(parents=True)
    user.write_text('[access]\na = "u"\nb = "u"\nc = "u"\nd = "u"\n')
    project.write_text('[access]\nb = "p"\nc = "p"\nd = "p"\n')
    variables = {"LABC_ACCESS": "c=v,w, call x=y", "LABC_ACCESS__D": "z"}
    loaded = Settings.load_with_sources({**environment, **variables}, access={"e": "arg"})
    assert loaded.settings.access == {"a": "u", "b": "p", "c": "v, w", "call x": "y", "d": "z", "e": "arg"}
    assert loaded.sources["access.a"] == f"{user}, line 2"
    assert loaded.sources["access.b"] == "labc.toml, line 2"
    assert {loaded.sources[f"access.{key}"] for key in ("c", "call x")} == {"LABC_ACCESS"}
    assert loaded.sources["access.d"] == "LABC_ACCESS__D"
    assert loaded.sources["access.e"] == "argument"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('"lights.*" = "bench 1"', '"lights.*" = "bench 1": expected computers'),
        ('"*" = "bench1"', '"*" = "bench1": expected a name or a pattern'),
        ("echo = 5", '"echo" = 5: expected computers'),
        ('echo = ["a", 5]', "expected computers"),
        ("echo = []", "expected computers"),
    ],
)
def test_mistakes_in_a_file_are_told_with_their_line(
    project: Path, environment: dict[str, str], line: str, said: str
) -> None:
    project.write_text(f'[access]\nfirst = "localhost"\n{line}\n')
    with pytest.raises(SettingsError) as failure:
        Settings.load(environment)
    assert str(failure.value).startswith("labc.toml, line 3: access: ")
    assert said in str(failure.value)


@pytest.mark.parametrize("text", ["lights", "a=b,a=c", "=b", "a=b c", "a="])
def test_mistakes_in_a_variable(project: Path, environment: dict[str, str], text: str) -> None:
    with pytest.raises(SettingsError, match=r"environment variable LABC_ACCESS=.*expected"):
        Settings.load({**environment, "LABC_ACCESS": text})


def test_mistakes_in_arguments(project: Path, environment: dict[str, str]) -> None:
    for value in ({"*": "a"}, {"a": None}, {5: "a"}, "a=b", ["a"]):
        with pytest.raises(SettingsError, match=r"argument access=.*expected"):
            Settings.load(environment, access=value)
