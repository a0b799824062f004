"""Invitations as text: whole, with typos, and what is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labc.errors import InvitationError
from labc.security.invitation import Invitation

INVITATION = Invitation(
    network="lab1",
    addresses=("10.213.0.1",),
    port=40112,
    fingerprint=bytes(range(16)),
    secret=bytes(range(100, 116)),
    expires=1_800_000_000,
)

ADDRESSES = st.one_of(
    st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str), st.sampled_from(["lab3", "lab3.example.org", "größe"])
)


@given(
    st.text(min_size=1, max_size=60),
    st.lists(ADDRESSES, max_size=8).map(tuple),
    st.integers(1, 65535),
    st.binary(min_size=16, max_size=16),
    st.integers(0, 2**40),
)
def test_there_and_back(network: str, addresses: tuple[str, ...], port: int, secret: bytes, expires: int) -> None:
    invitation = Invitation(
        network=network, addresses=addresses, port=port, fingerprint=secret[::-1], secret=secret, expires=expires
    )
    assert Invitation.parse(invitation.text()) == invitation


def test_it_is_short_and_can_be_dictated() -> None:
    text = INVITATION.text()
    assert len(text) < 110
    assert text.removeprefix("labc-").isalnum()
    spoken = " ".join(text[i : i + 5] for i in range(0, len(text), 5)).upper()
    for other in (spoken, f"  {text}\n", text.replace("labc-", "labc"), "\n".join([text[:40], text[40:]])):
        assert Invitation.parse(other) == INVITATION


def test_every_single_typo_is_told() -> None:
    text = INVITATION.text()
    for index in range(5, len(text)):
        for wrong in "a7z0":
            if text[index] != wrong:
                with pytest.raises(InvitationError, match="typo"):
                    Invitation.parse(text[:index] + wrong + text[index + 1 :])


@pytest.mark.parametrize("cut", [10, 50, 3, 1])
def test_a_part_that_is_missing_is_told(cut: int) -> None:
    with pytest.raises(InvitationError, match=r"typo|missing"):
        Invitation.parse(INVITATION.text()[:-cut])


@given(st.text(max_size=200))
def test_nonsense_is_refused_with_a_sentence(text: str) -> None:
    for nonsense in (text, f"labc-{text}"):
        with pytest.raises(InvitationError):
            Invitation.parse(nonsense)


def test_the_secret_is_not_shown() -> None:
    assert repr(INVITATION) == "<Invitation to 'lab1'>"
