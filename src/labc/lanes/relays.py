"""The relayed lanes of one node: which of their pieces belong to which lane."""

from __future__ import annotations

from collections.abc import Callable

from labc.lanes.lane import Lane
from labc.lanes.relay import RelayTransport, is_opening

_MAX_RELAYS = 256

Send = Callable[[str, str, bytes], None]
"""``send(node_id, relay_id, piece)`` carries a piece to another node, in order, without blocking."""


class Relays:
    """Opens relays to others, and takes those that others open."""

    def __init__(self, send: Send, accept: Callable[[], Lane]) -> None:
        self._send = send
        self._accept = accept
        self._transports: dict[tuple[str, str], RelayTransport] = {}

    def connect(self, lane: Lane, node_id: str, relay_id: str) -> None:
        """Begin a relay to this node; whether somebody answers shows in the lane's greeting."""
        self._transport(lane, node_id, relay_id).start(opening=True)

    def arrived(self, node_id: str, relay_id: str, piece: bytes) -> None:
        """A piece of this node came."""
        transport = self._transports.get((node_id, relay_id))
        if transport is not None:
            transport.receive(piece)
        elif is_opening(piece) and len(self._transports) < _MAX_RELAYS:
            self._transport(self._accept(), node_id, relay_id).start(opening=False)

    def _transport(self, lane: Lane, node_id: str, relay_id: str) -> RelayTransport:
        def closed() -> None:
            self._transports.pop((node_id, relay_id), None)

        transport = RelayTransport(lane, lambda piece: self._send(node_id, relay_id, piece), closed)
        self._transports[node_id, relay_id] = transport
        return transport
