"""TLS for the lanes of a keyed network: who has no certificate that the network's authority made is refused.

Only TLS 1.3, which shows an eavesdropper no certificate, and without tickets: a session that is taken up again would
not ask whether a member was revoked meanwhile.
"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable
from typing import Any

from labc.errors import MembershipError
from labc.security import Credentials


class Tls:
    """The contexts for one membership, made again when its files have changed. For any thread."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._lock = threading.Lock()
        self._made: dict[bool, tuple[object, ssl.SSLContext]] = {}

    def server(self) -> ssl.SSLContext:
        """For who accepts. Raises MembershipError: the files can't be used."""
        return self._context(server=True)

    def client(self) -> ssl.SSLContext:
        """For who connects. Raises MembershipError: the files can't be used."""
        return self._context(server=False)

    def _context(self, *, server: bool) -> ssl.SSLContext:
        with self._lock:
            try:
                status = self._credentials.trust.stat()
                edition = (status.st_mtime_ns, status.st_ino)
                if (made := self._made.get(server)) is not None and made[0] == edition:
                    return made[1]
                context = _context(self._credentials, server)
            except OSError as error:  # SSLError is one
                raise MembershipError(f"the key in {self._credentials.folder} can't be used: {error}") from None
            self._made[server] = edition, context
            return context


def _context(credentials: Credentials, server: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # hosts change their addresses; what counts is who made the certificate
    context.verify_mode = ssl.CERT_REQUIRED
    if server:
        context.num_tickets = 0
    context.load_verify_locations(credentials.trust)
    context.load_cert_chain(credentials.certificate, credentials.key)
    return context


def seat_of(transport: Any) -> int | None:
    """The seat of the member at the other end; None: the way is not by TLS."""
    if transport is None or not (certificate := transport.get_extra_info("peercert")):
        return None
    return int(certificate["serialNumber"], 16) - 1


def host_of(transport: Any) -> str:
    """The name of the computer in the certificate at the other end; empty: it has shown none."""
    if transport is None or not (certificate := transport.get_extra_info("peercert")):
        return ""
    names = [value for part in certificate["subject"] for key, value in part if key == "organizationalUnitName"]
    return str(names[0]) if names else ""


_PEERCRED: int | None = getattr(socket, "SO_PEERCRED", None)
_CREDENTIALS = struct.Struct("3i")


def is_same_user(connection: Any, own_id: Callable[[], int]) -> bool:
    """Whether the program at the other end of a Unix socket is of this user, or was when it began to listen. Where the
    system does not tell: no."""
    if _PEERCRED is None:
        return False
    _, user, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, _PEERCRED, _CREDENTIALS.size))
    return bool(user == own_id())
