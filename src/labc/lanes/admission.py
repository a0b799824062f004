"""Who may have a lane: in a keyed network members, who come by TLS, and this user's programs, by Unix socket; where the
settings say so, who comes over certain interfaces."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from typing import Any

from labc.lanes.tls import is_same_user

logger = logging.getLogger("labc.lanes")


class Admission(asyncio.BufferedProtocol):
    """Makes the lane when the handshake is done, so that a stranger never counts as one."""

    def __init__(self, accept: Callable[[], Any]) -> None:
        self._accept = accept

    def connection_made(self, transport: Any) -> None:
        lane = self._accept()
        transport.set_protocol(lane)
        lane.connection_made(transport)

    def get_buffer(self, sizehint: int) -> bytearray:
        """Nothing comes before there is a lane."""
        return bytearray(1)

    def buffer_updated(self, nbytes: int) -> None: ...

    def eof_received(self) -> None: ...


class LocalAdmission(Admission):
    """The same for a Unix socket: refuses the programs of other users, which have to take the way by TLS."""

    def connection_made(self, transport: Any) -> None:
        if is_same_user(transport.get_extra_info("socket"), os.getuid):
            super().connection_made(transport)
        else:
            logger.debug("a program of another user is to take the way by TLS")
            transport.abort()


class WayAdmission(Admission):
    """The same for TCP: refuses those who come over an interface that the settings do not use."""

    def __init__(self, accept: Callable[[], Any], allow: Callable[[str], bool]) -> None:
        super().__init__(accept)
        self._allow = allow

    def connection_made(self, transport: Any) -> None:
        own = transport.get_extra_info("sockname")
        if own and self._allow(own[0]):
            super().connection_made(transport)
        else:
            logger.debug("a connection to %s is refused: the setting interfaces does not use it", own)
            transport.abort()
