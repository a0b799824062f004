"""What makes this user's programs on this host members of a keyed network: some files, and what they say."""

from __future__ import annotations

import logging
import os
import re
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from labc.errors import MembershipError
from labc.security import folder

if TYPE_CHECKING:
    from labc.security.trust import Trust

logger = logging.getLogger("labc.security")

_ABOUT = "membership.json"
_KEY = "host.key"
_CERTIFICATE = "host.pem"
_TRUST = "trust.pem"
_ROOT = "root.pem"
AUTHORITY_KEY = "authority.key"
ISSUED = "issued"

_FORMAT = 1
SHARED_SECRET_BYTES = 32
_SECRET = re.compile(rf"[0-9a-f]{{{2 * SHARED_SECRET_BYTES}}}")


class About(msgspec.Struct, frozen=True, kw_only=True):
    """``membership.json``."""

    format: int = _FORMAT
    network: str
    fingerprint: str
    """Of the network's authority, in hexadecimal digits."""
    seat: int
    host: str
    """The name under which this host joined."""
    inviter: str
    """The host that made the network."""
    secret: str
    """The same for all members, in hexadecimal digits. See :attr:`Credentials.secret`."""
    expires: datetime

    def __repr__(self) -> str:
        return f"<About {self.network!r}, seat {self.seat}>"


@dataclass(frozen=True)
class Credentials:
    """One membership. The files' paths are for the engine and for TLS; what is in them is never logged."""

    about: About
    folder: Path

    @property
    def network(self) -> str:
        return self.about.network

    @property
    def realm(self) -> str:
        """What takes the place of the network's name where hosts meet, so that networks of one name never mix: an open
        and a keyed one, or two with different keys."""
        return f"{self.about.network} {self.about.fingerprint}"

    @property
    def secret(self) -> bytes:
        """What all members know, the revoked ones as well, and nobody else: to tell their datagrams, which no TLS
        protects, from those of strangers. Proves no more than that."""
        return bytes.fromhex(self.about.secret)

    @property
    def common_name(self) -> str:
        """In the certificates of all members, and in no others: no public authority signs a name like this."""
        return common_name(self.about.fingerprint)

    @property
    def key(self) -> Path:
        return self.folder / _KEY

    @property
    def certificate(self) -> Path:
        return self.folder / _CERTIFICATE

    @property
    def trust(self) -> Path:
        """Whose certificates are good, see :mod:`labc.security.trust`."""
        return self.folder / _TRUST

    @property
    def root(self) -> Path:
        return self.folder / _ROOT

    @property
    def has_authority(self) -> bool:
        """Whether this host made the network, and so can invite and revoke."""
        return (self.folder / AUTHORITY_KEY).exists()

    def read_trust(self) -> Trust:
        """The newest edition that this host knows.

        Raises:
            MembershipError: it is damaged or gone.
        """
        from labc.security.trust import Trust  # what open networks do without

        try:
            return Trust.parse(self.trust.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise MembershipError(f"{self.trust} can't be read: {error}; join the network again") from None

    def check(self, now: datetime) -> None:
        """Raises MembershipError: this host is no member any more, or can't be one; says what to do."""
        again = f"ask for an invitation, `labc network leave {self.network}`, and join again"
        if now >= self.about.expires:
            # Who made the network can't leave it: with the authority's key it would be lost to all.
            renew = f"`labc network invite {self.network}` renews it here" if self.has_authority else again
            raise MembershipError(
                f"this host's certificate for the network {self.network!r} expired on {self.about.expires:%Y-%m-%d} "
                f"(and this computer's clock says {now:%Y-%m-%d %H:%M}): {renew}"
            )
        if not _SECRET.fullmatch(self.about.secret):
            raise MembershipError(f"{self.folder / _ABOUT} is damaged: {again}")
        if self.about.seat not in self.read_trust().seats:
            raise MembershipError(f"this host's membership of the network {self.network!r} was revoked: {again}")
        for path in (self.key, self.certificate, self.root):
            if not os.access(path, os.R_OK):
                raise MembershipError(f"{path} can't be read by this user: {again}")


def common_name(fingerprint: str) -> str:
    return f"labc {fingerprint}"


def credentials_of(network: str) -> Credentials | None:
    """This user's membership of the network of that name; None: there is none, so the network is open.

    Raises:
        MembershipError: there is one, and it can't be used; says what to do. So nobody is in the open by accident.
    """
    networks = folder.networks_folder()
    if networks is None:
        return None
    place = networks / folder.folder_name(network)
    try:
        text = (place / _ABOUT).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if isinstance(error, PermissionError) and not os.access(networks, os.X_OK):
            return None  # the home of another user, as for a service
        raise MembershipError(f"{place / _ABOUT} can't be read: {error.strerror}") from None
    credentials = _loaded(text, place)
    if credentials.network != network:
        return None  # another one, with the same name for its folder
    credentials.check(datetime.now(UTC))
    _warn_of_readers(credentials.key)
    return credentials


def memberships() -> list[Credentials]:
    """All of this user's, also those that can't be used; by name."""
    networks = folder.networks_folder()
    if networks is None or not networks.is_dir():
        return []
    found = []
    for place in sorted(networks.iterdir()):
        try:
            if not place.name.startswith("."):
                found.append(_loaded((place / _ABOUT).read_bytes(), place))
        except (OSError, MembershipError) as error:
            logger.warning("%s is no membership: %s", place, error)
    return found


def membership(network: str) -> Credentials:
    """The one of this network, usable or not. Raises MembershipError: there is none."""
    for found in memberships():
        if found.network == network:
            return found
    raise MembershipError(
        f"this user is no member of a keyed network {network!r} (`labc network list` lists those there are)"
    )


def store(about: About, *, key: str, certificate: str, root: str, trust: str, authority_key: str = "") -> Credentials:
    """Keep a new membership: all of it or nothing.

    Raises:
        MembershipError: there is one of a network of this name, or it can't be written.
    """
    import shutil  # nodes need not know it

    place = folder.network_folder(about.network)
    draft = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        for above in (place.parents[1], place.parent):  # or who may write there moves it away: then the network is open
            folder.make_private_folder(above)
        folder.make_private_folder(draft)
        for name, text in ((_KEY, key), (_CERTIFICATE, certificate), (_ROOT, root), (_TRUST, trust)):
            folder.write_private(draft / name, text)
        if authority_key:
            folder.write_private(draft / AUTHORITY_KEY, authority_key)
            folder.make_private_folder(draft / ISSUED)
            folder.write_private(draft / ISSUED / str(about.seat), about.host)
        folder.write_private(draft / _ABOUT, msgspec.json.encode(about).decode())
        check_free(about.network)
        draft.rename(place)
    except OSError as error:
        raise MembershipError(f"the membership can't be kept in {place}: {error.strerror}") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return Credentials(about, place)


def store_renewed(credentials: Credentials, about: About, certificate: str) -> Credentials:
    """Keep another certificate for the same key. Raises MembershipError: it can't be written."""
    try:
        folder.write_private(credentials.certificate, certificate)
        folder.write_private(credentials.folder / _ABOUT, msgspec.json.encode(about).decode())
    except OSError as error:
        raise MembershipError(f"the certificate can't be kept in {credentials.folder}: {error.strerror}") from None
    return Credentials(about, credentials.folder)


def check_free(network: str) -> None:
    """Raises MembershipError: this user is a member of a network of this name already."""
    place = folder.network_folder(network)
    if place.exists():
        raise MembershipError(
            f"this user is a member of a keyed network {network!r} already (in {place}): "
            f"`labc network leave {network}` first, if it shall be another one"
        )


def forget(credentials: Credentials) -> None:
    """Leave the network: remove all its files. Raises MembershipError: they can't be removed."""
    import shutil

    gone = credentials.folder.with_name(f".{credentials.folder.name}.left.{os.getpid()}")
    try:
        credentials.folder.rename(gone)
        shutil.rmtree(gone)
    except OSError as error:
        raise MembershipError(f"{credentials.folder} can't be removed: {error.strerror}") from None


def _loaded(text: bytes, place: Path) -> Credentials:
    try:
        about = msgspec.json.decode(text, type=About)
    except ValueError:
        raise MembershipError(f"{place / _ABOUT} is damaged: remove {place}, and join the network again") from None
    if about.format != _FORMAT:
        raise MembershipError(f"{place} was made by another version of labc")
    return Credentials(about, place)


def _warn_of_readers(path: Path) -> None:
    if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
        logger.warning("others can read the key %s: protect it with `chmod 600 %s`", path, path)
