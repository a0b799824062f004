"""Members of keyed networks for tests: each with a data folder of its own, as users and hosts have."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from labc.security.authority import Authority, create, new_request, take_seat
from labc.security.credentials import About, Credentials, store


@contextmanager
def data_of(folder: Path) -> Iterator[None]:
    """In here this process is the user with this data folder."""
    before = os.environ.get("XDG_DATA_HOME")
    os.environ["XDG_DATA_HOME"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["XDG_DATA_HOME"]
        else:
            os.environ["XDG_DATA_HOME"] = before


def make_members(place: Path, network: str, names: Sequence[str]) -> dict[str, Credentials]:
    """A network and its members, made here without inviting: the first of them has the authority.

    Their data folders are ``place / name``.
    """
    now = datetime.now(UTC)
    founder, *others = names
    with data_of(place / founder):
        founded = create(network, founder, now)
    return {founder: founded, **{name: add_member(place, founded, name) for name in others}}


def add_member(place: Path, founded: Credentials, name: str) -> Credentials:
    """One more, of the network that was made with the first."""
    now = datetime.now(UTC)
    authority = Authority.of(founded)
    key, request = new_request()
    seat = take_seat(founded, authority, name, now)
    about = About(
        network=founded.network,
        fingerprint=authority.fingerprint.hex(),
        seat=seat,
        host=name,
        inviter=founded.about.inviter,
        secret=founded.about.secret,
        expires=founded.about.expires,
    )
    with data_of(place / name):
        return store(
            about,
            key=key,
            certificate=authority.issue(request, seat, name, now),
            root=authority.root_pem,
            trust=founded.trust.read_text(),
        )


def as_member(place: Path, name: str) -> dict[str, str]:
    """The environment of its programs."""
    return {"XDG_DATA_HOME": str(place / name)}
