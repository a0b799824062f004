"""What a running function can know of the call that it serves."""

from __future__ import annotations

import time
from contextvars import ContextVar

from labc.directory import NodeRecord, Who
from labc.errors import OutsideError

_current: ContextVar[CallContext] = ContextVar("labc_current_call")


class CallContext:
    """One call, as the function that serves it sees it."""

    __slots__ = (
        "_cancelled",
        "_told",
        "began",
        "caller",
        "deadline",
        "finished",
        "host",
        "name",
        "node",
        "node_id",
        "who",
    )

    def __init__(
        self,
        name: str,
        host: str,
        node: str,
        node_id: str,
        timeout: float | None,
        caller: NodeRecord | None = None,
        who: Who | None = None,
    ) -> None:
        self.name = name
        """The name under which the function was called."""
        self.host = host
        """The caller's host name."""
        self.node = node
        """The caller's node name."""
        self.node_id = node_id
        self.caller = caller
        """For labc itself: who it is, as far as that can be believed."""
        self.who = who
        """For labc itself: the other end of the connection; None: this node itself."""
        self.began = time.monotonic()
        """When it came, on the clock of ``time.monotonic()`` of this process."""
        self.deadline = None if timeout is None else self.began + timeout
        """When the caller stops waiting, on the same clock; None: never."""
        self.finished = False
        """Whether it has been answered; what it started may live longer."""
        self._cancelled = self._told = False

    @property
    def remaining(self) -> float | None:
        """Seconds until the deadline, not below 0; None without one."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    @property
    def cancelled(self) -> bool:
        """Whether the caller has cancelled, timed out or gone away: a function in a thread should look at it
        from time to time and return early. (A coroutine is cancelled instead.)"""
        self._told = self._told or self._cancelled or self.remaining == 0.0
        return self._told

    @property
    def has_result(self) -> bool:
        """For labc itself: whether what the function returns counts. Not after the deadline, nor when the function was
        told that it is cancelled: it may have returned early."""
        return not self._told and self.remaining != 0.0

    def cancel(self) -> bool:
        """For labc itself: nobody waits for the answer any more. True the first time."""
        first = not self._cancelled
        self._cancelled = True
        return first

    def __repr__(self) -> str:
        return f"<call of {self.name!r} by {self.node} on {self.host}>"


def current_call() -> CallContext:
    """The call that the running function serves.

    Raises:
        OutsideError: this code was not called over the network.
    """
    try:
        return _current.get()
    except LookupError:
        raise OutsideError("current_call() is for functions while they serve a call") from None


def find_current_call() -> CallContext | None:
    """The call that is being served here and waits for its answer, if any."""
    context = _current.get(None)
    return None if context is None or context.finished else context


def set_current_call(context: CallContext) -> None:
    """For this task or thread, and what it starts."""
    _current.set(context)
