"""Whether a connection leads nowhere, or the peer is only busy: the system on the other side acknowledges what arrives,
whatever the program there does.

A host that has changed its address, or a firewall that has forgotten a connection, leaves both ends waiting: no error
comes for minutes, while the node is present on the fabric, by another way.
"""

from __future__ import annotations

import socket
import struct
import sys
from contextlib import suppress
from typing import Any

POSSIBLE = sys.platform == "linux"
"""Elsewhere there is no telling."""

_TCP_INFO = getattr(socket, "TCP_INFO", 11)
_BEGIN = struct.Struct("@8B24I")
"""Of ``struct tcp_info`` in Linux: bytes, then counters; times are milliseconds."""
_RETRANSMITS, _UNACKED, _LAST_ACK_RECEIVED = 2, 8 + 4, 8 + 12
_TCP_THIN_LINEAR_TIMEOUTS = 16


def send_again_steadily(connection: Any) -> None:
    """Have the system send little that was lost again in equal steps, instead of after twice as long each time.

    Where a network loses packets, a few losses in a row would otherwise be taken for a peer that is gone. The rule is
    the system's own, for connections with fewer than four packets under way ("thin streams", in Linux' ip-sysctl).
    """
    if POSSIBLE and connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
        with suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, _TCP_THIN_LINEAR_TIMEOUTS, 1)


def is_cut(connection: Any, seconds: float, sent_again: int = 1) -> bool:
    """Whether something was sent again, at least so often, and nothing was acknowledged for so long.

    False: it can't be told. The system sends again after 0.2 s or a little more, then after twice as long, and so on;
    after :func:`send_again_steadily` in equal steps, six times.
    """
    if not POSSIBLE or connection is None or connection.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _BEGIN.size)
    except OSError:  # it is closed
        return False
    if len(info) < _BEGIN.size:
        return False
    fields = _BEGIN.unpack(info)
    unacknowledged: bool = fields[_UNACKED] > 0 and fields[_LAST_ACK_RECEIVED] >= seconds * 1000
    again: int = fields[_RETRANSMITS]
    return unacknowledged and again >= sent_again
