"""How two nodes of one host come to a lane, and what they say when there can be none."""

from __future__ import annotations

import asyncio
import os
import re
import sys

import psutil
import pytest

import labc
from labc import aio
from labc.directory import NodeRecord
from labc.fabric.ports import root_ports
from labc.lanes import Lane
from labc.testing import free_network_name

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the Unix sockets without a file are Linux's")


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("face", ["blocking", "aio"])
def test_a_lane_within_a_host_is_a_unix_socket(serve, network: str, face: str) -> None:
    server = serve("import labc\nlabc.register(lambda x: x, name='echo')\nlabc.serve()")
    for number in range(3):  # the first goes over the loop in any case
        call = labc.call("echo", number) if face == "blocking" else asyncio.run(aio.call("echo", number))
        assert call == number
    lanes = [lane for node in labc.nodes() for lane in node.lanes]
    assert len(lanes) >= 2, "one seen from each end"
    assert all(lane.endswith("(unix)") for lane in lanes), lanes
    for pid in (server.pid, os.getpid()):
        assert lane_connections(pid, network) == []


def lane_connections(pid: int, network: str) -> list[str]:
    """The TCP connections of a process that are not the engine's, which all lead to a root's port."""
    return [
        f"{connection.laddr} -> {connection.raddr}"
        for connection in psutil.Process(pid).net_connections(kind="tcp")
        if connection.raddr and not {connection.laddr.port, connection.raddr.port} & set(root_ports(network))
    ]


def test_both_sides_log_that_they_are_in_different_networks(network: str, until, caplog) -> None:
    other = free_network_name()

    async def check() -> None:
        async with labc.Node(name="ours") as ours, labc.Node(name="theirs", network=other) as theirs:
            with pytest.raises(labc.PeerLostError, match=f"'{other}'"):
                await ours.rooms()._pool.lane(theirs.rooms().here)

    asyncio.run(check())
    sentence = rf": ours on \S+ is in the network '{network}' and theirs on \S+ is in the network '{other}'$"
    said = warnings(caplog)
    assert len(said) == 2
    assert all(re.search(sentence, text) for text in said), said


def test_the_initiator_logs_another_version_of_the_protocol(network: str, caplog) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"LABC\x02\0\0\0")
        await reader.read()  # until the other side closes
        writer.close()

    async def check() -> None:
        stranger = os.urandom(8).hex()
        async with labc.Node(name="ours") as ours, await asyncio.start_unix_server(answer, f"\0labc-{stranger}"):
            here = ours.rooms().here
            with pytest.raises(labc.PeerLostError, match="version 2"):
                await ours.rooms()._pool.lane(NodeRecord(stranger, here.host_id, here.host, "stranger"))

    asyncio.run(check())
    [text] = warnings(caplog)
    assert re.search("no lane with .*version 2 of the lane protocol and the other version 1:", text)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "labc.lanes"]


def test_a_lane_that_is_closed_before_its_callers_turn_is_opened_again(network: str) -> None:
    """As when other threads' lanes to the same node break at that moment, a few times in a row."""

    async def check() -> None:
        async with labc.Node(name="ours") as ours, labc.Node(name="theirs") as theirs:
            theirs.register(lambda x: x, name="echo")
            pool, opened = ours.rooms()._pool, []
            open_one = pool._lane

            async def open_and_close(node: NodeRecord) -> Lane:
                lane = await open_one(node)
                if len(opened) < 4:
                    lane.close("another lane to this node broke")
                opened.append(lane)
                return lane

            pool._lane = open_and_close  # type: ignore[method-assign]
            assert await ours.call("echo", 1) == 1
            assert len(opened) == 5

    asyncio.run(check())
