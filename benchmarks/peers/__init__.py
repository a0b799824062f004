"""One module a peer; ``load("nats")`` gives the one in ``benchmarks/peers/nats.py``."""

from __future__ import annotations

import importlib

from benchmarks.peers.common import Peer


def load(name: str) -> Peer:
    """The peer that the module of this name defines."""
    peer = importlib.import_module(f"benchmarks.peers.{name}").PEER
    assert isinstance(peer, Peer)
    return peer
