"""The joining host: it makes a key of its own, and has a certificate for it made by the inviting host."""

from __future__ import annotations

import hashlib
import hmac
import socket
import ssl
import time
from collections.abc import Callable

from labc.enrolment.messages import (
    LENGTH_BYTES,
    MAX_ANSWER_BYTES,
    VERSION,
    Accepted,
    Request,
    framed,
    length_of,
    parse_answer,
)
from labc.errors import InvitationError, MembershipError
from labc.security import Credentials
from labc.security.credentials import About, check_free, store
from labc.security.invitation import FINGERPRINT_BYTES, Invitation
from labc.security.trust import Trust

_CONNECT_WITHIN = 3.0
"""Seconds for each address of the inviting host, at most."""
_PAUSE = 0.5
_CHUNK = 1 << 16


def join(
    invitation: Invitation, host: str, *, timeout: float = 20.0, tried: Callable[[str], object] = lambda _: None
) -> Credentials:
    """Become a member, under the name ``host``. Blocks for ``timeout`` seconds at most; Ctrl-C ends it, and nothing is
    kept. ``tried`` is told of each address that did not answer.

    Raises:
        InvitationError: it has expired, was used, or the inviting host is not who made the invitation.
        MembershipError: the inviting host can't be reached, or this user is a member of a network of that name already.
    """
    from labc.security import authority

    if time.time() > invitation.expires:
        raise InvitationError(
            f"the invitation expired {_ago(time.time() - invitation.expires)} ago by this computer's clock: "
            "ask for a new one (`labc network invite`)"
        )
    check_free(invitation.network)
    key, request = authority.new_request()
    message = framed(Request(VERSION, invitation.secret, host, request))
    root, answer = _asked(invitation, message, time.monotonic() + timeout, tried)
    trust = Trust.parse(answer.trust)
    authority.check_signature(trust, root)
    if not authority.fits(answer.certificate, key):
        raise InvitationError("the inviting host made a certificate for somebody else: ask for a new invitation")
    about = About(
        network=invitation.network,
        fingerprint=invitation.fingerprint.hex(),
        seat=answer.seat,
        host=host,
        inviter=answer.inviter,
        secret=answer.secret,
        expires=authority.expiry(answer.certificate),
    )
    return store(about, key=key, certificate=answer.certificate, root=root, trust=answer.trust)


def _asked(
    invitation: Invitation, message: bytes, deadline: float, tried: Callable[[str], object]
) -> tuple[str, Accepted]:
    """The authority's certificate, as PEM, and the answer."""
    problems: dict[str, str] = {}
    while True:
        for address in invitation.addresses:
            left = deadline - time.monotonic()
            if left <= 0:
                break
            try:
                return _ask(address, invitation, message, min(left, _CONNECT_WITHIN))
            except OSError as error:  # also what TLS complains of
                problem = error.strerror or str(error) or "no answer"
                if problems.get(address) != problem:
                    tried(f"{address} port {invitation.port}: {problem}")
                problems[address] = problem
        if time.monotonic() + _PAUSE >= deadline:
            places = "; ".join(f"{address}: {problem}" for address, problem in problems.items())
            raise MembershipError(
                f"the inviting host can't be reached at port {invitation.port} ({places}): is `labc network invite` "
                "still running there, and does its firewall let this port in?"
            )
        time.sleep(_PAUSE)


def _ask(address: str, invitation: Invitation, message: bytes, timeout: float) -> tuple[str, Accepted]:
    deadline = time.monotonic() + timeout
    with socket.create_connection((address, invitation.port), timeout) as plain:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # the fingerprint is what counts
        with context.wrap_socket(plain) as connection:
            certificate = connection.getpeercert(binary_form=True) or b""
            found = hashlib.sha256(certificate).digest()[:FINGERPRINT_BYTES]
            if not hmac.compare_digest(found, invitation.fingerprint):
                raise InvitationError(
                    f"{address} is not the host that made this invitation, though it answers: nothing was told to it. "
                    "Make a new invitation"
                )
            connection.sendall(message)
            header = _read(connection, LENGTH_BYTES, deadline)
            answer = _read(connection, length_of(header, MAX_ANSWER_BYTES), deadline)
    return ssl.DER_cert_to_PEM_cert(certificate), parse_answer(answer)


def _read(connection: ssl.SSLSocket, size: int, deadline: float) -> bytes:
    """Raises OSError: it did not come."""
    data = bytearray()
    while len(data) < size:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("it did not answer in time")
        connection.settimeout(left)
        part = connection.recv(min(_CHUNK, size - len(data)))
        if not part:
            raise ConnectionError("it closed the connection")
        data += part
    return bytes(data)


def _ago(seconds: float) -> str:
    minutes = int(seconds // 60)
    return f"{minutes} minutes" if minutes < 120 else f"{minutes // 60} hours"
