"""The sockets on which a node takes lanes from others."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Container
from typing import TYPE_CHECKING

from labc.lanes.addresses import ABSTRACT_SOCKETS, LOOPBACK, tcp_address, unix_address, unix_path
from labc.lanes.tls import Tls
from labc.lanes.ways import Ways
from labc.settings import port_range

if TYPE_CHECKING:
    from labc.lanes.door import Door

logger = logging.getLogger("labc.lanes")

_BACKLOG = 512


class Listener:
    """Takes connections on a Unix socket (where there are such) and on one TCP port of all interfaces: one of
    ``lane_ports`` (of the settings; any, if that is empty) that is not in ``kept_free``. If there is none, it takes
    them on loopback only. Who comes over an interface that is not one of ``ways`` is refused.

    With ``tls``: from this user's programs on the first, and from members of the network on the second. Who has not
    shown that he is one within ``patience`` seconds is dropped.
    """

    def __init__(
        self,
        node_id: str,
        accept: Callable[[], asyncio.BaseProtocol],
        tls: Tls | None,
        patience: float,
        ways: Ways,
        lane_ports: str = "",
        kept_free: Container[int] = (),
    ) -> None:
        self._node_id = node_id
        self._accept = accept
        self._tls = tls
        self._patience = patience
        self._ways = ways
        self._lane_ports = lane_ports
        self._kept_free = kept_free
        self._within_host = False
        """Whether nobody of another host can come."""
        self._doors: list[Door] = []
        self._servers: list[asyncio.Server] = []
        self.port = 0

    async def open(self) -> None:
        """Raises OSError: no TCP port can be opened at all."""
        loop = asyncio.get_running_loop()
        self._ways.remark()
        if ABSTRACT_SOCKETS:
            path = unix_path(unix_address(self._node_id))
            await self._serve(
                await loop.create_unix_server(self._enter_locally(), path, backlog=_BACKLOG, start_serving=False)
            )
        first = self._open_port()
        self.port = first.getsockname()[1]
        await self._listen(first)
        if socket.has_ipv6 and not self._within_host:
            try:
                second = socket.create_server(("::", self.port), family=socket.AF_INET6, backlog=_BACKLOG)
            except OSError as error:  # switched off on this host, or the port is taken there
                logger.debug("no lanes over IPv6: %s", error)
            else:
                await self._listen(second)

    def addresses(self) -> list[str]:
        """Where this node can be reached, read anew: a host changes its addresses while it runs.

        The last one is for this host alone.
        """
        kind = "tcp" if self._tls is None else "tls"
        ips = [] if self._within_host else self._ways.own_ips()
        return [tcp_address(ip, self.port, kind) for ip in (*ips, LOOPBACK)]

    @property
    def refused(self) -> int:
        """Connections of those who are no members of the network."""
        return sum(door.refused for door in self._doors)

    def file_numbers(self) -> list[int]:
        """Of the sockets."""
        of_doors = [door.fileno() for door in self._doors if door.fileno() >= 0]
        return [own.fileno() for server in self._servers for own in server.sockets] + of_doors

    def _open_port(self) -> socket.socket:
        """Raises OSError."""
        ports = port_range(self._lane_ports)
        if ports is None:
            return socket.create_server(("0.0.0.0", 0), backlog=_BACKLOG)
        reason = "they are those of this host's root"
        for port in ports:
            if port in self._kept_free:
                continue
            try:
                return socket.create_server(("0.0.0.0", port), backlog=_BACKLOG)
            except OSError as error:
                reason = os.strerror(error.errno) if error.errno else str(error)  # its own text has the address
        logger.warning(
            "no port of the setting lane_ports = %s is free (%s): until this program is started again, others on other "
            "hosts reach it only through the roots, which is slower. Each labc program takes one: make the range wider",
            self._lane_ports,
            reason,
        )
        self._within_host = True
        return socket.create_server((LOOPBACK, 0), backlog=_BACKLOG)

    def _enter_locally(self) -> Callable[[], asyncio.BaseProtocol]:
        """What makes the protocol of one who comes by the Unix socket."""
        if self._tls is None:
            return self._accept
        from labc.lanes.admission import LocalAdmission  # what open networks do without

        return lambda: LocalAdmission(self._accept)

    def _enter_from_afar(self) -> Callable[[], asyncio.BaseProtocol]:
        """The same for one who comes by TCP."""
        if not self._ways:
            return self._accept
        from labc.lanes.admission import WayAdmission

        return lambda: WayAdmission(self._accept, self._ways.allow)

    async def _listen(self, own: socket.socket) -> None:
        """With a socket of our own: to look an address up, libuv starts threads, and a forked child dies of them."""
        if self._tls is not None:
            from labc.lanes.admission import Admission
            from labc.lanes.door import Door

            door = Door(own, self._tls.server, lambda: Admission(self._accept), self._patience, self._ways.allow)
            self._doors.append(door)
            door.open()
            return
        loop = asyncio.get_running_loop()
        enter = self._enter_from_afar()
        await self._serve(await loop.create_server(enter, sock=own, backlog=_BACKLOG, start_serving=False))

    async def _serve(self, server: asyncio.Server) -> None:
        self._servers.append(server)  # first: what is cancelled while it starts is closed, too
        await server.start_serving()

    def close(self) -> None:
        for server in self._servers:
            server.close()
        for door in self._doors:
            door.close()
