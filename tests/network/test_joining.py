"""Trouble where a node gets its place in the network."""

from __future__ import annotations

import contextlib
import re
import socket

import pytest
from network.conftest import Start

import labc
from labc.fabric.ports import root_ports

pytestmark = pytest.mark.usefixtures("here")

JOIN = """
import labc
print(sorted(node.name for node in labc.nodes()), labc.blocking.portal.node().is_root)
"""


def test_nodes_still_join_while_hundreds_of_connections_to_the_root_say_nothing(start: Start, network: str) -> None:
    """As when so many nodes start at once: Zenoh's own limit is a hundred, and those beyond made a second root."""
    labc.init(name="root")
    assert [node.name for node in labc.nodes()] == ["root"]
    with contextlib.ExitStack() as sockets:
        for _ in range(300):
            sockets.enter_context(socket.create_connection(("127.0.0.1", root_ports(network)[0])))
        program = start(JOIN, name="late")
        program.expect("['late', 'root'] False")
        assert program.wait() == 0


def test_a_process_that_may_open_no_more_files_is_told_so(start: Start) -> None:
    """It waited for its loop for ever."""
    program = start(
        """
        import resource
        import labc
        resource.setrlimit(resource.RLIMIT_NOFILE, (8, 8))
        try:
            labc.call("anything")
        except labc.FabricError as error:
            print(error)
        """
    )
    program.expect(re.compile("^the event loop can't be made: .*Too many open files"))
    assert program.wait() == 0
