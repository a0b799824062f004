"""PURE. How far something is visible, and how far one place is from another."""

from __future__ import annotations

from typing import Final, Literal, get_args

from labc.directory.records import NodeRecord

Scope = Literal["node", "group", "host", "network", "wan"]
"""From the narrowest to the widest: this node; the nodes of its group on its host; its host; the network of its site;
the network with all its sites."""

SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
DEFAULT: Final[Scope] = "network"
"""Of what is registered, subscribed and published."""
WIDEST: Final[Scope] = "wan"
"""How far is looked for what is called or listed."""
_RANKS: Final = {scope: rank for rank, scope in enumerate(SCOPES)}


def distance(place: NodeRecord, node: NodeRecord) -> int:
    """How wide a scope must be to reach the node from the place, as an index into :data:`SCOPES`."""
    if node.id == place.id:
        return 0
    if node.host_id != place.host_id:
        return 4 if node.away or place.away else 3
    return 1 if node.group and node.group == place.group else 2


def reaches(scope: Scope, place: NodeRecord, node: NodeRecord) -> bool:
    """Whether what has this scope at ``place`` is visible to ``node``."""
    return distance(place, node) <= _RANKS[scope]


def is_narrow(scope: Scope) -> bool:
    """Whether it ends at the host: what is narrow has no name on the network."""
    return _RANKS[scope] < _RANKS["network"]


def check_scope(scope: object, where: str) -> Scope:
    """``scope`` itself, if there is such a one. ``where``: what it was given to, for the error.

    Raises:
        ValueError
    """
    for known in SCOPES:
        if scope == known:
            return known
    raise ValueError(f"{where}(scope={scope!r}): expected {', '.join(map(repr, SCOPES[:-1]))} or {SCOPES[-1]!r}")
