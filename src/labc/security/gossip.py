"""PURE. How the members of a network come to have the same, newest edition of whom to trust."""

from __future__ import annotations

from typing import Literal

ANNOUNCE_EVERY = 10.0
"""Seconds in which a root tells which edition it has, so that a host that was away meanwhile hears of a newer one."""
TELL_AGAIN = 1.0
"""Seconds in which an edition is sent once at most, whoever asks for it."""

LET_OTHERS = 1.0
"""Seconds that a node which is no root leaves to that of its host, which mostly has the same file, at least."""

Act = Literal["send", "take", "want", "nothing"]


class Gossip:
    """Decides for one node; ``now`` is in seconds of any clock. A node tells which edition it has; who has a newer one
    sends it.

    A root does so at once. Others leave it to the root of their host; but this may be another user's, who has not got
    the same file: so they do it themselves a while later, if it is still needed.
    """

    def __init__(self) -> None:
        self._announced = float("-inf")
        self._is_behind = False
        """Whether somebody told of a newer one since this node told of its own."""
        self._sent: tuple[int, float] = (-1, float("-inf"))
        self._later: dict[Act, float] = {}

    def announces(self, now: float) -> bool:
        """Whether to tell the others now which edition is here; then it counts as told."""
        if now - self._announced < (TELL_AGAIN if self._is_behind else ANNOUNCE_EVERY):
            return False
        self._announced, self._is_behind = now, False
        return True

    def hurry(self) -> None:
        """There may be others: tell them soon."""
        self._announced = float("-inf")

    def heard(self, theirs: int, has_text: bool, mine: int, now: float) -> Act:
        """Somebody has told which edition he has, and sent it or not."""
        if theirs > mine:
            self._is_behind = not has_text
            return "take" if has_text else "want"  # it comes when this node tells what it has, which it does soon
        if theirs < mine and self.sends(mine, now):
            return "send"
        return "nothing"

    def sends(self, mine: int, now: float) -> bool:
        """Whether to send the edition that is here; then it counts as sent."""
        number, at = self._sent
        if number == mine and now - at < TELL_AGAIN:
            return False
        self._sent = mine, now
        return True

    def postpone(self, act: Act, until: float) -> None:
        """Others may be about to do so."""
        self._later.setdefault(act, until)

    def is_due(self, act: Act, now: float) -> bool:
        """Whether what was postponed is to be looked at now; then it is over."""
        if self._later.get(act, float("inf")) > now:
            return False
        del self._later[act]
        return True
