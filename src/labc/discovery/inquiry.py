"""Asks around which roots there are, of this network and of others, and listens to what they say by multicast."""

from __future__ import annotations

import os
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from labc.discovery.datagrams import MAX_BYTES, TOKEN_BYTES, decode
from labc.discovery.description import Description, description_in, who_are_you, who_is_there
from labc.discovery.sockets import listen_on, open_ears, open_mouth, send_to_group
from labc.discovery.subnets import Address

_PAUSE = 0.0005
"""Seconds between two asks."""
_LOOK = 0.05
"""Seconds after which it looks whether it is done, when nothing comes."""
_AGAIN = 0.3
"""Seconds from one time to the next."""
_AFTER_LAST = 1.2
"""Seconds in which answers to the last ask may come."""
_PERIOD = 5.2
"""Seconds in which every root that uses multicast has asked by it, see `asking.PERIOD`."""


@dataclass
class Found:
    """A root that answered, or was heard."""

    address: str
    port: int
    """The TCP port of the root."""
    digest: bytes
    """Of its network."""
    root_id: str
    by_multicast: bool = False
    """It answered what was asked by multicast."""
    directly: bool = False
    """It answered what was asked at its address."""
    is_heard_by_multicast: bool = False
    """What it asks by multicast comes here."""
    description: Description | None = None
    clock: float | None = None
    """Seconds by which its clock is ahead of this one."""


@dataclass
class Around:
    """What an inquiry found out."""

    found: list[Found] = field(default_factory=list)
    can_send: bool = True
    """Whether a multicast could be sent on any interface."""
    can_listen: bool = True
    """Whether the multicast port could be opened."""


class Question(NamedTuple):
    """Where it is asked who is there."""

    address: str
    """The one that is asked; by multicast: the one of this host from which."""
    port: int
    by_multicast: bool = False


def inquire(
    addresses: Sequence[Address],
    group_port: int,
    questions: Iterable[Question],
    wait_for_multicast: Callable[[Found], bool] = lambda found: False,
    *,
    times: int = 3,
) -> Around:
    """Ask so many times, as datagrams may be lost, and listen at the multicast port meanwhile. Blocks for some seconds:
    until all have had the time to answer, and all who are waited for were heard by multicast.

    Raises OSError: there are no sockets left.
    """
    return _Inquiry(list(questions), times, wait_for_multicast).run(group_port, [each.address for each in addresses])


class _Inquiry:
    def __init__(self, questions: Sequence[Question], times: int, wait_for_multicast: Callable[[Found], bool]) -> None:
        self._questions = deque((again * _AGAIN, question) for again in range(times) for question in questions)
        self._wait_for_multicast = wait_for_multicast
        self._to_group, self._to_place, self._to_known = (os.urandom(TOKEN_BYTES) for _ in range(3))
        self._around = Around()
        self._by_root: dict[tuple[str, str], Found] = {}
        self._asked_who: dict[tuple[str, int], float] = {}
        self._heard: set[tuple[str, str]] = set()
        self._multicasts: list[bool] = []
        """Of each, whether it could be sent."""

    def run(self, group_port: int, addresses: Sequence[str]) -> Around:
        with open_mouth(0) as mouth:
            try:
                ears = open_ears(group_port)
            except OSError:
                self._around.can_listen = False
                self._run(mouth, None)
            else:
                with ears:
                    listen_on(ears, addresses)
                    self._run(mouth, ears)
        self._around.can_send = any(self._multicasts) or not self._multicasts
        self._around.found = sorted(self._by_root.values(), key=lambda found: (found.address, found.port))
        for found in self._around.found:
            found.is_heard_by_multicast = (found.address, found.root_id) in self._heard
        return self._around

    def _run(self, mouth: socket.socket, ears: socket.socket | None) -> None:
        last = began = time.monotonic()
        sockets = [mouth] if ears is None else [mouth, ears]
        while True:
            now = time.monotonic()
            if self._questions and self._questions[0][0] <= now - began:
                self._ask(mouth, self._questions.popleft()[1])
                last = now
            elif self._is_done(now - began, now - last, listens=ears is not None):
                return
            pause = _PAUSE if self._questions else _LOOK
            for sock in select.select(sockets, [], [], pause)[0]:
                with suppress(OSError):
                    data, source = sock.recvfrom(MAX_BYTES)
                    if sock is ears:
                        self._hear(data, source[0])
                    else:
                        self._take(data, source, mouth)

    def _is_done(self, since_start: float, since_last: float, *, listens: bool) -> bool:
        if self._questions or since_last < _AFTER_LAST:
            return False
        waits = listens and any(
            self._wait_for_multicast(found) and key not in self._heard for key, found in self._by_root.items()
        )
        return not waits or since_start > _PERIOD

    def _ask(self, mouth: socket.socket, question: Question) -> None:
        try:
            if question.by_multicast:
                send_to_group(mouth, who_is_there(self._to_group), question.port, question.address)
            else:
                mouth.sendto(who_is_there(self._to_place), (question.address, question.port))
        except OSError:  # there is no way
            sent = False
        else:
            sent = True
        if question.by_multicast:
            self._multicasts.append(sent)

    def _hear(self, data: bytes, address: str) -> None:
        datagram = decode(data)
        if datagram is not None and not datagram.answer:
            self._heard.add((address, datagram.root_id))

    def _take(self, data: bytes, source: tuple[str, int], mouth: socket.socket) -> None:
        now, address = time.time(), source[0]
        datagram = decode(data)
        if datagram is not None and datagram.answer and datagram.token in (self._to_group, self._to_place):
            found = self._found(address, datagram.port, datagram.digest, datagram.root_id)
            found.by_multicast |= datagram.token == self._to_group
            found.directly |= datagram.token == self._to_place
            if found.description is None:
                self._asked_who[source] = now
                mouth.sendto(who_are_you(self._to_known), source)
        elif (told := description_in(data, self._to_known)) is not None and source in self._asked_who:
            found = self._found(address, told.port, told.digest, told.root_id)
            found.description = told
            found.clock = told.time - (self._asked_who[source] + now) / 2

    def _found(self, address: str, port: int, digest: bytes, root_id: str) -> Found:
        return self._by_root.setdefault((address, root_id), Found(address, port, digest, root_id))
