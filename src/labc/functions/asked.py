"""One call that is to be made: what is asked for, and what was tried for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import msgspec

from labc.directory import NodeRecord, Who
from labc.errors import NotFoundError, PeerLostError
from labc.functions.options import Options
from labc.functions.outgoing import Outgoing
from labc.wire import Body


class Asked(msgspec.Struct, frozen=True, gc=False):
    """One call, checked and encoded once, however many are asked."""

    name: str
    arguments: Body
    options: Options
    timeout: float
    deadline: float
    streams: Sequence[Outgoing] = ()
    """Those among the arguments."""
    for_whom: Callable[[Who], None] | None = None
    """Raises RefusedError: it is not for who is at the other end of that lane. Without: it is for whoever is there."""

    def check_streams(self) -> None:
        """Raises ValueError: one has been sent already."""
        for each in self.streams:
            each.check()

    @property
    def remaining(self) -> float:
        return max(0.0, self.deadline - time.monotonic())


class Tries:
    """How often a call may still be lost, whom not to ask for it again, and what to say when nobody is left."""

    __slots__ = ("denied", "first", "left", "over", "problem", "ran")

    def __init__(self, retry: int) -> None:
        self.left = 1 + retry
        self.over: set[str] = set()
        self.ran: set[str] = set()
        """Those that were lost when it may have run there."""
        self.first: NodeRecord | None = None
        """Whose turn it is, if that is decided already."""
        self.denied: NotFoundError | None = None
        """What the one that was named says of it."""
        self.problem: PeerLostError | None = None
        """One after which the call may have run says more than one after which it has not."""

    def lost(self, error: PeerLostError) -> None:
        if error.ran != "no":
            self.left -= 1
        elif self.problem is not None and self.problem.ran != "no":
            return
        self.problem = error
