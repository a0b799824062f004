"""The sockets of discovery. All are IPv4 datagram sockets that never block."""

from __future__ import annotations

import os
import socket
from collections.abc import Collection, Iterable
from contextlib import suppress

from labc.discovery.asking import LOOPBACK

SCOUTING_GROUP = "224.0.0.224"
"""That of the engine, too: its own programs ask there."""

_RECEIVE_BUFFER_BYTES = 1 << 18
_SEND_BUFFER_BYTES = 1 << 20
"""Linux counts more than its length for each datagram that waits until its address is known to have no computer. The
system may allow less than this."""


def open_tap() -> socket.socket:
    """Hears, on loopback only, what the own router sends to the group at this socket's port, which nobody else uses."""
    tap = _datagram_socket()
    try:
        tap.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # for the router, which binds it as well
        tap.bind((SCOUTING_GROUP if os.name == "posix" else "", 0))
        _join(tap, LOOPBACK)
    except OSError:
        tap.close()
        raise
    return tap


def open_mouth(port: int) -> socket.socket:
    """Asks and answers, from this port. Raises OSError: it is taken."""
    mouth = _datagram_socket()
    try:
        if os.name == "nt":
            mouth.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)  # type: ignore[attr-defined, unused-ignore]
        mouth.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
        mouth.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
        mouth.bind(("", port))
    except OSError:
        mouth.close()
        raise
    return mouth


def open_seeker(avoid: Collection[int]) -> socket.socket:
    """Searches, from some port, but none of these. What it sends to addresses where nobody is fills its buffer, and so
    can't keep the mouth from answering. Raises OSError: there are no sockets left."""
    while True:
        seeker = _datagram_socket()
        try:
            seeker.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
            seeker.bind(("", 0))
        except OSError:
            seeker.close()
            raise
        if seeker.getsockname()[1] not in avoid:
            return seeker
        seeker.close()


def open_ears(port: int) -> socket.socket:
    """Hears what is sent to the group at this port, on the interfaces that :func:`listen_on` says."""
    ears = _datagram_socket()
    try:
        ears.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # other roots of this host listen there, too
        ears.bind((SCOUTING_GROUP if os.name == "posix" else "", port))
    except OSError:
        ears.close()
        raise
    return ears


def listen_on(ears: socket.socket, addresses: Iterable[str]) -> None:
    """Also where it listens already: an interface may have gone and come back under the same address."""
    for address in addresses:
        with suppress(OSError):  # it listens there, or the address has just gone
            _join(ears, address)


def send_to_group(mouth: socket.socket, data: bytes, port: int, address: str) -> None:
    """On the interface that has this address. Raises OSError."""
    mouth.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
    mouth.sendto(data, (SCOUTING_GROUP, port))


def address_towards(address: str) -> str | None:
    """The address of this host under which that one reaches it; None: there is no way."""
    try:
        with _datagram_socket() as probe:
            probe.connect((address, 9))  # sends nothing
            return str(probe.getsockname()[0])
    except OSError:
        return None


def _datagram_socket() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setblocking(False)
    return made


def _join(sock: socket.socket, address: str) -> None:
    membership = socket.inet_aton(SCOUTING_GROUP) + socket.inet_aton(address)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
