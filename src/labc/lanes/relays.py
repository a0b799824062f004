"""The relayed lanes of one node: which of their pieces belong to which lane."""

from __future__ import annotations

from collections.abc import Callable

from labc.lanes.lane import Lane
from labc.lanes.relay import RelayTransport, is_opening

_MAX_RELAYS = 256

Send = Callable[[str, str, bytes, bool], None]
"""``send(node_id, relay_id, piece, away)`` carries a piece to another node, in order, without blocking; ``away``: over
a router between sites."""


class Relays:
    """Opens relays to others, and takes those that others open."""

    def __init__(self, send: Send, accept: Callable[[], Lane]) -> None:
        self._send = send
        self._accept = accept
        self._transports: dict[tuple[str, str, bool], RelayTransport] = {}

    def connect(self, lane: Lane, node_id: str, relay_id: str, away: bool) -> None:
        """Begin a relay to this node; whether somebody answers shows in the lane's greeting."""
        self._transport(lane, (node_id, relay_id, away)).start(opening=True)

    def arrived(self, node_id: str, relay_id: str, piece: bytes, away: bool) -> None:
        """A piece of this node came."""
        key = node_id, relay_id, away
        transport = self._transports.get(key)
        if transport is not None:
            transport.receive(piece)
        elif is_opening(piece) and len(self._transports) < _MAX_RELAYS:
            lane = self._accept()
            lane.away = away
            self._transport(lane, key).start(opening=False)

    def _transport(self, lane: Lane, key: tuple[str, str, bool]) -> RelayTransport:
        node_id, relay_id, away = key

        def closed() -> None:
            self._transports.pop(key, None)

        transport = RelayTransport(lane, lambda piece: self._send(node_id, relay_id, piece, away), closed)
        self._transports[key] = transport
        return transport
