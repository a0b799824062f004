"""What nodes tell of themselves when they are asked, and what ``nodes()`` and ``functions()`` make of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import msgspec

from labc.directory import DEFAULT, NodeRecord


class Question:
    """What one node may ask another."""

    ADDRESSES = b"addresses"
    FUNCTIONS = b"functions"
    DETAILS = b"details"
    TAKE_OVER = b"take over:"
    """Followed by retained values of a node that leaves."""


class FunctionDetails(msgspec.Struct, array_like=True):
    name: str
    signature: str
    doc: str
    scope: str = DEFAULT


class Catalogue(msgspec.Struct, array_like=True):
    """The functions of one node."""

    node_id: str
    functions: list[FunctionDetails]
    narrow: bool = False
    """Whether there are others, for its host or its group alone."""


class TopicDetails(msgspec.Struct):
    """One subscription of a node. ``dropped`` counts messages that came faster than they were handled, ``held_back``
    those whose publishers had to wait for that reason."""

    topic: str
    handler: str
    waiting: int
    handled: int
    failed: int
    dropped: int
    held_back: int = 0
    scope: str = DEFAULT


class Details(msgspec.Struct):
    """Of one node. Fields that only a later version knows are ignored."""

    node_id: str
    pid: int = 0
    version: str = ""
    root_port: int = 0
    addresses: list[str] = []
    functions: int = 0
    topics: list[TopicDetails] = []
    running: int = 0
    served: int = 0
    failed: int = 0
    refused: int = 0
    cancelled: int = 0
    unsent: int = 0
    undecodable: int = 0
    lanes: list[str] = []
    retained: int = 0
    retained_bytes: int = 0
    retained_dropped: int = 0


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """One node of the network. What follows ``answered`` is empty when it did not answer in time."""

    name: str
    host: str
    id: str
    host_id: str
    here: bool
    """Whether it is the node that asked."""
    answered: bool
    pid: int = 0
    version: str = ""
    root: bool = False
    """Whether it is the root of its host."""
    functions: int = 0
    running: int = 0
    """Calls that run there now."""
    served: int = 0
    failed: int = 0
    refused: int = 0
    cancelled: int = 0
    dropped: int = 0
    """Messages that came faster than its handlers took them."""
    unsent: int = 0
    """Large messages that it could not send as fast as it published them."""
    undecodable: int = 0
    """Messages that it could not understand."""
    topics: list[TopicDetails] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)
    lanes: list[str] = field(default_factory=list)
    retained: int = 0
    """Retained values that it keeps; its host's root also those of others."""
    retained_bytes: int = 0
    retained_dropped: int = 0
    """Retained values that were dropped there to make room."""
    away: bool = False
    """Whether it is at another site, and known by way of a router."""

    @classmethod
    def make(cls, record: NodeRecord, details: Details | None, here: bool) -> Self:
        first = (record.name, record.host, record.id, record.host_id, here)
        if details is None:
            return cls(*first, answered=here, away=record.away)
        return cls(
            *first,
            answered=True,
            pid=details.pid,
            version=details.version,
            root=bool(details.root_port),
            functions=details.functions,
            running=details.running,
            served=details.served,
            failed=details.failed,
            refused=details.refused,
            cancelled=details.cancelled,
            dropped=sum(topic.dropped for topic in details.topics),
            unsent=details.unsent,
            undecodable=details.undecodable,
            topics=details.topics,
            addresses=details.addresses,
            lanes=details.lanes,
            retained=details.retained,
            retained_bytes=details.retained_bytes,
            retained_dropped=details.retained_dropped,
            away=record.away,
        )


@dataclass(frozen=True, slots=True)
class FunctionInfo:
    """One function that one node offers."""

    name: str
    signature: str
    doc: str
    """The first line of its documentation."""
    host: str
    node: str
    node_id: str
    scope: str = DEFAULT
    """How far it can be called."""
