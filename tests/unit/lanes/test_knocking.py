"""What connections meet."""

from __future__ import annotations

import asyncio
import socket

from labc.lanes.knocking import best, knock


def test_open_and_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # nobody else gets it
        there, refused = listening.getsockname(), bound.getsockname()
        assert asyncio.run(knock([there, refused, there], 5.0)) == {there: "open", refused: "refused"}


def test_silent() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        place = full.getsockname()
        with socket.socket() as first, socket.socket() as second:
            for each in (first, second):  # its queue is full: what comes then gets no answer
                each.setblocking(False)
                each.connect_ex(place)
            assert asyncio.run(knock([place], 0.2)) == {place: "silent"}


def test_no_way() -> None:
    place = ("255.255.255.255", 80)
    assert asyncio.run(knock([place], 5.0)) == {place: "no way"}


def test_the_best() -> None:
    assert best([]) is None
    assert best(["silent", "no way", "refused"]) == "refused"
    assert best(["silent", "open", "refused"]) == "open"
