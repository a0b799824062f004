"""Who is meant by the name, the alias, the address or the port that somebody says."""

from __future__ import annotations

import pytest

from labc.directory import Addressing, NodeRecord

HERE = NodeRecord("id-here", "host1", "computer1", "me")
CAMERA = NodeRecord("id-camera", "host1", "computer1", "camera")
FAR = NodeRecord("id-far", "host2", "Computer2", "camera")
NAMESAKE = NodeRecord("id-namesake", "host3", "computer1", "camera")
"""On another host of the same name."""
ALL = [HERE, CAMERA, FAR, NAMESAKE]
HOSTS = {node.id: node.host_id for node in ALL}


def addressing(**aliases: str) -> Addressing:
    return Addressing(HERE, aliases)


def told(**aliases: str) -> Addressing:
    made = addressing(**aliases)
    endpoints = {
        HERE.id: [("10.0.0.1", 4001), ("fd00::1", 4001)],
        CAMERA.id: [("10.0.0.1", 4002)],
        FAR.id: [("10.0.0.2", 4001), ("fd00::2", 4001)],
        "stranger": [("10.0.0.9", 1)],
    }
    made.learn(endpoints, HOSTS, now=0.0)
    return made


def at(made: Addressing, host: str | None = None, node: str | int | None = None) -> list[str]:
    return [record.id for record in ALL if made.is_at(record, host, node)]


def test_nobody_named_is_everybody() -> None:
    assert at(addressing()) == [node.id for node in ALL]


def test_hosts_by_name_however_it_is_written() -> None:
    for name in ("computer1", "COMPUTER1"):
        assert at(addressing(), name) == [HERE.id, CAMERA.id, NAMESAKE.id]
    assert at(addressing(), "computer2") == [FAR.id]
    assert at(addressing(), "computer") == []


def test_nodes_by_name_or_id() -> None:
    assert at(addressing(), node="camera") == [CAMERA.id, FAR.id, NAMESAKE.id]
    assert at(addressing(), node=FAR.id) == [FAR.id]
    assert at(addressing(), "computer2", "camera") == [FAR.id]
    assert at(addressing(), "computer2", "me") == []
    assert at(addressing(), node="CAMERA") == []  # names of nodes are as they are


@pytest.mark.parametrize("name", ["localhost", "LOCALHOST", "127.0.0.1", "127.0.0.53", "::1", "[::1]"])
def test_this_host_by_what_every_host_calls_itself(name: str) -> None:
    assert at(addressing(), name) == [HERE.id, CAMERA.id]


@pytest.mark.parametrize(
    "address", ["10.0.0.2", "fd00::2", "[fd00::2]", "FD00::2", "fd00:0:0::2", "fd00:0000::0002", "::ffff:10.0.0.2"]
)
def test_hosts_by_address_however_it_is_written(address: str) -> None:
    assert at(told(), address) == [FAR.id]


def test_an_address_stands_for_all_nodes_of_its_host_whoever_told_it() -> None:
    assert at(told(), "fd00::1") == [HERE.id, CAMERA.id]
    assert at(told(), "10.0.0.1") == [HERE.id, CAMERA.id]


def test_unknown_addresses_are_nobody_s() -> None:
    assert at(addressing(), "10.0.0.2") == []
    assert at(told(), "10.0.0.3") == []
    assert at(told(), "10.0.0.9") == []  # told by one of whom nobody knows where it is


def test_nodes_by_port() -> None:
    assert at(told(), node=4001) == [HERE.id, FAR.id]
    assert at(told(), "10.0.0.2", 4001) == [FAR.id]
    assert at(told(), "computer1", 4002) == [CAMERA.id]
    assert at(told(), node=4003) == []
    assert at(addressing(), node=4001) == []


def test_aliases_stand_for_names_and_addresses() -> None:
    made = told(lab="computer2", far="10.0.0.2", me="localhost")
    assert at(made, "lab") == at(made, "LAB") == at(made, "far") == [FAR.id]
    assert at(made, "me") == [HERE.id, CAMERA.id]


def test_what_was_told_last_counts() -> None:
    made = told()
    made.learn({FAR.id: [("10.0.0.1", 4009)]}, HOSTS, now=10.0)
    assert at(made, "10.0.0.1") == [FAR.id]
    assert at(made, "10.0.0.2") == []
    assert at(made, node=4009) == [FAR.id]
    assert at(made, node=4001) == []


def test_only_addresses_and_ports_are_asked_for_and_believed_for_a_while() -> None:
    made = addressing(far="10.0.0.2", lab="computer2")
    for host, node in ((None, None), ("computer1", None), (None, "camera"), ("lab", "camera")):
        assert not made.changes(host, node)
        assert not made.needs_endpoints(host, node, now=0.0)
    for host, node in (("10.0.0.2", None), ("far", None), ("fd00::2", "camera"), (None, 4001), ("lab", 4001)):
        assert made.changes(host, node)
        assert made.needs_endpoints(host, node, now=0.0)
    made.learn({}, HOSTS, now=100.0)
    assert not made.needs_endpoints("10.0.0.2", None, now=104.9)
    assert made.needs_endpoints("10.0.0.2", None, now=105.1)


def test_who_has_come_since_is_asked_for() -> None:
    made = addressing()
    made.learn({}, {HERE.id: HERE.host_id, FAR.id: FAR.host_id}, now=100.0)
    assert not made.needs_endpoints("10.0.0.2", None, 101.0, [FAR.id])
    assert made.needs_endpoints("10.0.0.2", None, 101.0, [FAR.id, CAMERA.id])
    assert not made.needs_endpoints("computer2", None, 101.0, [FAR.id, CAMERA.id])
