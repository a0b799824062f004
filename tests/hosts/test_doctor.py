"""``labc doctor`` on networks that are broken in one way each: it names the cause, and what to do."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from agent import Agent, meet
from keyed import as_member, make_members
from network.cli.runs import LABC

from labc.fabric import root_ports
from labc.testing import Program, VirtualHost, VirtualHosts, python_program
from labc.testing.virtual_host import INTERFACE

MakeLab = Callable[[int], VirtualHosts]
StartWith = Callable[..., Agent]


@pytest.fixture
def begin(network: str, tmp_path: Path) -> Iterator[StartWith]:
    """``begin(host, name, LABC_HOSTS=...)`` runs an agent there, with a state folder for each host."""
    with contextlib.ExitStack() as agents:

        def start(host: VirtualHost, name: str, **env: str) -> Agent:
            env = {"LABC_NETWORK": network, "XDG_STATE_HOME": str(tmp_path / host.name)} | env
            agent = agents.enter_context(Agent(host.program, name, **env))
            agent.exec("labc.blocking.portal.node()")
            return agent

        yield start


@pytest.fixture
def examine(network: str, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """``examine(host, target, LABC_NETWORK=...)`` is what ``labc doctor`` says there, and what it prints last."""

    def run(host: VirtualHost, *target: str, **env: str) -> dict[str, Any]:
        env = {"LABC_NETWORK": network, "XDG_STATE_HOME": str(tmp_path / f"doctor-{host.name}")} | env
        began = time.monotonic()
        done = host.run([LABC, "doctor", *target, "--json"], timeout=55.0, env={**os.environ, **env})
        found: dict[str, Any] = json.loads(done.stdout)
        print(f"\n{found['sentence']} ({time.monotonic() - began:.1f} s)")
        assert done.returncode == (0 if found["well"] else 1), done.stderr
        return found

    return run


def only(found: dict[str, Any]) -> dict[str, Any]:
    [computer] = found["computers"]
    return dict(computer)


def test_all_is_well(make_lab: MakeLab, begin: StartWith, examine: Any) -> None:
    h1, h2 = make_lab(2).hosts
    begin(h1, "server")
    begin(h2, "own")
    for target in ((), ("h1",), (h1.address,)):
        found = examine(h2, *target)
        assert found["well"], found
        assert found["sentence"] == "all is well: h1 is in the network"
        assert found["remarks"] == []
        computer = only(found)
        assert (computer["linked"], computer["found_by"]) == (True, ["multicast"])
        assert computer["answers_multicast"]
        assert computer["heard_by_multicast"]
        assert (computer["root"], computer["lanes_there"], computer["lanes_back"]) == ("open", "open", "open")
        assert abs(computer["clock"]) < 1.0
        assert found["here"]["root"] == "own"
        assert found["here"]["addresses"] == [f"{h2.address}/24 {INTERFACE}"]


def test_what_it_prints(make_lab: MakeLab, begin: StartWith, network: str, tmp_path: Path) -> None:
    h1, h2 = make_lab(2).hosts
    begin(h1, "server")
    env = {"LABC_NETWORK": network, "XDG_STATE_HOME": str(tmp_path / "doctor")}
    done = h2.run([LABC, "doctor", "h1"], env={**os.environ, **env})
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[-1] == "Diagnosis: all is well: h1 is in the network."
    [row] = [line.split() for line in lines if line.startswith("h1 ")]
    assert row[:2] == ["h1", h1.address]
    assert f"in the network {network!r} (open)" in lines[0]


def test_multicast_is_blocked(make_lab: MakeLab, begin: StartWith, examine: Any) -> None:
    lab = make_lab(2)
    h1, h2 = lab.hosts
    for host in lab.hosts:
        host.drop_multicast()
    begin(h1, "server")
    found = examine(h2, h1.address)
    assert "multicast does not pass between this computer and h1" in found["sentence"]
    assert f"labc settings set hosts {h1.address}" in found["sentence"]
    # What it advises helps.
    found = examine(h2, LABC_HOSTS=h1.address)
    assert found["well"], found
    assert ["multicast passes in neither direction between this computer and h1" in r for r in found["remarks"]] == [
        True
    ]


def test_multicast_passes_in_one_direction_only(make_lab: MakeLab, begin: StartWith, examine: Any) -> None:
    h1, h2 = make_lab(2).hosts
    h2.add_rule("input", f"iifname {INTERFACE} ip daddr 224.0.0.0/4 drop")
    begin(h1, "server")
    found = examine(h2, h1.address)
    assert found["well"], found
    assert any("multicast passes only to there between this computer and h1" in r for r in found["remarks"]), found


def test_connections_to_the_root_are_blocked_on_both(make_lab: MakeLab, begin: StartWith, examine: Any) -> None:
    lab = make_lab(2)
    h1, h2 = lab.hosts
    for host in lab.hosts:
        host.block_tcp()
    begin(h1, "server")
    found = examine(h2, h1.address)
    assert only(found)["root"] == "silent"
    assert "h1 answers, and lets no connections in at TCP port" in found["sentence"]
    assert "firewall" in found["sentence"]


def test_udp_is_blocked(make_lab: MakeLab, begin: StartWith, examine: Any, network: str) -> None:
    h1, h2 = make_lab(2).hosts
    h1.add_rule("input", f"iifname {INTERFACE} meta l4proto udp drop")
    begin(h1, "server", LABC_DISCOVERY="remembered")
    found = examine(h2, h1.address, LABC_DISCOVERY="remembered")
    first = root_ports(network)[0]
    assert f"{h1.address} takes connections at TCP port {first}, and answers nothing at UDP port" in found["sentence"]


def test_a_firewall_lets_nothing_in(make_lab: MakeLab, begin: StartWith, examine: Any) -> None:
    lab = make_lab(2)
    h1, h2 = lab.hosts
    for host in lab.hosts:
        host.add_rule("input", f"iifname {INTERFACE} meta l4proto {{ tcp, udp }} drop")
    begin(h1, "server")
    found = examine(h2, h1.address)
    assert "answers nothing, neither by UDP nor by TCP" in found["sentence"]


def test_the_network_keeps_its_computers_apart_or_there_is_nobody(make_lab: MakeLab, examine: Any) -> None:
    (h1,) = make_lab(1).hosts
    found = examine(h1, "10.213.0.77")
    assert "nobody answers at 10.213.0.77" in found["sentence"]
    assert "no other computer answers" in examine(h1)["sentence"]
    assert "no computer is known by the name 'nobody.invalid'" in examine(h1, "nobody.invalid")["sentence"]


def test_no_program_runs_there(make_lab: MakeLab, examine: Any) -> None:
    h1, h2 = make_lab(2).hosts
    found = examine(h2, h1.address)
    assert f"{h1.address} is there, and no program with labc in the network" in found["sentence"]


def test_this_computer_has_no_address(make_lab: MakeLab, examine: Any) -> None:
    (h1,) = make_lab(1).hosts
    h1.run(["ip", "link", "set", INTERFACE, "down"], check=True)
    assert "this computer has no address in any network" in examine(h1)["sentence"]


@pytest.mark.parametrize("blocked", [False, True], ids=["by multicast", "multicast blocked"])
def test_another_network_name(make_lab: MakeLab, begin: StartWith, examine: Any, network: str, blocked: bool) -> None:
    lab = make_lab(2)
    h1, h2 = lab.hosts
    if blocked:
        for host in lab.hosts:
            host.drop_multicast()
    begin(h1, "server", LABC_NETWORK=f"{network}-other")
    found = examine(h2, h1.address)
    assert f"h1 is in the network '{network}-other', this computer in {network!r}" in found["sentence"]
    assert f"labc settings set network {network}-other" in found["sentence"]
    if not blocked:
        assert examine(h2)["sentence"] == found["sentence"], "nor need it be named"


def test_a_wrong_key_and_none(make_lab: MakeLab, begin: StartWith, examine: Any, network: str, tmp_path: Path) -> None:
    h1, h2 = make_lab(2).hosts
    for folder in ("mine", "theirs"):
        (tmp_path / folder).mkdir()
        make_members(tmp_path / folder, network, ["h1", "h2"])
    begin(h1, "server", **as_member(tmp_path / "theirs", "h1"))
    found = examine(h2, h1.address, **as_member(tmp_path / "mine", "h2"))
    assert "is in a network with another key" in found["sentence"]
    assert not any(network in str(each) for each in found["computers"]), "strangers are told no names"
    found = examine(h2, h1.address)
    assert f"is in a network with a key, and {network!r} is open here" in found["sentence"]
    found = examine(h2, h1.address, **as_member(tmp_path / "theirs", "h2"))
    assert found["well"], found


def test_an_open_network_and_a_key_here(
    make_lab: MakeLab, begin: StartWith, examine: Any, network: str, tmp_path: Path
) -> None:
    h1, h2 = make_lab(2).hosts
    make_members(tmp_path, network, ["h2"])
    begin(h1, "server")
    found = examine(h2, h1.address, **as_member(tmp_path, "h2"))
    assert f"h1 is in the open network {network!r}, and {network!r} has a key here" in found["sentence"]


@pytest.mark.parametrize("protocol", [0, 2])
def test_another_version(make_lab: MakeLab, begin: StartWith, examine: Any, protocol: int) -> None:
    h1, h2 = make_lab(2).hosts
    server = begin(h1, "starter", LABC_NETWORK="unused")
    server.close()
    env = {"XDG_STATE_HOME": "/nonexistent"}
    with Agent(h1.program, "server", **env) as server:
        server.exec(f"""
import labc.discovery.carrier as carrier, labc.discovery.plan as plan
carrier.PROTOCOL, carrier.__version__ = {protocol}, "9.9.9"
real = plan.network_digest
plan.network_digest = lambda network: real(network + "of another version")
labc.blocking.portal.node()
""")
        found = examine(h2, h1.address, LABC_NETWORK="labc")
    update = "labc there" if protocol == 0 else "labc here"
    assert "h1 runs labc 9.9.9" in found["sentence"]
    assert found["sentence"].endswith(f"update {update}")


HOLDER = """
import socket, sys, time
kind, *ports = sys.argv[1:]
held = []
for port in map(int, ports):
    sock = socket.socket(type=socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(kind == "tcp"))  # what was there just now is forgotten
    sock.bind(("0.0.0.0", port))
    if kind == "tcp":
        sock.listen()
    held.append(sock)
print("held", flush=True)
time.sleep(100)
"""


@pytest.fixture
def found_beside(make_lab: MakeLab, begin: StartWith, examine: Any) -> Callable[..., Any]:
    """``found_beside("tcp", ports)``: what is found on a host where something else has taken these."""

    def find(kind: str, ports: tuple[int, ...]) -> Any:
        h1, h2 = make_lab(2).hosts
        begin(h1, "server")
        with python_program(HOLDER, kind, *map(str, ports), popen=h2.popen) as program:
            program.expect("held")
            return examine(h2, LABC_CONNECT_TIMEOUT="2")

    return find


def test_the_first_port_in_use_by_something_else(found_beside: Callable[..., Any], network: str) -> None:
    ports = root_ports(network)
    found = found_beside("tcp", ports[:1])
    assert found["well"], found
    assert found["here"]["root_port"] == ports[1]
    assert any(f"TCP port {ports[0]} of this computer is held by something else" in r for r in found["remarks"])


def test_the_datagram_port_in_use_by_something_else(found_beside: Callable[..., Any], network: str) -> None:
    ports = root_ports(network)
    found = found_beside("udp", ports[:1])
    assert found["well"], found
    assert any(f"does not answer at UDP port {ports[0]}" in r for r in found["remarks"]), found


def test_all_ports_in_use_by_something_else(found_beside: Callable[..., Any], network: str) -> None:
    ports = root_ports(network)
    found = found_beside("tcp", ports)
    assert "something else may hold them" in found["sentence"], found
    assert f"{ports[0]}-{ports[-1]}" in found["sentence"]


def test_only_connections_between_programs_are_blocked(
    make_lab: MakeLab, begin: StartWith, examine: Any, network: str
) -> None:
    lab = make_lab(2)
    h1, h2 = lab.hosts
    for host in lab.hosts:
        host.block_tcp(all_but=root_ports(network))
    meet([begin(h1, "server"), begin(h2, "own")])
    found = examine(h2, "h1")
    assert "calls go the slow way" in found["sentence"], found
    h2.clear_firewall()
    found = examine(h2, "h1")
    assert found["well"], found
    assert any("no direct connections can be made there (h1)" in remark for remark in found["remarks"]), found


def test_it_links_nothing_by_itself(make_lab: MakeLab, begin: StartWith, examine: Any) -> None:
    """What is broken stays so while it is looked at."""
    lab = make_lab(2)
    h1, h2 = lab.hosts
    for host in lab.hosts:
        host.drop_multicast()
    server = begin(h1, "server")
    own = begin(h2, "own")
    for _ in range(2):
        assert not examine(h2, h1.address)["well"]
    assert server.eval("names()") == ["server"]
    assert own.eval("names()") == ["own"]


def test_bad_arguments(make_lab: MakeLab) -> None:
    (h1,) = make_lab(1).hosts
    with Program([LABC, "doctor", ""], popen=h1.popen) as program:
        assert program.wait(20) == 2
        assert "expected a name" in program.errors
