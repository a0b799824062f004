"""Inviting and joining over real connections, in this process; with strangers, floods and lost answers between."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import msgspec
import psutil
import pytest
from keyed import data_of

from labc.enrolment import Joined, invite, join, joining
from labc.enrolment import inviting as enrolment_inviting
from labc.enrolment.messages import Accepted
from labc.errors import InvitationError, MembershipError
from labc.security import Credentials, credentials_of
from labc.security.authority import create, issued
from labc.security.invitation import Invitation

Inviting = Callable[..., "Waiting"]
WITHIN = 20.0


@dataclasses.dataclass
class Waiting:
    """An inviting host, in a thread."""

    founder: Credentials
    invitation: Invitation
    joined: SimpleQueue[Joined]
    thread: threading.Thread

    def ended(self, within: float = WITHIN) -> bool:
        self.thread.join(within)
        return not self.thread.is_alive()


@pytest.fixture
def inviting(tmp_path: Path) -> Iterator[Inviting]:
    with data_of(tmp_path / "founder"):
        founder = create("lab1", "founder", datetime.now(UTC))
    threads: list[Waiting] = []

    def begin(uses: int = 1, seconds: float = 30.0) -> Waiting:
        ready: SimpleQueue[Invitation] = SimpleQueue()
        joined: SimpleQueue[Joined] = SimpleQueue()
        options: dict[str, Any] = {"seconds": seconds, "uses": uses, "addresses": ("127.0.0.1",)}
        thread = threading.Thread(
            target=lambda: invite(founder, ready=ready.put, joined=joined.put, **options), name="inviting"
        )
        thread.start()
        waiting = Waiting(founder, ready.get(timeout=WITHIN), joined, thread)
        threads.append(waiting)
        return waiting

    yield begin
    for waiting in threads:
        assert waiting.ended(35.0)


def join_as(tmp_path: Path, name: str, invitation: Invitation, timeout: float = WITHIN) -> Credentials:
    with data_of(tmp_path / name):
        return join(invitation, name, timeout=timeout)


def test_one_joins_and_a_second_one_is_too_late(inviting: Inviting, tmp_path: Path) -> None:
    waiting = inviting(uses=1)
    credentials = join_as(tmp_path, "h2", waiting.invitation)
    assert waiting.joined.get(timeout=WITHIN)[:3] == ("h2", "127.0.0.1", 1)
    assert waiting.ended()
    with data_of(tmp_path / "h2"):
        assert credentials_of("lab1") == credentials
    assert credentials.realm == waiting.founder.realm
    assert credentials.secret == waiting.founder.secret
    with pytest.raises(MembershipError, match=r"can't be reached at port .*labc network invite"):
        join_as(tmp_path, "h3", waiting.invitation, timeout=0.2)
    assert not (tmp_path / "h3" / "labc").exists()
    assert issued(waiting.founder) == {0: "founder", 1: "h2"}


def test_who_is_a_member_already_does_not_use_it_up(inviting: Inviting, tmp_path: Path) -> None:
    waiting = inviting(uses=2)
    join_as(tmp_path, "h2", waiting.invitation)
    with pytest.raises(MembershipError, match="already"):
        join_as(tmp_path, "h2", waiting.invitation)
    join_as(tmp_path, "h3", waiting.invitation)
    assert [waiting.joined.get(timeout=WITHIN).left for _ in range(2)] == [1, 0]


def test_an_answer_that_was_lost_is_given_again(
    inviting: Inviting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = inviting(uses=2, seconds=5.0)
    read = joining._read
    failures = iter([ConnectionResetError("lost")])

    def lose_the_first(*arguments: Any) -> bytes:
        data = read(*arguments)
        if (failure := next(failures, None)) is not None:
            raise failure
        return data

    monkeypatch.setattr(joining, "_read", lose_the_first)
    assert join_as(tmp_path, "h2", waiting.invitation).about.seat == 1
    assert waiting.joined.get(timeout=WITHIN).left == 1
    assert waiting.joined.empty()
    assert issued(waiting.founder) == {0: "founder", 1: "h2"}, "it took one seat"


def test_expired_and_wrong_invitations(inviting: Inviting, tmp_path: Path) -> None:
    waiting = inviting(uses=1)
    replace = msgspec.structs.replace
    with pytest.raises(InvitationError, match="expired"):
        join_as(tmp_path, "h2", replace(waiting.invitation, expires=int(time.time()) - 300))
    with pytest.raises(InvitationError, match="not the host that made this invitation"):
        join_as(tmp_path, "h2", replace(waiting.invitation, fingerprint=bytes(16)))
    with pytest.raises(InvitationError, match="does not know this invitation"):
        join_as(tmp_path, "h2", replace(waiting.invitation, secret=bytes(16)))
    assert issued(waiting.founder) == {0: "founder"}
    assert join_as(tmp_path, "h2", waiting.invitation).about.seat == 1


def test_it_ends_with_its_time(inviting: Inviting) -> None:
    began = time.monotonic()
    assert inviting(uses=1, seconds=1.0).ended()
    assert time.monotonic() - began < WITHIN


def test_strangers_who_flood_it_stop_nobody(inviting: Inviting, tmp_path: Path) -> None:
    """Half-open connections, garbage, and the halves of handshakes; more than it keeps."""
    waiting = inviting(uses=1)
    place = ("127.0.0.1", waiting.invitation.port)
    over = threading.Event()

    def flood(number: int) -> None:
        with contextlib.ExitStack() as stack:
            while not over.is_set():
                with contextlib.suppress(OSError):
                    stranger = stack.enter_context(socket.create_connection(place, 5.0))
                    if number == 1:
                        stranger.sendall(os.urandom(100))
                    elif number == 2:
                        stranger.sendall(b"\x16\x03\x01\x02\x00\x01\x00")
                over.wait(0.005)

    floods = [threading.Thread(target=flood, args=(number,), daemon=True) for number in range(3)]
    for thread in floods:
        thread.start()
    try:
        time.sleep(0.5)
        assert join_as(tmp_path, "h2", waiting.invitation).about.seat == 1
    finally:
        over.set()
        for thread in floods:
            thread.join(10.0)


def test_a_request_that_is_nonsense_gets_a_sentence_and_harms_nobody(inviting: Inviting, tmp_path: Path) -> None:
    waiting = inviting(uses=1)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for request in (b"\x00\x00\x00\x05hello", b"GET / HTTP/1.1\r\n\r\n"):
        with (
            socket.create_connection(("127.0.0.1", waiting.invitation.port), 5.0) as plain,
            context.wrap_socket(plain) as connection,
        ):
            connection.sendall(request)
            with contextlib.suppress(OSError):
                answer = connection.recv(4096)
                assert b"certificate" not in answer
    assert join_as(tmp_path, "h2", waiting.invitation).about.seat == 1


def test_strangers_who_pass_the_handshake_and_stay_are_bounded(
    inviting: Inviting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enrolment_inviting, "_PATIENCE", 60.0)
    waiting = inviting(uses=1)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with contextlib.ExitStack() as stack:
        place = ("127.0.0.1", waiting.invitation.port)
        strangers = [
            stack.enter_context(context.wrap_socket(stack.enter_context(socket.create_connection(place, WITHIN))))
            for _ in range(enrolment_inviting._MAX_VISITS_EACH + 4)
        ]
        for first in strangers[:4]:
            try:
                assert first.recv(1) == b""
            except ConnectionError:  # as well
                pass
        assert join_as(tmp_path, "h2", waiting.invitation).about.seat == 1
        assert waiting.ended()


def test_strangers_do_not_keep_it_from_ending(inviting: Inviting, tmp_path: Path) -> None:
    waiting = inviting(uses=1)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    over, asked = threading.Event(), threading.Event()

    def ask_and_stay() -> None:
        with contextlib.ExitStack() as stack:
            while not over.wait(0.2):
                with contextlib.suppress(OSError):
                    plain = stack.enter_context(socket.create_connection(("127.0.0.1", waiting.invitation.port), 5.0))
                    connection = stack.enter_context(context.wrap_socket(plain))
                    connection.sendall(b"\x00\x00\x00\x05hello")
                    asked.set()

    stranger = threading.Thread(target=ask_and_stay)
    stranger.start()
    try:
        assert asked.wait(WITHIN)
        join_as(tmp_path, "h2", waiting.invitation)
        assert waiting.ended()
    finally:
        over.set()
        stranger.join()


def test_what_a_stranger_sends_behind_his_request_is_not_kept(inviting: Inviting, tmp_path: Path) -> None:
    waiting = inviting(uses=1)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    process, chunk = psutil.Process(), bytes(1 << 20)
    before = process.memory_info().rss
    with (
        socket.create_connection(("127.0.0.1", waiting.invitation.port), 5.0) as plain,
        context.wrap_socket(plain) as connection,
    ):
        connection.sendall(b"\x00\x00\x00\x05hello")
        most = 0
        with contextlib.suppress(OSError):  # it may have had enough
            for _ in range(200):
                connection.sendall(chunk)
                most = max(most, process.memory_info().rss - before)
        assert most < 50 << 20
    assert join_as(tmp_path, "h2", waiting.invitation).about.seat == 1


def test_an_answer_for_somebody_else_is_not_kept(
    inviting: Inviting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = inviting(uses=1)
    parse = joining.parse_answer
    other = (waiting.founder.folder / "host.pem").read_text()

    def exchanged(data: bytes) -> Accepted:
        return msgspec.structs.replace(parse(data), certificate=other)

    monkeypatch.setattr(joining, "parse_answer", exchanged)
    with pytest.raises(InvitationError, match="somebody else"):
        join_as(tmp_path, "h2", waiting.invitation)
    assert not (tmp_path / "h2" / "labc").exists()
