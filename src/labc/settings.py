"""What can be set, with units, defaults and trade-offs.

Sources, the later ones win: the defaults below, the ``LABC_NETWORK`` and ``LABC_NAME`` variables of the
environment, the arguments of ``labc.init(...)`` or ``labc.Node(...)``.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from labc.errors import SettingsError

MAX_NAME_BYTES = 255
"""The longest name of a network, node, function or topic level, as UTF-8."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one node. Times are seconds, sizes are bytes."""

    network: str = "labc"
    """Nodes with the same network name find each other; others never see them."""

    name: str = ""
    """The node's readable name; empty: the program's file name. It need not be unique."""

    root_port: int = 0
    """The TCP port of a host's root. 0: 55555 for the network "labc", and one worked out from the name for
    any other network, the same on every host. The three ports after it are used when it is held by a process
    that does not answer."""

    timeout: float = 3600.0
    """How long a call waits for its answer. Long, because the loss of a provider is noticed by heartbeats
    and not by this: it only ends the wait for a function that never returns."""

    find_timeout: float = 2.0
    """How long a call waits for somebody to offer the name. Trade-off: the start-up of other nodes that is
    forgiven, against the time in which a misspelt name is reported."""

    connect_timeout: float = 2.0
    """How long all the addresses of a node together are tried for a direct lane before the call fails."""

    relay_after: float = 0.5
    """After this long with no direct lane, a relay over the fabric is tried as well."""

    heartbeat_interval: float = 0.5
    """A lane on which nothing was heard for this long is asked for a sign of life."""

    heartbeat_timeout: float = 2.5
    """A node silent on its lane for this long, and no longer present in the network, is lost. Found within
    ``heartbeat_timeout + heartbeat_interval``. Shorter finds hung nodes sooner, and mistakes a busy network or
    a machine short of memory for one; not below ``fabric_lease`` + 0.25."""

    fabric_lease: float = 2.0
    """A host silent on the fabric for this long (cut cable, power) is gone from the network."""

    presence_grace: float = 1.0
    """A node or offer that vanishes from the fabric without goodbye is kept, last in line, for this long:
    a change of root takes every node's presence away for some 0.15 s."""

    max_message_bytes: int = 1 << 30
    """The largest value, with all its arrays, that is sent or taken in one call or message on a lane."""

    max_lanes: int = 1024
    """Lanes that others may have open to this node at once; further ones are refused."""

    max_calls: int = 1000
    """Calls from others that run here at once; further ones are refused with OverloadedError."""

    max_pending_bytes: int = 64 << 20
    """What may wait to be sent on a lane before a new call has to wait for room."""

    queue_size: int = 1000
    """Messages that may wait for one subscription's handler."""

    when_full: Literal["drop-oldest", "hold"] = "drop-oldest"
    """What happens when a subscription's queue is full: the oldest message is dropped and counted, or the
    publisher is held back until there is room."""

    threads: int = 1000
    """Threads for plain ``def`` functions at most, and as many for handlers of topics; they are made when needed and
    end when idle. A call beyond waits for one. One for each call that may run at once, ``max_calls``: with fewer,
    functions that call each other can take them all and wait for each other until they time out."""

    processes: int = 0
    """Processes for functions with ``run="process"``; 0: one for each processor."""

    stay_awake: float = 0.0002
    """A blocking caller that was answered within this time, and a provider that is called again within it, look for
    the next answer or call for as long before they sleep. 0: never. Trade-off: a short call takes less time,
    against the processor that is used meanwhile."""

    @classmethod
    def load(cls, environment: Mapping[str, str] | None = None, **arguments: Any) -> Self:
        """The settings from the environment and these arguments; ``None`` means "not given".

        Raises:
            SettingsError: an unknown key or a bad value, with the source, what was expected and a near key.
        """
        environment = os.environ if environment is None else environment
        values: dict[str, Any] = {}
        for key in ("network", "name"):
            if text := environment.get(f"LABC_{key.upper()}"):
                values[key] = _checked(key, text, f"environment variable LABC_{key.upper()}")
        for key, value in arguments.items():
            if value is not None:
                values[key] = _checked(key, value, "argument")
        settings = cls(**values)
        if settings.heartbeat_timeout < settings.fabric_lease + 0.25:
            raise SettingsError(
                f"heartbeat_timeout={settings.heartbeat_timeout:g}: expected at least fabric_lease + 0.25 = "
                f"{settings.fabric_lease + 0.25:g} s, or a stopped node can't be told from a busy one"
            )
        return settings


_FIELDS = {field.name: field for field in dataclasses.fields(Settings)}
_POSITIVE_INTS = {"max_message_bytes", "max_lanes", "max_calls", "max_pending_bytes", "queue_size", "threads"}


def _checked(key: str, value: Any, source: str) -> Any:
    if key not in _FIELDS:
        import difflib  # for what has gone wrong only

        near = difflib.get_close_matches(key, _FIELDS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise SettingsError(f"{source} {key!r}: no such setting{hint}")
    default = _FIELDS[key].default
    problem = _problem(key, value, default)
    if problem:
        raise SettingsError(f"{source} {key}={value!r}: expected {problem}")
    return float(value) if isinstance(default, float) else value


def _problem(key: str, value: Any, default: Any) -> str | None:
    """What was expected, if ``value`` is not it."""
    if key == "when_full":
        return None if value in ("drop-oldest", "hold") else "'drop-oldest' or 'hold'"
    if isinstance(default, str):
        if not isinstance(value, str):
            return "text"
        if key == "network" and not value:
            return "a name of at least one letter"
        if not value.isprintable() or len(value.encode(errors="surrogatepass")) > MAX_NAME_BYTES:
            return f"printable text of at most {MAX_NAME_BYTES} bytes"
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "a number"
    if isinstance(default, float):
        return None if value >= 0 and value == value else "seconds, not negative"
    if not isinstance(value, int):
        return "a whole number"
    if key == "root_port":
        return None if 0 <= value <= 65532 else "a port from 1 to 65532, or 0 for the default"
    lowest = 1 if key in _POSITIVE_INTS else 0
    return None if value >= lowest else f"at least {lowest}"
