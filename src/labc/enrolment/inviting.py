"""The inviting host: it waits for those who join, and makes their certificates.

The authority's own certificate is shown to whoever connects, as its fingerprint is what the invitation tells of this
host: so nobody can pretend to be it who only saw certificates of members.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple

from labc.enrolment.desk import Desk
from labc.enrolment.messages import (
    LENGTH_BYTES,
    MAX_REQUEST_BYTES,
    Accepted,
    Declined,
    framed,
    length_of,
    parse_request,
)
from labc.errors import InvitationError, MembershipError
from labc.lanes.crowd import Crowd
from labc.lanes.door import Door
from labc.lanes.ways import Ways
from labc.security import Credentials
from labc.security.credentials import AUTHORITY_KEY
from labc.security.invitation import SECRET_BYTES, Invitation
from labc.settings import Settings

_PATIENCE = 5.0
"""Seconds for a handshake, and as many for the request."""
_BACKLOG = 512
_LOOK_EVERY = 0.2
_MAX_VISITS = 64
_MAX_VISITS_EACH = 8
"""From one address. Any stranger passes the handshake here; who joins has told all at once."""


class Joined(NamedTuple):
    """A host has become a member."""

    host: str
    address: str
    seat: int
    left: int | None
    """How many more can join with this invitation. None: any number."""


def invite(
    credentials: Credentials,
    *,
    seconds: float,
    uses: int,
    addresses: tuple[str, ...] = (),
    port: int = 0,
    ready: Callable[[Invitation], object],
    joined: Callable[[Joined], object],
) -> Desk:
    """Invite, and wait until ``uses`` hosts have joined (0: any number) or the time is over. Blocks; Ctrl-C ends it.

    ``ready`` is told the invitation when joining is possible, ``joined`` of each host. ``addresses``: under which the
    joining hosts reach this one; without, those that the setting ``interfaces`` uses. ``port`` 0: one that is free.

    Raises:
        MembershipError: this host did not make the network, or the port can't be opened.
    """
    from labc.security.authority import Authority

    authority = Authority.of(credentials)
    ways = Ways(Settings.load().interfaces)
    expires = int(time.time() + seconds)
    desk = Desk(secrets.token_bytes(SECRET_BYTES), expires, uses)
    with ExitStack() as stack:
        sockets = _listening(port, stack)
        invitation = Invitation(
            network=credentials.network,
            addresses=addresses or tuple(ways.own_ips()) or ("127.0.0.1",),
            port=sockets[0].getsockname()[1],
            fingerprint=authority.fingerprint,
            secret=desk.secret,
            expires=expires,
        )
        reception = _Reception(credentials, authority, desk, joined)
        context = _context(credentials)
        asyncio.run(_serve(sockets, context, reception, ways, lambda: ready(invitation)))
    return desk


async def _serve(
    sockets: list[socket.socket],
    context: ssl.SSLContext,
    reception: _Reception,
    ways: Ways,
    ready: Callable[[], object],
) -> None:
    doors = [Door(own, lambda: context, lambda: Visit(reception), _PATIENCE, ways.allow) for own in sockets]
    try:
        for door in doors:
            door.open()
        ready()
        await _while(lambda: reception.desk.is_open(time.time()), reception)
        for door in doors:
            door.close()  # or strangers would keep it busy without end
        await _while(lambda: reception.busy, reception)
    finally:
        for door in doors:
            door.close()
            await door.wait_closed()
        for visit in list(reception.visits):
            visit.abort()
        await asyncio.sleep(0)


async def _while(goes_on: Callable[[], bool], reception: _Reception) -> None:
    while goes_on():
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_EVERY):
                await reception.changed.wait()
        reception.changed.clear()
        if reception.error is not None:
            raise reception.error


class _Reception:
    """What the visits of one invitation share."""

    def __init__(
        self, credentials: Credentials, authority: Any, desk: Desk, joined: Callable[[Joined], object]
    ) -> None:
        self.desk = desk
        self.changed = asyncio.Event()
        self.visits: set[Visit] = set()
        self.crowd: Crowd[Visit] = Crowd(_MAX_VISITS, _MAX_VISITS_EACH)
        self.error: Exception | None = None
        self._credentials = credentials
        self._authority = authority
        self._joined = joined

    @property
    def busy(self) -> bool:
        """Whether an answer is on its way."""
        return any(visit.answered for visit in self.visits)

    def answer(self, data: bytes, address: str) -> bytes:
        try:
            request = parse_request(data)
            answer = self.desk.answered(request.secret, request.request, time.time())
            return self._let_in(request.host, request.request, address) if answer is None else answer
        except InvitationError as error:
            return framed(Declined(str(error)))
        except (MembershipError, OSError) as error:  # of this host: a full disk, no seat left
            self.error = error
            return framed(Declined(f"the inviting host can't let anybody in: {error}"))
        finally:
            self.changed.set()

    def _let_in(self, host: str, request: str, address: str) -> bytes:
        from labc.security.authority import take_seat

        now = datetime.now(UTC)
        self._authority.issue(request, 0, host, now)  # so that a bad request takes no seat
        seat = take_seat(self._credentials, self._authority, host, now)
        certificate = self._authority.issue(request, seat, host, now)
        trust = self._credentials.read_trust().text()
        about = self._credentials.about
        answer = framed(Accepted(seat, about.inviter, about.secret, certificate, trust))
        self.desk.answer(request, answer)
        self._joined(Joined(host, address, seat, self.desk.left))
        return answer


class Visit(asyncio.Protocol):
    """One connection to the desk: a request, an answer, and the end."""

    def __init__(self, reception: _Reception) -> None:
        self._reception = reception
        self._received = bytearray()
        self._transport: Any = None
        self._address = ""
        self._timer: asyncio.TimerHandle | None = None
        self.answered = False

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        peer = transport.get_extra_info("peername") or [""]  # it may be gone already
        self._address = str(peer[0])
        self._reception.visits.add(self)
        if (out := self._reception.crowd.enter(self, self._address)) is not None:
            out.abort()
        self._timer = asyncio.get_running_loop().call_later(_PATIENCE, transport.abort)

    def data_received(self, data: bytes) -> None:
        if self.answered:  # what else comes is of no use, and of any length
            return
        self._received += data
        if len(self._received) < LENGTH_BYTES:
            return
        try:
            length = length_of(self._received[:LENGTH_BYTES], MAX_REQUEST_BYTES)
        except InvitationError:
            self._transport.abort()
            return
        if len(self._received) >= LENGTH_BYTES + length:
            self.answered = True
            request = bytes(self._received[LENGTH_BYTES : LENGTH_BYTES + length])
            self._transport.write(self._reception.answer(request, self._address))

    def eof_received(self) -> None: ...

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._reception.visits.discard(self)
        self._reception.crowd.leave(self, self._address)
        self._reception.changed.set()

    def abort(self) -> None:
        self._transport.abort()


def _listening(port: int, stack: ExitStack) -> list[socket.socket]:
    try:
        first = stack.enter_context(socket.create_server(("0.0.0.0", port), backlog=_BACKLOG))
    except OSError as error:
        raise MembershipError(f"port {port} can't be opened: {error.strerror}; choose another with --port") from None
    sockets = [first]
    if socket.has_ipv6:
        with suppress(OSError):  # switched off on this host
            number = first.getsockname()[1]
            second = socket.create_server(("::", number), family=socket.AF_INET6, backlog=_BACKLOG)
            sockets.append(stack.enter_context(second))
    return sockets


def _context(credentials: Credentials) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0
    context.load_cert_chain(credentials.root, credentials.folder / AUTHORITY_KEY)
    return context
