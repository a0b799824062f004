"""PURE. The records that the directory keeps."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """What every node knows of every other.

    ``id`` is unique to one life of one process; ``host_id`` to one boot of one computer (or network namespace);
    ``host`` and ``name`` are for people and may be shared by several. ``group`` stands for the group that the node
    belongs to on its host; empty for none. ``away``: it is of another site, and known by way of a router alone.
    """

    id: str
    host_id: str
    host: str
    name: str
    group: str = ""
    away: bool = False

    def __str__(self) -> str:
        return f"{self.name} on {self.host}"


@dataclass(frozen=True, slots=True)
class Offer:
    """``node_id`` on ``host_id`` offers the function ``name``."""

    name: str
    host_id: str
    node_id: str
