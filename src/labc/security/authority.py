"""The authority of a network: the key that makes members. It stays on the host that made the network.

All keys are on the curve P-256, which the engine, Python's TLS and every system's OpenSSL know.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

import msgspec

from labc.errors import InvitationError, MembershipError
from labc.security import folder
from labc.security.credentials import (
    AUTHORITY_KEY,
    ISSUED,
    SHARED_SECRET_BYTES,
    About,
    Credentials,
    common_name,
    store,
    store_renewed,
)
from labc.security.invitation import FINGERPRINT_BYTES
from labc.security.trust import MAX_SEATS, SEATS, Trust

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError:
    raise MembershipError(
        "networks with a key need the library cryptography, which is not installed: pip install 'labc[security]'"
    ) from None

AUTHORITY_LIFE = timedelta(days=5 * 365)
MEMBER_LIFE = timedelta(days=365)
CLOCKS_DIFFER = timedelta(days=1)
"""Certificates are good from so long before they were made: a member's clock may be slow."""

MAX_HOST_BYTES = 255
LOOPBACK = ipaddress.IPv4Address("127.0.0.1")

_HASH = hashes.SHA256()


class Authority:
    """Makes certificates for members, and takes them out of the trusted ones. Where it says ``now``, it means UTC."""

    def __init__(self, network: str, key: ec.EllipticCurvePrivateKey, root: x509.Certificate) -> None:
        self.network = network
        self._key = key
        self._root = root

    @classmethod
    def new(cls, network: str, now: datetime) -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "labc network")])
        return cls(network, key, _authority_certificate(key, subject, now))

    @classmethod
    def of(cls, credentials: Credentials) -> Authority:
        """That of a network which this host made. Raises MembershipError: another host did."""
        try:
            key = serialization.load_pem_private_key((credentials.folder / AUTHORITY_KEY).read_bytes(), None)
            root = x509.load_pem_x509_certificate(credentials.root.read_bytes())
        except FileNotFoundError:
            raise MembershipError(
                f"the network {credentials.network!r} was made on {credentials.about.inviter}: only there, and as the "
                "user who made it, can hosts be invited and revoked"
            ) from None
        except (OSError, ValueError) as error:
            raise MembershipError(f"the authority in {credentials.folder} can't be read: {error}") from None
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return cls(credentials.network, key, root)

    @property
    def fingerprint(self) -> bytes:
        return fingerprint(self._root)

    @property
    def root_pem(self) -> str:
        return _pem(self._root)

    @property
    def key_pem(self) -> str:
        return key_pem(self._key)

    def trust(self, number: int, seats: Iterable[int], now: datetime) -> Trust:
        """An edition of whom to trust, signed."""
        good = frozenset(seats)
        pem = "".join(_pem(_authority_certificate(self._key, self._seat(seat), now)) for seat in sorted(good))
        unsigned = Trust(number, good, pem)
        return Trust(number, good, pem, self._key.sign(unsigned.signed, ec.ECDSA(_HASH)))

    def issue(self, request_pem: str, seat: int, host: str, now: datetime) -> str:
        """A member's certificate, as PEM.

        Raises:
            InvitationError: the request is none, or not of who has its key.
        """
        try:
            request = x509.load_pem_x509_csr(request_pem.encode())
            key = request.public_key()
            if not request.is_signature_valid or not isinstance(key, ec.EllipticCurvePublicKey):
                raise ValueError
        except ValueError:
            raise InvitationError("the request for a certificate can't be read") from None
        if not host or not host.isprintable() or len(host.encode()) > MAX_HOST_BYTES:
            raise InvitationError("the name of the host that wants to join can't be used")
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.COMMON_NAME, common_name(self.fingerprint.hex())),
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, self.network),
                x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, host),
            ]
        )
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
        usable = _key_usage(digital_signature=True)
        # The one address that all hosts keep, and that no public authority signs: a client of the host's own root looks
        # at it.
        names = x509.SubjectAlternativeName([x509.IPAddress(LOOPBACK), x509.DNSName("localhost")])
        certificate = (
            _begun(subject, self._seat(seat), now, MEMBER_LIFE)
            .public_key(key)
            .serial_number(seat + 1)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usable, critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(names, critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, _HASH)
        )
        return _pem(certificate)

    def _seat(self, seat: int) -> x509.Name:
        """What the authority of this seat is called. Not the network's name: it would be seen by who asks for it."""
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"labc {self.fingerprint.hex()} {seat}")])


def create(network: str, host: str, now: datetime) -> Credentials:
    """Make a network, and this host its first member, in seat 0. Takes some 20 ms.

    Raises:
        MembershipError: there is one of this name already, or it can't be written.
    """
    authority = Authority.new(network, now)
    key, request = new_request()
    about = About(
        network=network,
        fingerprint=authority.fingerprint.hex(),
        seat=0,
        host=host,
        inviter=host,
        secret=secrets.token_hex(SHARED_SECRET_BYTES),
        expires=now + MEMBER_LIFE,
    )
    return store(
        about,
        key=key,
        certificate=authority.issue(request, 0, host, now),
        root=authority.root_pem,
        trust=authority.trust(1, range(SEATS), now).text(),
        authority_key=authority.key_pem,
    )


def renew(credentials: Credentials, now: datetime) -> Credentials:
    """A certificate for another year for the host that made the network, which nobody can invite. Those of the
    authority begin anew as well; running programs take both, as a new edition of whom to trust comes with them.

    Raises:
        MembershipError: another host made the network, or it can't be written.
    """
    authority = Authority.of(credentials)
    try:
        key = serialization.load_pem_private_key(credentials.key.read_bytes(), None)
    except (OSError, ValueError) as error:
        raise MembershipError(f"{credentials.key} can't be read: {error}") from None
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    old = credentials.about
    about = msgspec.structs.replace(old, expires=now + MEMBER_LIFE)
    renewed = store_renewed(credentials, about, authority.issue(_request(key), old.seat, old.host, now))
    _change(renewed, authority, lambda seats: seats, now)
    return renewed


def take_seat(credentials: Credentials, authority: Authority, host: str, now: datetime) -> int:
    """A seat that nobody had, for this host. Raises MembershipError: there is none."""
    trust = credentials.read_trust()
    taken = set(issued(credentials))
    for seat in range(MAX_SEATS):
        if seat in taken:
            continue
        if seat not in trust.seats:  # all of the batch are taken: begin another one
            more = frozenset(range(seat, min(seat + SEATS, MAX_SEATS)))
            trust = _change(credentials, authority, more.union, now)
        try:
            with (credentials.folder / ISSUED / str(seat)).open("x", encoding="utf-8") as file:
                file.write(host)
        except FileExistsError:  # another process was faster
            continue
        return seat
    raise MembershipError(f"all {MAX_SEATS} seats of the network {credentials.network!r} were used: make another one")


def issued(credentials: Credentials) -> dict[int, str]:
    """The hosts that were ever let in, by seat, on the host that made the network."""
    found = {}
    for file in (credentials.folder / ISSUED).glob("*"):
        if file.name.isdecimal():
            found[int(file.name)] = file.read_text(encoding="utf-8")
    return dict(sorted(found.items()))


def revoke(credentials: Credentials, seats: Iterable[int], now: datetime) -> Trust:
    """Trust these seats no more, from now on here; the others hear of it from the programs that run here."""
    gone = frozenset(seats)
    return _change(credentials, Authority.of(credentials), lambda good: good - gone, now)


def _change(
    credentials: Credentials, authority: Authority, change: Callable[[frozenset[int]], frozenset[int]], now: datetime
) -> Trust:
    """The next edition of whom to trust. Raises MembershipError: it can't be kept, and nothing has changed."""
    try:
        with folder.locked(credentials.folder):
            trust = credentials.read_trust()
            newer = authority.trust(trust.number + 1, change(trust.seats), now)
            folder.write_private(credentials.trust, newer.text())
    except OSError as error:
        raise MembershipError(f"{credentials.trust} can't be written: {error.strerror}; nothing was changed") from None
    return newer


def adopt(credentials: Credentials, text: str) -> bool:
    """Keep this edition of whom to trust, if it is newer than this host's, and the authority's.

    Raises:
        MembershipError: it is damaged, or not signed by the authority.
        OSError: it can't be kept.
    """
    trust = Trust.parse(text)
    with folder.locked(credentials.folder):
        if trust.number <= credentials.read_trust().number:
            return False
        check_signature(trust, credentials.root.read_text(encoding="utf-8"))
        folder.write_private(credentials.trust, text)
    return True


def check_signature(trust: Trust, root_pem: str) -> None:
    """Raises MembershipError: it is not signed by this authority."""
    key = x509.load_pem_x509_certificate(root_pem.encode()).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    try:
        key.verify(trust.signature, trust.signed, ec.ECDSA(_HASH))
    except InvalidSignature:
        raise MembershipError("the list of trusted members is not signed by the network's authority") from None


def new_request() -> tuple[str, str]:
    """A new private key, and the request for a certificate for it; both as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key_pem(key), _request(key)


def key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.NoEncryption()).decode()


def fingerprint(certificate: x509.Certificate) -> bytes:
    return certificate.fingerprint(_HASH)[:FINGERPRINT_BYTES]


def fits(certificate_pem: str, private_key_pem: str) -> bool:
    """Whether the certificate is for this key."""
    key = serialization.load_pem_private_key(private_key_pem.encode(), None)
    return x509.load_pem_x509_certificate(certificate_pem.encode()).public_key() == key.public_key()


def expiry(certificate_pem: str) -> datetime:
    return x509.load_pem_x509_certificate(certificate_pem.encode()).not_valid_after_utc


def _request(key: ec.EllipticCurvePrivateKey) -> str:
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, _HASH)
    return request.public_bytes(serialization.Encoding.PEM).decode()


def _authority_certificate(key: ec.EllipticCurvePrivateKey, subject: x509.Name, now: datetime) -> x509.Certificate:
    return (
        _begun(subject, subject, now, AUTHORITY_LIFE)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(digital_signature=True, key_cert_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, _HASH)
    )


def _begun(subject: x509.Name, issuer: x509.Name, now: datetime, life: timedelta) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .not_valid_before(now - CLOCKS_DIFFER)
        .not_valid_after(now + life)
    )


def _key_usage(*, digital_signature: bool, key_cert_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
