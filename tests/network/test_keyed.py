"""A keyed network on one host: its ways, another user, a root that is killed, large values, what is missing."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from agent import Agent, RemoteFailure, hear, meet
from keyed import as_member, make_members

import labc
from labc.security import Credentials
from labc.security.authority import revoke
from labc.security.trust import Trust
from labc.testing import free_network_name, python_program

NOBODY = 65534


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that other users can reach, unlike pytest's."""
    folder = Path(tempfile.mkdtemp(prefix="labc-keyed-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@contextlib.contextmanager
def agent_of(place: Path, member: str, name: str, network: str, user: int | None = None) -> Iterator[Agent]:
    with Agent(python_program, name, LABC_NETWORK=network, **as_member(place, member)) as agent:
        if user is not None:
            # Python itself may be where the other user can't read it: first all is imported that will be needed.
            agent.exec("import encodings.idna, hashlib, hmac, labc.discovery, labc.lanes.admission, labc.lanes.door")
            agent.exec("import labc.node.vouching, labc.security.trust; labc.register(lambda: 1, name='used')")
            agent.exec(f"labc.init(network={free_network_name()!r})")
            agent.exec("labc.call('used'); labc.publish('used'); labc.nodes(); labc.close(); labc.init()")
            agent.exec(f"os.setgroups([]); os.setgid({user}); os.setuid({user})")
        yield agent


def lanes(agent: Agent) -> list[str]:
    found: list[str] = agent.eval(
        "sorted(lane.kind for lane in labc.blocking.portal.node().rooms()._pool.lanes() if not lane.one_way)"
    )
    return found


def test_programs_of_one_user_talk_over_unix_sockets(place: Path, network: str) -> None:
    make_members(place, network, ["h1"])
    with agent_of(place, "h1", "a", network) as a, agent_of(place, "h1", "b", network) as b:
        meet([a, b])
        a.exec("labc.register(lambda x: x, name='echo')")
        assert b.eval("[labc.call('echo', n) for n in range(50)]") == list(range(50))
        assert lanes(b) == ["unix"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can be another user")
def test_programs_of_two_users_talk_over_tls_and_a_stranger_not_at_all(place: Path, network: str) -> None:
    members = make_members(place, network, ["root", "other"])
    for path in (place / "other", *(place / "other").rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    assert members["other"].folder.is_relative_to(place / "other")
    with (
        agent_of(place, "root", "a", network) as a,
        agent_of(place, "other", "b", network, NOBODY) as b,
        agent_of(place, "nobody", "c", network, NOBODY) as c,
    ):
        meet([a, b])
        for agent, other in ((a, b), (b, a)):
            agent.exec(f"labc.register(lambda x: x, name='echo-{agent.name}')")
            assert other.eval(f"[labc.call('echo-{agent.name}', n) for n in range(20)]") == list(range(20))
        assert "unix" not in lanes(b)
        assert "tls" in lanes(b)
        # They are on one host all the same.
        a.exec("labc.at(scope='host').register(lambda: 'near', name='near')")
        a.exec("labc.subscribe(receive, topic='near', scope='host')")
        assert b.eval("labc.call('near')") == "near"
        hear([b], a)
        b.exec("labc.publish('near', 1)")
        a.eval("until(lambda: [value for value, _ in received] == [1])")
        # Who is no member: not on the fabric, and not straight at the socket either.
        assert c.eval("names()") == ["c"]
        with pytest.raises(RemoteFailure, match="NotFoundError"):
            c.eval("labc.call('echo-a', 1)")
        path = a.eval("'labc-' + labc.blocking.portal.node().id")
        knock = f"(lambda s: (s.connect('\\0' + {path!r}), s.settimeout(5), s.recv(100))[-1].hex())(socket.socket(1))"
        c.exec("import socket")
        with contextlib.suppress(RemoteFailure):  # it may be cut off, too
            assert c.eval(knock) == ""


def test_another_users_root_hears_of_who_is_revoked(place: Path, network: str) -> None:
    """Users of one computer have files of their own, and one root."""
    members = make_members(place, network, ["founder", "other", "revoked"])
    with agent_of(place, "other", "b", network) as b, agent_of(place, "founder", "a", network) as a:
        b.exec("labc.blocking.portal.node()")
        meet([a, b])
        assert b.eval("labc.blocking.portal.node().is_root")
        newer = revoke(members["founder"], [members["revoked"].about.seat], datetime.now(UTC))
        wait_for(members["other"], newer)
        meet([a, b])


def test_another_users_program_that_is_no_root_hears_of_who_was_revoked(place: Path, network: str) -> None:
    members = make_members(place, network, ["founder", "other", "revoked"])
    newer = revoke(members["founder"], [members["revoked"].about.seat], datetime.now(UTC))
    with agent_of(place, "founder", "a", network) as a, agent_of(place, "other", "b", network) as b:
        a.exec("labc.blocking.portal.node()")
        meet([a, b])
        assert a.eval("labc.blocking.portal.node().is_root")
        wait_for(members["other"], newer)


def wait_for(member: Credentials, edition: Trust) -> None:
    """The documentation says 15 s, of a machine with nothing else to do."""
    deadline = time.monotonic() + 25.0
    while member.read_trust() != edition:
        assert time.monotonic() < deadline, f"it still goes by edition {member.read_trust().number}"
        time.sleep(0.05)


def test_its_root_is_killed(place: Path, network: str) -> None:
    make_members(place, network, ["h1"])
    with contextlib.ExitStack() as stack:
        agents = [stack.enter_context(agent_of(place, "h1", f"node{n}", network)) for n in range(3)]
        meet(agents)
        roots = [a for a in agents if a.eval("labc.blocking.portal.node().is_root")]
        others = [a for a in agents if a not in roots]
        assert len(roots) == 1
        others[0].exec("labc.register(lambda x: x, name='echo'); labc.subscribe(receive, topic='ticks')")
        assert others[1].eval("labc.call('echo', 1)") == 1
        roots[0].program.kill()
        assert others[1].eval("labc.call('echo', 2)") == 2
        meet(others)
        others[1].exec("labc.publish('ticks', 7)")
        others[0].eval("until(lambda: [value for value, _ in received] == [7])")


def test_large_values_by_topic_are_encrypted_as_well(place: Path, network: str) -> None:
    """They have a link of their own to the root."""
    make_members(place, network, ["h1"])
    with agent_of(place, "h1", "a", network) as a, agent_of(place, "h1", "b", network) as b:
        meet([a, b])
        a.exec("labc.subscribe(lambda x: received.append(len(x)), topic='big')")
        b.exec("labc.publish('big', bytes(3_000_000))")
        a.eval("until(lambda: received == [3_000_000])")


def test_a_membership_that_can_not_be_used_is_no_open_network(
    place: Path, network: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (member,) = make_members(place, network, ["h1"]).values()
    monkeypatch.setenv("XDG_DATA_HOME", str(place / "h1"))
    member.trust.write_text("")
    try:
        with pytest.raises(labc.MembershipError, match="damaged"):
            labc.nodes()
    finally:
        labc.close()


def test_who_wants_a_key_is_in_no_open_network_by_accident(
    place: Path, network: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_members(place, network, ["h1"])
    monkeypatch.setenv("LABC_ENCRYPTED", "true")
    monkeypatch.setenv("XDG_DATA_HOME", str(place / "somebody else"))
    try:
        with pytest.raises(labc.MembershipError, match="encrypted forbids"):
            labc.nodes()
        labc.close()
        monkeypatch.setenv("XDG_DATA_HOME", str(place / "h1"))
        assert len(labc.nodes()) == 1
    finally:
        labc.close()


def test_without_the_library_it_says_what_to_install(place: Path, network: str) -> None:
    (place / "cryptography.py").write_text("raise ImportError('not installed')")
    source = """
        from labc.cli import main
        main(["network", "create", "lab1"])
    """
    environment = {"PYTHONPATH": str(place), **as_member(place, "h1")}
    with python_program(source, env=environment) as program:
        assert program.wait(20.0) == 1
        assert "pip install 'labc[security]'" in program.errors


def test_running_in_it_needs_no_such_library(place: Path, network: str) -> None:
    make_members(place, network, ["h1"])
    (place / "cryptography.py").write_text("raise ImportError('not installed')")
    source = "import labc; labc.register(lambda: 1, name='f'); print(labc.call('f'), flush=True); labc.close()"
    environment = {"PYTHONPATH": str(place), "LABC_NETWORK": network, **as_member(place, "h1")}
    with python_program(source, env=environment) as program:
        program.expect("1", 20.0)
        assert program.wait() == 0, program.errors


def test_a_root_that_begins_afresh_again_and_again_is_without_a_link_for_a_moment_only(
    place: Path, network: str
) -> None:
    """As it does when whom to trust changes. (The engine takes ten seconds now and then, if one lets it.)"""
    make_members(place, network, ["h1"])
    with agent_of(place, "h1", "a", network) as a:
        a.exec("""
node = labc.blocking.portal.node().rooms()
fabric = node._media[0]
def renew():
    began = time.monotonic()
    done = threading.Event()
    node.loop.call_soon_threadsafe(lambda: (fabric.renew(), done.set()))
    done.wait(10)
    until(lambda: fabric.linked and fabric.root_port is not None, 20)
    return time.monotonic() - began
until(lambda: fabric.root_port is not None)
""")
        assert a.eval("max(renew() for _ in range(50))", timeout=40) < 3.0
