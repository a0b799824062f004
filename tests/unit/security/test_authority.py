"""Certificates: who makes them, what is in them, how long they are good, and who is trusted no more."""

from __future__ import annotations

import os
import stat
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from keyed import data_of, make_members

from labc.errors import InvitationError, MembershipError
from labc.security import Credentials, credentials_of, memberships
from labc.security.authority import (
    AUTHORITY_LIFE,
    MEMBER_LIFE,
    Authority,
    adopt,
    check_signature,
    create,
    expiry,
    fits,
    issued,
    new_request,
    renew,
    revoke,
    take_seat,
)
from labc.security.credentials import AUTHORITY_KEY, check_free, forget, membership, store
from labc.security.trust import SEATS, Trust

NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "own"))


def test_what_is_in_a_members_certificate() -> None:
    authority = Authority.new("lab1", NOW)
    key, request = new_request()
    pem = authority.issue(request, 5, "robot1", NOW)
    certificate = x509.load_pem_x509_certificate(pem.encode())
    names = {attribute.oid: attribute.value for attribute in certificate.subject}
    assert names[NameOID.ORGANIZATIONAL_UNIT_NAME] == "robot1"
    assert names[NameOID.ORGANIZATION_NAME] == "lab1"
    assert authority.fingerprint.hex() in str(names[NameOID.COMMON_NAME])
    assert certificate.serial_number == 6
    assert certificate.not_valid_after_utc == NOW + MEMBER_LIFE
    assert certificate.not_valid_before_utc < NOW, "clocks differ"
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert fits(pem, key)
    assert not fits(pem, new_request()[0])


def test_each_seat_has_an_issuer_of_its_own_and_one_key() -> None:
    authority = Authority.new("lab1", NOW)
    trust = authority.trust(1, range(3), NOW)
    certificates = x509.load_pem_x509_certificates(trust.certificates.encode())
    assert len({certificate.subject for certificate in certificates}) == 3
    assert all(certificate.public_key() == certificates[0].public_key() for certificate in certificates)
    member = x509.load_pem_x509_certificate(authority.issue(new_request()[1], 1, "h", NOW).encode())
    assert [member.issuer == certificate.subject for certificate in certificates] == [False, True, False]
    member.verify_directly_issued_by(certificates[1])


@pytest.mark.parametrize("host", ["", "a\nb", "x" * 256])
def test_bad_names_of_hosts(host: str) -> None:
    with pytest.raises(InvitationError, match="name"):
        Authority.new("lab1", NOW).issue(new_request()[1], 1, host, NOW)


@pytest.mark.parametrize("request_pem", ["", "nonsense", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n"])
def test_bad_requests(request_pem: str) -> None:
    with pytest.raises(InvitationError, match="request"):
        Authority.new("lab1", NOW).issue(request_pem, 1, "h", NOW)


def test_the_signature_of_whom_to_trust() -> None:
    authority, other = Authority.new("lab1", NOW), Authority.new("lab1", NOW)
    trust = authority.trust(2, range(3), NOW)
    check_signature(trust, authority.root_pem)
    forged = [
        other.trust(2, range(3), NOW),
        Trust(3, trust.seats, trust.certificates, trust.signature),
        Trust(2, trust.seats | {4}, trust.certificates, trust.signature),
        Trust(2, trust.seats, trust.certificates + other.root_pem, trust.signature),
    ]
    for each in forged:
        with pytest.raises(MembershipError, match="not signed"):
            check_signature(each, authority.root_pem)


def test_a_new_network_and_its_files() -> None:
    credentials = create("Lab 1/ü", "h1", datetime.now(UTC))
    assert credentials_of("Lab 1/ü") == credentials
    assert credentials_of("lab 1/ü") is None
    assert [each.network for each in memberships()] == ["Lab 1/ü"]
    for file in credentials.folder.rglob("*"):
        if os.name == "posix":
            assert stat.S_IMODE(file.stat().st_mode) == (0o700 if file.is_dir() else 0o600), file
    assert issued(credentials) == {0: "h1"}
    assert credentials.read_trust().seats == frozenset(range(SEATS))
    with pytest.raises(MembershipError, match="leave"):
        create("Lab 1/ü", "h1", NOW)
    forget(credentials)
    assert credentials_of("Lab 1/ü") is None
    assert list(credentials.folder.parent.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such modes")
def test_nobody_else_can_see_or_move_memberships() -> None:
    before = os.umask(0o002)  # as many systems have it, also where all users are in one group
    try:
        networks = create("lab1", "h1", datetime.now(UTC)).folder.parent
    finally:
        os.umask(before)
    for folder in (networks, networks.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder


def test_members_revoking_and_editions(tmp_path: Path) -> None:
    members = make_members(tmp_path, "lab1", ["h1", "h2", "h3"])
    assert issued(members["h1"]) == {0: "h1", 1: "h2", 2: "h3"}
    text = revoke(members["h1"], [2], NOW).text()
    assert adopt(members["h2"], text)
    assert not adopt(members["h2"], text), "it is not newer"
    assert 2 not in members["h2"].read_trust().seats
    adopt(members["h3"], text)
    with data_of(tmp_path / "h3"), pytest.raises(MembershipError, match="revoked"):
        credentials_of("lab1")
    with data_of(tmp_path / "h2"):
        assert credentials_of("lab1") is not None
        with pytest.raises(MembershipError, match="made on h1"):
            Authority.of(members["h2"])
    # Its seat is not given again.
    assert take_seat(members["h1"], Authority.of(members["h1"]), "h4", NOW) == 3
    # An older edition, or one of another network, changes nothing.
    older = Authority.of(members["h1"]).trust(1, range(SEATS), NOW).text()
    assert not adopt(members["h2"], older)
    with pytest.raises(MembershipError, match="not signed"):
        adopt(members["h2"], Authority.new("lab1", NOW).trust(9, range(SEATS), NOW).text())
    assert members["h2"].read_trust().text() == text


def test_two_revoked_at_the_same_time_are_both_out(monkeypatch: pytest.MonkeyPatch) -> None:
    credentials = create("lab1", "h0", datetime.now(UTC))
    read = Credentials.read_trust
    both_read = threading.Barrier(2)

    def read_at_the_same_time(self: Credentials) -> Trust:
        trust = read(self)
        with suppress(threading.BrokenBarrierError):
            both_read.wait(0.3)  # which must not happen
        return trust

    monkeypatch.setattr(Credentials, "read_trust", read_at_the_same_time)
    threads = [threading.Thread(target=revoke, args=(credentials, [seat], NOW)) for seat in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    trust = read(credentials)
    assert not trust.seats & {1, 2}
    assert trust.number == 3


def test_revoking_that_can_not_be_kept_says_so() -> None:
    credentials = create("lab1", "h0", datetime.now(UTC))
    (credentials.folder / ".lock").mkdir()  # as good as a full disk
    with pytest.raises(MembershipError, match="nothing was changed"):
        revoke(credentials, [1], NOW)


def test_seats_beyond_the_first_batch() -> None:
    credentials = create("lab1", "h0", datetime.now(UTC))
    authority = Authority.of(credentials)
    revoke(credentials, [0], NOW)
    taken = [take_seat(credentials, authority, f"h{n}", NOW) for n in range(1, SEATS + 2)]
    assert taken == list(range(1, SEATS + 2))
    trust = credentials.read_trust()
    assert trust.number == 3
    assert trust.seats == frozenset(range(1, 2 * SEATS)), "the revoked one stays out"
    check_signature(trust, authority.root_pem)


def test_an_expired_membership_says_what_to_do() -> None:
    credentials = create("lab1", "h1", datetime.now(UTC) - MEMBER_LIFE - timedelta(days=1))
    assert membership("lab1") == credentials
    key = (credentials.folder / AUTHORITY_KEY).rename(credentials.folder / "elsewhere")
    with pytest.raises(MembershipError, match=r"expired on \d{4}-\d\d-\d\d.*join again"):
        credentials_of("lab1")
    key.rename(credentials.folder / AUTHORITY_KEY)
    with pytest.raises(MembershipError, match=r"expired on \d{4}-\d\d-\d\d.*`labc network invite lab1` renews it"):
        credentials_of("lab1")


def test_who_made_the_network_is_a_member_for_longer_than_a_year() -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    credentials = create("lab1", "h1", now - MEMBER_LIFE - timedelta(days=1))
    revoke(credentials, [2], now - timedelta(days=100))
    renewed = renew(credentials, now)
    assert credentials_of("lab1") == renewed
    assert renewed.about.expires == now + MEMBER_LIFE
    certificate = renewed.certificate.read_text()
    assert expiry(certificate) == renewed.about.expires
    assert fits(certificate, renewed.key.read_text())
    assert renewed.about.seat == 0
    trust = renewed.read_trust()
    assert (trust.number, 2 in trust.seats) == (3, False)
    authorities = x509.load_pem_x509_certificates(trust.certificates.encode())
    assert min(each.not_valid_after_utc for each in authorities) == now + AUTHORITY_LIFE
    check_signature(trust, Authority.of(renewed).root_pem)


def test_a_damaged_membership_is_no_open_network() -> None:
    credentials = create("lab1", "h1", datetime.now(UTC))
    about = credentials.folder / "membership.json"
    about.write_text("{")
    with pytest.raises(MembershipError, match="damaged"):
        credentials_of("lab1")
    assert memberships() == []
    with pytest.raises(MembershipError, match="already"):
        check_free("lab1")


def test_a_membership_that_can_not_be_kept_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    credentials = create("lab1", "h1", datetime.now(UTC))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    (tmp_path / "file").write_text("")
    with pytest.raises(MembershipError, match="can't be kept"):
        store(credentials.about, key="k", certificate="c", root="r", trust="t")


def test_secrets_are_in_no_repr() -> None:
    credentials = create("lab1", "h1", datetime.now(UTC))
    for path in (credentials.key, credentials.folder / AUTHORITY_KEY):
        secret = path.read_text().splitlines()[1]
        assert credentials.about.secret not in repr(credentials)
        assert secret not in repr(credentials) + repr(credentials.read_trust()) + repr(Authority.of(credentials))
