"""What fits each kind of setting, and what does not."""

from __future__ import annotations

import math
from typing import Any

import pytest

from labc.settings import kinds
from labc.settings.kinds import Kind


@pytest.mark.parametrize(
    ("kind", "value", "used"),
    [
        (kinds.seconds(), 2, 2.0),
        (kinds.seconds(), 0.5, 0.5),
        (kinds.seconds(), 1e9, 1e9),
        (kinds.seconds(0.1), 0.1, 0.1),
        (kinds.whole_number(1), 1, 1),
        (kinds.port(), 65532, 65532),
        (kinds.size(), 1, 1),
        (kinds.size(), "64 MiB", 64 * 1024 * 1024),
        (kinds.size(), "1.5kB", 1500),
        (kinds.size(), "9007199254740993", 9007199254740993),
        (kinds.size(), "10", 10),
        (kinds.name(5, empty=True), "", ""),
        (kinds.name(5, empty=False), "Näme", "Näme"),
        (kinds.choice("a", "b"), "b", "b"),
    ],
)
def test_what_fits_is_taken(kind: Kind, value: Any, used: Any) -> None:
    assert kind.check(value) == used
    assert type(kind.check(value)) is type(used)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (kinds.seconds(), -0.1),
        (kinds.seconds(), math.nan),
        (kinds.seconds(), math.inf),
        (kinds.seconds(), 10**400),
        (kinds.seconds(0.1), 0.09),
        (kinds.seconds(), True),
        (kinds.seconds(), "1"),
        (kinds.seconds(), None),
        (kinds.whole_number(1), 0),
        (kinds.whole_number(1), 1.0),
        (kinds.whole_number(0), True),
        (kinds.port(), 65533),
        (kinds.size(), 0),
        (kinds.size(), "0 MiB"),
        (kinds.size(), "-1"),
        (kinds.size(), "3 miles"),
        (kinds.size(), "MiB"),
        (kinds.size(), 1.5),
        (kinds.size(), "\N{ARABIC-INDIC DIGIT THREE} GiB"),
        (kinds.size(), "9" * 31),
        (kinds.size(), 1 << 63),
        (kinds.whole_number(0), 1 << 63),
        (kinds.name(5, empty=False), ""),
        (kinds.name(5, empty=True), "ÄÖÜ"),
        (kinds.name(5, empty=True), "a\nb"),
        (kinds.name(5, empty=True), 5),
        (kinds.choice("a", "b"), "c"),
        (kinds.choice("a", "b"), ["a"]),
    ],
)
def test_what_does_not_fit_is_refused(kind: Kind, value: Any) -> None:
    with pytest.raises(ValueError):
        kind.check(value)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (kinds.seconds(), "2.5", 2.5),
        (kinds.seconds(), "3", 3.0),
        (kinds.whole_number(0), " 7 ", 7),
        (kinds.size(), "2 GiB", 2 << 30),
        (kinds.name(9, empty=True), "5", "5"),
    ],
)
def test_texts_are_read(kind: Kind, text: str, value: Any) -> None:
    assert kind.check(kind.parse(text)) == value


@pytest.mark.parametrize(("kind", "text"), [(kinds.seconds(), "soon"), (kinds.whole_number(0), "1.5")])
def test_other_texts_are_refused(kind: Kind, text: str) -> None:
    with pytest.raises(ValueError):
        kind.parse(text)
