"""PURE. Who is let in with one invitation, and how often."""

from __future__ import annotations

import hmac

from labc.errors import InvitationError


class Desk:
    """Decides on requests; ``now`` is in seconds since 1970, like ``expires``. ``uses`` 0: as many as come in time.

    Who asks a second time, as the answer did not reach it, gets the same answer, and does not count twice.
    """

    def __init__(self, secret: bytes, expires: float, uses: int) -> None:
        self.secret = secret
        self._expires = expires
        self._uses = uses
        self._answers: dict[str, bytes] = {}
        self.wrong = 0
        """Requests with a wrong secret."""

    @property
    def left(self) -> int | None:
        """How many hosts can join yet. None: any number."""
        return max(0, self._uses - len(self._answers)) if self._uses else None

    def answered(self, secret: bytes, request: str, now: float) -> bytes | None:
        """The answer that this request had before; None: it is to be answered, then :meth:`answer` has to follow.

        Raises:
            InvitationError: it is not to be answered; says why. Who does not know the secret learns nothing else.
        """
        if not hmac.compare_digest(secret, self.secret):
            self.wrong += 1
            raise InvitationError("the inviting host does not know this invitation: ask for a new one")
        if (answer := self._answers.get(request)) is not None:
            return answer
        if now >= self._expires:
            raise InvitationError("the invitation has expired: ask for a new one (`labc network invite`)")
        if self.left == 0:
            raise InvitationError("the invitation was used already: ask for a new one (`labc network invite`)")
        return None

    def answer(self, request: str, answer: bytes) -> None:
        self._answers[request] = answer

    def is_open(self, now: float) -> bool:
        """Whether somebody could still join."""
        return now < self._expires and self.left != 0
