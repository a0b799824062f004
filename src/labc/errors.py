"""Every error that labc raises, in one tree.

::

    LabcError
    ├── NotFoundError          (LookupError)      nobody offers the name
    ├── CallTimeoutError       (TimeoutError)     sent, and no answer in time
    ├── PeerLostError          (ConnectionError)  the other node went away
    ├── HandshakeError         (ConnectionError)  two nodes that must not talk: version, network, identity
    ├── ProtocolError          (ConnectionError)  bytes on a lane that make no sense
    ├── FabricError            (ConnectionError)  this host's part of the network can't be reached or opened
    ├── RemoteError            (RuntimeError)     the function ran and raised
    ├── ArgumentsError         (TypeError)        the arguments don't fit the function; it did not run
    ├── CarryError             (TypeError)        a value that can't be carried over the network
    ├── OverloadedError        (RuntimeError)     a bound was reached; nothing ran
    ├── RefusedError           (PermissionError)  the settings of a node don't allow it; nothing ran
    ├── FilesError             (RuntimeError)     a share or a file that can't be had
    ├── NameInvalidError       (ValueError)       a name, topic or pattern that can't be used
    ├── SettingsError          (ValueError)       a setting with a bad value
    ├── MembershipError        (RuntimeError)     the key of a network can't be used, made, got or given
    ├── InvitationError        (ValueError)       an invitation with a typo, or one that is not good any more
    ├── BlockingCallError      (RuntimeError)     a blocking verb on the node's own event loop
    ├── OutsideError           (LookupError)      asked for the current call or message outside of one
    ├── ForkedError            (RuntimeError)     use after fork
    └── ClosedError            (RuntimeError)     the node, handle or lane was closed by this program

Each also inherits the standard type in brackets, so that ``except TimeoutError`` works as one expects.
Every error carries fields and builds its own message from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

Ran = Literal["no", "maybe", "yes"]
"""What is known of a remote function that gave no result: it did not run, it may have, it did."""

_RAN_TEXT: dict[Ran, str] = {
    "no": "the function did not run",
    "maybe": "the function may have run",
    "yes": "the function ran",
}


class LabcError(Exception):
    """The root of the tree: ``except labc.LabcError`` catches whatever labc raises."""

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


class NotFoundError(LabcError, LookupError):
    """Nobody offers the function ``name``, there is no node of that ``name``, or no value of that topic is retained.
    Nothing ran."""

    def __init__(
        self,
        name: str,
        *,
        near: Sequence[str] = (),
        nodes: int = 0,
        hosts: int = 0,
        detail: str = "",
        kind: Literal["function", "node", "value"] = "function",
    ) -> None:
        self.name = name
        self.near = tuple(near)
        self.nodes = nodes
        self.hosts = hosts
        self.detail = detail
        self.kind = kind
        text = f"nobody offers {name!r}" if kind == "function" else f"there is no node {name!r}"
        if detail:
            text += f": {detail}"
        if kind == "value":
            text = f"no value of the topic {name!r} is retained: publish(..., retain=True) leaves one"
        else:
            text += f" (looked at {_count(nodes, 'node')} on {_count(hosts, 'host')})"
        if self.near:
            text += "; did you mean " + " or ".join(repr(n) for n in self.near) + "?"
        super().__init__(text)


class CallTimeoutError(LabcError, TimeoutError):
    """``name`` was sent to a provider that gave no answer within ``timeout`` seconds."""

    def __init__(self, name: str, timeout: float, *, where: str = "", ran: Ran = "maybe") -> None:
        self.name = name
        self.timeout = timeout
        self.where = where
        self.ran = ran
        place = f" from {where}" if where else ""
        super().__init__(f"no answer to {name!r}{place} within {timeout:g} s; {_RAN_TEXT[ran]}")


class PeerLostError(LabcError, ConnectionError):
    """The node at ``where`` went away: it died, hung, or can't be reached. ``ran`` says what is known."""

    def __init__(self, where: str, reason: str, *, ran: Ran = "maybe") -> None:
        self.where = where
        self.reason = reason
        self.ran = ran
        super().__init__(f"lost {where}: {reason}; {_RAN_TEXT[ran]}")


class HandshakeError(LabcError, ConnectionError):
    """Two nodes met that must not talk: another version, another network, or not the node one asked for."""


class ProtocolError(LabcError, ConnectionError):
    """Bytes arrived on a lane that make no sense; the lane is closed."""


class FabricError(LabcError, ConnectionError):
    """This node can't take its place in the network: no root can be opened or reached on its host."""


class RemoteError(LabcError, RuntimeError):
    """The function ran at ``node`` on ``host`` and raised ``type``; its traceback is in the notes."""

    def __init__(self, type: str, message: str, *, traceback: str = "", host: str = "", node: str = "") -> None:
        self.type = type
        self.message = message
        self.traceback = traceback
        self.host = host
        self.node = node
        place = f" (at {node} on {host})" if node else ""
        super().__init__(f"{type}: {message}{place}" if message else f"{type}{place}")
        if traceback:
            self.add_note(f"\nRemote traceback, {node} on {host}:\n{traceback}".rstrip())


class ArgumentsError(LabcError, TypeError):
    """The arguments don't fit ``function``: ``argument`` should have been ``expected``. It did not run."""

    def __init__(self, function: str, problem: str, *, argument: str = "", expected: str = "") -> None:
        self.function = function
        self.problem = problem
        self.argument = argument
        self.expected = expected
        super().__init__(f"{function}(): {problem}")


class CarryError(LabcError, TypeError):
    """The value at ``where`` (``args[0].frames[3]``) can't be carried over the network."""

    def __init__(self, where: str, problem: str) -> None:
        self.where = where
        self.problem = problem
        super().__init__(f"{where}: {problem}")


class OverloadedError(LabcError, RuntimeError):
    """A bound was reached (too many calls at once, too much waiting to be sent). Nothing ran."""


class RefusedError(LabcError, PermissionError):
    """``where`` does not allow ``who`` to call, publish or subscribe (``verb``) ``name``, by its ``rule``. Nothing
    ran."""

    def __init__(self, verb: str, name: str, who: str, *, where: str, rule: str) -> None:
        self.verb = verb
        self.name = name
        self.who = who
        self.where = where
        self.rule = rule
        super().__init__(f"{where} does not allow {who} to {verb} {name!r}: {rule}")


class FilesError(LabcError, RuntimeError):
    """A share or a path that can't be used, or files that did not arrive: ``failed`` says why, by their paths.

    ``summary`` is what became of the others, if any files were on their way.
    """

    def __init__(self, text: str, failed: Mapping[str, str] | None = None, summary: Any = None) -> None:
        self.failed = dict(failed or {})
        self.summary = summary
        super().__init__(text)


class NameInvalidError(LabcError, ValueError):
    """A function name, topic or pattern that can't be used; the message says where and why."""


class SettingsError(LabcError, ValueError):
    """A setting with a bad value; the message names the key, the value and what was expected."""


class MembershipError(LabcError, RuntimeError):
    """A membership of a keyed network that can't be used, made, got or given; the message says what to do."""


class InvitationError(LabcError, ValueError):
    """An invitation that can't be read, or that the inviting host does not accept (any more)."""


class BlockingCallError(LabcError, RuntimeError):
    """A blocking verb was used on the node's own event loop, which would wait for itself."""

    def __init__(self, verb: str, instead: str = "") -> None:
        self.verb = verb
        instead = instead or f"`await labc.aio.{verb}(...)`"
        super().__init__(f"labc.{verb}() would block the event loop that has to do its work: use {instead} here")


class OutsideError(LabcError, LookupError):
    """``current_call()`` or ``current_message()`` was used by code that serves neither."""


class ForkedError(LabcError, RuntimeError):
    """The process was forked from one with a running node, whose connections did not come along."""

    def __init__(self) -> None:
        super().__init__(
            "this process was forked from one in which labc was already running, and its network connections "
            "did not come along: start the process with multiprocessing's 'spawn' or 'forkserver' method, "
            "or use labc in the parent only after the fork"
        )


class ClosedError(LabcError, RuntimeError):
    """The node, handle or lane was closed by this program."""


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _rebuild(cls: type[LabcError], args: tuple[object, ...], fields: dict[str, object]) -> LabcError:
    """Unpickle an error without running its ``__init__``, whose parameters are not its ``args``."""
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(fields)
    return error
