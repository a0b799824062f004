"""Who is let in with an invitation."""

from __future__ import annotations

import pytest

from labc.enrolment.desk import Desk
from labc.enrolment.messages import (
    MAX_REQUEST_BYTES,
    VERSION,
    Accepted,
    Declined,
    Request,
    framed,
    length_of,
    parse_answer,
    parse_request,
)
from labc.errors import InvitationError

SECRET = b"s" * 16


def test_as_many_as_it_is_for() -> None:
    desk = Desk(SECRET, expires=100.0, uses=2)
    assert desk.left == 2
    for request in ("a", "b"):
        assert desk.is_open(10.0)
        assert desk.answered(SECRET, request, 10.0) is None
        desk.answer(request, request.encode())
    assert desk.left == 0
    assert not desk.is_open(10.0)
    with pytest.raises(InvitationError, match="used already"):
        desk.answered(SECRET, "c", 10.0)


def test_any_number() -> None:
    desk = Desk(SECRET, expires=100.0, uses=0)
    for number in range(50):
        assert desk.answered(SECRET, str(number), 10.0) is None
        desk.answer(str(number), b"")
    assert desk.left is None
    assert desk.is_open(10.0)


def test_who_asks_again_gets_the_same_and_does_not_count_twice() -> None:
    desk = Desk(SECRET, expires=100.0, uses=1)
    assert desk.answered(SECRET, "a", 10.0) is None
    desk.answer("a", b"certificate")
    assert desk.answered(SECRET, "a", 11.0) == b"certificate"
    assert desk.left == 0


def test_not_for_ever() -> None:
    desk = Desk(SECRET, expires=100.0, uses=1)
    assert desk.is_open(99.9)
    assert not desk.is_open(100.0)
    with pytest.raises(InvitationError, match="expired"):
        desk.answered(SECRET, "a", 100.0)


@pytest.mark.parametrize("wrong", [b"", b"t" * 16, SECRET[:-1], SECRET + b"s"])
def test_a_wrong_secret_learns_nothing(wrong: bytes) -> None:
    for desk in (Desk(SECRET, 100.0, 1), Desk(SECRET, 0.0, 1)):
        with pytest.raises(InvitationError, match="does not know this invitation"):
            desk.answered(wrong, "a", 10.0)
        assert desk.wrong == 1


def test_messages_there_and_back() -> None:
    request = Request(1, SECRET, "h", "pem")
    data = framed(request)
    assert length_of(data[:4], MAX_REQUEST_BYTES) == len(data) - 4
    assert parse_request(data[4:]) == request
    assert "s" * 16 not in repr(request)
    accepted = Accepted(3, "h1", "shared", "certificate", "trust")
    assert parse_answer(framed(accepted)[4:]) == accepted
    with pytest.raises(InvitationError, match="not today"):
        parse_answer(framed(Declined("not today"))[4:])


NO_TEXT = framed(Request(VERSION, SECRET, "hhh", "pem"))[4:].replace(b"hhh", b"h\x80h")


@pytest.mark.parametrize("data", [b"", b"\xff\xff", framed(Request(2, SECRET, "h", "pem"))[4:], NO_TEXT])
def test_bad_messages(data: bytes) -> None:
    with pytest.raises(InvitationError):
        parse_request(data)
    with pytest.raises(InvitationError):
        parse_answer(data)


def test_a_length_that_is_no_length() -> None:
    with pytest.raises(InvitationError, match="no answer of labc"):
        length_of(b"GET ", MAX_REQUEST_BYTES)
