"""``labc router``, and programs that shall reach one."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from agent import Agent
from keyed import data_of, make_members
from network.cli.runs import LABC, Begin, Run

from labc.fabric import root_ports
from labc.settings import ROUTER_PORT
from labc.testing import python_program


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def test_it_says_what_to_set_and_routes_until_ctrl_c(begin: Begin, network: str, port: int) -> None:
    router = begin("router", "--listen", f"127.0.0.1:{port}")
    router.expect(f"router of the network {network!r} on tcp/127.0.0.1:{port} (open: for anybody who reaches it)")
    setting = router.expect(re.compile(r"^  labc settings set routers (\S+)$"))[1]
    assert setting == f"tcp/127.0.0.1:{port}"
    router.expect(re.compile("Ctrl-C ends it"), stream="stderr")
    with socket.create_connection(("127.0.0.1", port)):
        pass
    router.process.send_signal(signal.SIGINT)
    assert router.wait(5.0) == 130
    assert "Traceback" not in router.errors


def test_a_port_of_the_roots_is_told(run: Run, network: str, port: int) -> None:
    """Programs on this computer would take the router for a root."""
    assert "the roots of" not in run("router", "--listen", f"127.0.0.1:{port}", "--timeout", "0").stderr
    shared = root_ports(network)[-1]
    done = run("router", "--listen", f"127.0.0.1:{shared}", "--timeout", "0")
    assert f"the roots of {network!r} use this port as well" in done.stderr
    assert not any(ROUTER_PORT in root_ports(name) for name in ("labc", network))


def test_it_ends_when_the_time_is_over(run: Run, port: int) -> None:
    began = time.monotonic()
    run("router", "--listen", f"tcp/127.0.0.1:{port}", "--timeout", "0.5")
    assert time.monotonic() - began < 5.0


def test_where_nothing_can_listen(run: Run, network: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"tcp/127.0.0.1:{taken.getsockname()[1]}"
        done = run("router", "--listen", place, code=1)
    assert done.stderr.startswith(f"labc: nothing can listen on {place}: the port is in use, or this computer has no")
    assert "no such address" in run("router", "--listen", "192.0.2.1", code=1).stderr


def test_what_is_no_address(run: Run) -> None:
    for wrong in ("udp/127.0.0.1", "", "127.0.0.1:0", "a b"):
        done = run("router", "--listen", wrong, code=2)
        assert "expected an address of this computer, like 0.0.0.0 or tcp/10.0.0.5:55554" in done.stderr


def test_the_protocol_has_to_fit_the_network(
    run: Run, network: str, port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run("router", "--listen", f"tls/127.0.0.1:{port}", code=1)
    assert f"--listen tls/127.0.0.1:{port}: the network {network!r} has no key" in done.stderr
    monkeypatch.setenv("LABC_ROUTERS", "tls/server.example")
    assert "routers: tls/server.example:55554: the network" in run("nodes", code=1).stderr
    monkeypatch.delenv("LABC_ROUTERS")
    make_members(tmp_path, network, ["h1"])
    with data_of(tmp_path / "h1"):
        done = run("router", "--listen", f"tcp/127.0.0.1:{port}", code=1)
        assert f"has a key, so that its routers speak tls; expected tls/127.0.0.1:{port}" in done.stderr


def test_a_program_whose_router_is_not_there_works_and_leaves_at_once(
    run: Run, server: object, monkeypatch: pytest.MonkeyPatch, port: int
) -> None:
    """Nobody listens at the first; the second takes connections and says nothing; the third is nowhere."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        places = f"127.0.0.1:{port},127.0.0.1:{silent.getsockname()[1]},nowhere.invalid"
        monkeypatch.setenv("LABC_ROUTERS", places)
        source = """
import time, labc
labc.register(lambda: 1, name='one', scope='wan')
assert labc.call('echo', 'hi') == 'hi'
assert labc.call('one') == 1
labc.at(scope='wan').publish('topic', 1)
left = time.monotonic()
labc.close()
print(time.monotonic() - left)
"""
        for _ in range(3):
            done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=20)
            assert done.returncode == 0, done
            assert float(done.stdout) < 1.0
        assert run("call", "echo", "hi").stdout == "hi\n"


def test_a_router_of_another_network(begin: Begin, network: str, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    router = begin("router", "--listen", f"127.0.0.1:{port}", "--network", f"{network}-other")
    router.expect(re.compile("Ctrl-C ends it"), stream="stderr")
    monkeypatch.setenv("LABC_ROUTERS", f"127.0.0.1:{port}")
    server = begin("-v", "subscribe", "topic")
    server.expect(re.compile(f"it may be one of another network than '{network}'"), stream="stderr")


def test_another_router_is_tried_where_the_first_is_of_another_network(begin: Begin, network: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        ports = [int(each.getsockname()[1]) for each in (one, two)]
    for port, name in zip(ports, (f"{network}-other", network), strict=True):
        router = begin("router", "--listen", f"127.0.0.1:{port}", "--network", name)
        router.expect(re.compile("Ctrl-C ends it"), stream="stderr")
    routers = ",".join(f"127.0.0.1:{port}" for port in ports)
    with Agent(python_program, "agent", LABC_NETWORK=network, LABC_ROUTERS=routers) as agent:
        agent.exec("rooms = labc.blocking.portal.node().rooms()")
        agent.exec("""
import asyncio
def answers():
    asking = rooms.wide.ask(rooms.wide.keys.roots, b"", 1.0)
    return [each.decode() for each in asyncio.run_coroutine_threadsafe(asking, rooms.loop).result()]
""")
        agent.exec("until(answers, timeout=30)", timeout=35)
        assert agent.eval("answers()") == [f"tcp/127.0.0.1:{ports[1]}"]


def test_the_verb_explains_itself() -> None:
    done = subprocess.run([LABC, "router", "--help"], capture_output=True, text=True, timeout=20)
    assert "Route between sites" in done.stdout
    assert "labc router --listen" in done.stdout
