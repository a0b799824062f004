"""What ``at(...)`` sets for the verbs that follow, apart from the function's own arguments."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final, Self

from labc.directory import ORDERS, RESOLVES, Order, Resolve, Scope, check_scope

_EXPECTED: Final = {
    "host": "the name, an alias or an address of a host",
    "node": "the name or the id of a node, or its port",
    "perspective": "the name of a host or of a node",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """None: as the settings say."""

    timeout: float | None = None
    """Seconds until the answer must be there."""
    find_timeout: float | None = None
    """Seconds to wait for somebody to offer the name; 0: at once."""
    host: str | None = None
    """Only providers on the host of this name, alias or address."""
    node: str | int | None = None
    """Only the node of this name or id, or the one that takes connections on this port."""
    retry: int = 0
    """How often to ask again, another provider if there is one, when a provider is lost and the function may
    have run: only for functions that may run twice."""
    scope: Scope | None = None
    """Only what is so near."""
    perspective: str | None = None
    """The host, or the node, from which it is judged what is near; without: this node."""
    resolve: Resolve | None = None
    """How to choose among several providers; without: the nearest."""
    order: Order | None = None
    """Which scope comes first; without: the narrowest."""

    def __post_init__(self) -> None:
        for key in ("timeout", "find_timeout"):
            value = getattr(self, key)
            if value is not None and not (_is_number(value) and value >= 0):
                raise ValueError(f"at({key}={value!r}): expected seconds, not negative")
        for key in ("host", "node", "perspective"):
            value = getattr(self, key)
            if value is None or (isinstance(value, str) and value):
                continue
            if key != "node" or type(value) is not int or not 0 < value < 65536:
                raise ValueError(f"at({key}={value!r}): expected {_EXPECTED[key]}")
        if self.scope is not None:
            check_scope(self.scope, "at")
        for key, choices in (("resolve", RESOLVES), ("order", ORDERS)):
            value = getattr(self, key)
            if value is not None and value not in choices:
                raise ValueError(f"at({key}={value!r}): expected {' or '.join(map(repr, choices))}")
        if isinstance(self.retry, bool) or not isinstance(self.retry, int) or self.retry < 0:
            raise ValueError(f"at(retry={self.retry!r}): expected a whole number, not negative")

    @property
    def route(self) -> tuple[object, ...]:
        """All on which it depends who is asked."""
        return self.host, self.node, self.scope, self.perspective, self.resolve, self.order

    @property
    def names_one(self) -> bool:
        """Whether both host and node are named: what is not listed is found there."""
        return self.host is not None and self.node is not None

    def but(self, **given: Any) -> Self:
        """These options with others; None: as it is."""
        return replace(self, **{key: value for key, value in given.items() if value is not None})


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        float(value)
    except OverflowError:
        return False
    return True
