"""What two nodes tell each other first, and whether they may talk."""

from __future__ import annotations

from typing import Annotated

import msgspec

from labc.errors import ProtocolError
from labc.wire.frames import Data

ONE_WAY = "one-way"
"""A feature: the initiator alone calls on this lane, and reads only while a call of its own is open."""


AWAY = "away"
"""A feature: the initiator knows the other node, which is of another site, by way of a router alone."""


class Greeting(msgspec.Struct, frozen=True, kw_only=True):
    """The payload of HELLO. Fields that only the other node knows are ignored, so later versions can add some."""

    network: str
    node_id: str
    node_name: str
    host_id: str
    host_name: str
    labc_version: str
    max_message_bytes: Annotated[int, msgspec.Meta(ge=1)]
    """The largest message that this node takes."""

    group: str = ""
    """What stands for its group on its host; empty for none."""

    target: str = ""
    """The id of the node that the initiator wants to reach; empty: whoever is there."""

    features: list[str] = []
    """Names of abilities beyond version 1 of the protocol."""

    def encode(self) -> bytes:
        """The payload of a HELLO frame."""
        return _encode(self)

    @classmethod
    def decode(cls, payload: Data) -> Greeting:
        """The greeting in a HELLO frame.

        Raises:
            ProtocolError: the payload is no greeting.
        """
        try:
            return _decode(payload)
        except Exception as error:
            raise ProtocolError(f"the greeting can't be read: {error}") from error


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Greeting).decode


def check(mine: Greeting, theirs: Greeting, initiator: bool) -> str | None:
    """The sentence that says why these two must not talk, or None.

    Both sides come to the same sentence. ``initiator``: whether ``mine`` is the greeting of the side that connected.
    """
    caller, callee = (mine, theirs) if initiator else (theirs, mine)
    if caller.network != callee.network:
        return (
            f"{_place(caller)} is in the network {caller.network!r} "
            f"and {_place(callee)} is in the network {callee.network!r}"
        )
    if caller.target and caller.target != callee.node_id:
        return f"{_place(caller)} asked for node {caller.target}, and this is node {callee.node_id}: {_place(callee)}"
    return None


def _place(greeting: Greeting) -> str:
    return f"{greeting.node_name} on {greeting.host_name}"
