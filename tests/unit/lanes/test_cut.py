"""A connection over loopback, which is never cut, whatever its other end does. (What is cut: tests/hosts.)"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from labc.lanes import cut
from labc.lanes.cut import is_cut, send_again_steadily
from labc.lanes.direct import _connected

pytestmark = pytest.mark.skipif(not cut.POSSIBLE, reason="there is no telling here")


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as mine:
        theirs, _ = server.accept()
        with theirs:
            yield mine, theirs


def test_a_peer_that_reads_nothing_is_not_cut_off(ends: tuple[socket.socket, socket.socket]) -> None:
    mine, _ = ends
    mine.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while mine.send(b"x" * 65536):
            pass
    assert not is_cut(mine, 0.0)


def test_what_is_no_connection_is_not_cut(ends: tuple[socket.socket, socket.socket]) -> None:
    mine, _ = ends
    mine.close()
    assert not is_cut(mine, 0.0)
    assert not is_cut(None, 0.0)
    one, other = socket.socketpair()
    with one, other:
        assert not is_cut(one, 0.0)


def test_what_was_lost_is_sent_again_in_equal_steps(ends: tuple[socket.socket, socket.socket]) -> None:
    mine, theirs = ends
    send_again_steadily(mine)
    assert [is_steady(end) for end in (mine, theirs)] == [True, False]
    one, other = socket.socketpair()
    with one, other:
        send_again_steadily(one)
        assert other.send(b"it is left alone") == 16
    mine.close()
    send_again_steadily(mine)
    send_again_steadily(None)


def test_a_lane_of_one_call_sends_again_in_equal_steps() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
        with _connected(f"tcp/{host}:{port}", 5.0) as connection:
            assert is_steady(connection)


def is_steady(connection: Any) -> bool:
    return bool(connection.getsockopt(socket.IPPROTO_TCP, 16))


class Tells:
    """A connection of which the system tells this."""

    family = socket.AF_INET

    def __init__(self, retransmits: int, unacked: int, last_ack_received: int) -> None:
        state = [1, 0, retransmits, 0, 0, 0, 0, 0]
        counters = [0] * 24
        counters[4], counters[12] = unacked, last_ack_received
        self._info = struct.pack("@8B24I", *state, *counters)

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        assert (level, option) == (socket.IPPROTO_TCP, socket.TCP_INFO)
        return self._info[:size]


@pytest.mark.parametrize(
    ("retransmits", "unacked", "last_ack", "expected"),
    [(2, 1, 2500, True), (1, 1, 2500, False), (2, 0, 2500, False), (2, 1, 2499, False), (9, 3, 60_000, True)],
)
def test_what_was_sent_again_and_is_not_acknowledged(
    retransmits: int, unacked: int, last_ack: int, expected: bool
) -> None:
    assert is_cut(Tells(retransmits, unacked, last_ack), 2.5, sent_again=2) is expected
