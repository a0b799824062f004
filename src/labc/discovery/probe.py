"""Whether anybody takes connections at a place. In plain sockets, as the engine can't be interrupted when it tries."""

from __future__ import annotations

import socket

from labc.discovery.names import look_up


def takes_connections(host: str, port: int, within: float) -> bool:
    """Blocks for so many seconds for each address of the host, and for as long as the system likes to look them up."""
    try:
        addresses = look_up(host)
    except (OSError, UnicodeError):
        return False
    for address in addresses:
        with socket.socket() as probe:
            probe.settimeout(within)
            try:
                probe.connect((address, port))
            except OSError:
                continue
            return True
    return False
