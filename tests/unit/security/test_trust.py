"""Whom to trust, as text, without its signature."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labc.errors import MembershipError
from labc.security.trust import MAX_SEATS, Trust, lengthened, shortened


@given(st.frozensets(st.integers(0, MAX_SEATS - 1), max_size=50))
def test_seats_there_and_back(seats: frozenset[int]) -> None:
    assert frozenset(lengthened(shortened(seats))) == seats


def test_seats_in_a_row_are_short() -> None:
    assert shortened(frozenset({0, 1, 2, 5, 7, 8})) == "0-2,5,7-8"


@pytest.mark.parametrize("text", ["3-1", "0-99999999", "-1", "x"])
def test_bad_seats(text: str) -> None:
    with pytest.raises(ValueError):
        lengthened(text)


def test_text_there_and_back() -> None:
    trust = Trust(3, frozenset({0, 2}), "-----BEGIN CERTIFICATE-----\n", b"signature")
    assert Trust.parse(trust.text()) == trust
    assert b"signature" not in trust.signed
    assert trust.signed != Trust(4, trust.seats, trust.certificates).signed
    assert trust.signed != Trust(3, frozenset({0}), trust.certificates).signed


@pytest.mark.parametrize(
    "text",
    ["", "labc trust 1\n", "labc trust x\nseats 0\nsignature AA==\n", "labc trust 1\nseats 9-1\nsignature AA==\n"],
)
def test_what_is_damaged(text: str) -> None:
    with pytest.raises(MembershipError, match="damaged"):
        Trust.parse(text)
