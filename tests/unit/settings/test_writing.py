"""Settings files: written anew, and changed without touching the rest."""

from __future__ import annotations

import tomllib
from dataclasses import asdict

import pytest

from labc.settings import Settings
from labc.settings.writing import template, with_value, without_value

DEFAULTS = asdict(Settings())
TEMPLATE = template(Settings.explained(), DEFAULTS)


def test_the_template_sets_nothing_and_explains_all() -> None:
    assert tomllib.loads(TEMPLATE) == {}
    assert max(map(len, TEMPLATE.splitlines())) <= 100
    uncommented = "\n".join(
        line[1:] if line[:1] == "#" and line[:2] != "# " else line for line in TEMPLATE.splitlines()
    )
    assert tomllib.loads(uncommented) == {
        key: list(value) if isinstance(value, tuple) else value for key, value in DEFAULTS.items()
    }


def test_a_value_takes_the_place_of_its_comment() -> None:
    text = with_value(TEMPLATE, "timeout", 5.0)
    assert tomllib.loads(text) == {"timeout": 5.0}
    changed = [pair for pair in zip(TEMPLATE.splitlines(), text.splitlines(), strict=True) if pair[0] != pair[1]]
    assert changed == [("#timeout = 3600.0", "timeout = 5.0")]
    again = with_value(text, "timeout", 6.0)
    assert again == text.replace("5.0", "6.0")
    assert tomllib.loads(with_value(again, "name", 'a "b"')) == {"timeout": 6.0, "name": 'a "b"'}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name = 'x'",
        "name = 'x' # mine\n",
        "# only this",
        "[aliases]\ncam = '10.0.0.5'\n",
        "a = 1\n\n [ t ]\nb = 2\n",
    ],
)
def test_a_value_is_added_at_the_top_level(text: str) -> None:
    changed = with_value(text, "network", "lab")
    assert tomllib.loads(changed) == {**tomllib.loads(text), "network": "lab"}
    assert all(line in changed for line in text.splitlines())
    assert tomllib.loads(without_value(changed, "network")) == tomllib.loads(text)


@pytest.mark.parametrize(
    "text",
    [
        'name = """\n[x]\n#timeout = 3\n"""\n',
        "# a = [\n# [1],\n# ]\n[aliases]\nx = [\n[1],\n]\n",
        "name = 'x'\r\n#timeout = 3600.0\r\n[aliases]\r\n",
    ],
)
def test_odd_texts_are_understood(text: str) -> None:
    changed = with_value(text, "timeout", 5.0)
    assert tomllib.loads(changed) == {**tomllib.loads(text), "timeout": 5.0}
    assert changed.count("\r") == text.count("\r")


def test_taking_away_what_is_not_there_changes_nothing() -> None:
    assert without_value(TEMPLATE, "timeout") == TEMPLATE
