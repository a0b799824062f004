"""Network names for tests, so that runs at the same time, on one machine or one LAN, do not meet."""

from __future__ import annotations

import os
import secrets
import socket
from contextlib import ExitStack

from labc.fabric import root_ports


def free_network_name() -> str:
    """A network name that nobody else uses: ``test-<process id>-<random>``.

    Nor does anybody use the ports of its roots on this host: two networks with the same ones (one pair of 2400 has
    them) would share a root, and a test whose root ended with another test would lose messages.
    """
    while True:
        name = f"test-{os.getpid()}-{secrets.token_hex(4)}"
        if _can_listen(root_ports(name)):
            return name


def _can_listen(ports: tuple[int, ...]) -> bool:
    with ExitStack() as sockets:
        for port in ports:
            sock = sockets.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            if os.name == "posix":  # what has ended a moment ago does no harm
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(("", port))
                sock.listen()
            except OSError:
                return False
    return True
