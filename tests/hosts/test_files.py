"""Files from host to host: over a slow network, a cut cable, roots alone, and when either side is killed."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from agent import Agent, RemoteFailure, meet
from keyed import as_member, make_members
from trees import contents

from labc.fabric import root_ports
from labc.testing import VirtualHost, VirtualHosts

MakeLab = Callable[[int], VirtualHosts]
Open = Callable[..., Agent]

LARGE = 30_000_000
ORDER = """
import pathlib

def order(verb, *args, **kwargs):
    # In a thread: how it ended comes into `ended`.
    def run():
        try:
            done = getattr(labc.get_host('h1').files, verb)(*args, **kwargs)
            ended.append(["", done.files, done.bytes, done.skipped])
        except labc.LabcError as error:
            ended.append([str(error)])
    ended.clear()
    threading.Thread(target=run, daemon=True).start()

ended = []

def begun(folder, chunks=3):
    # Whether some of a large file is there: of each chunk its digest is in the journal.
    return any(path.stat().st_size > 48 + 16 * chunks for path in pathlib.Path(folder).glob('.labc-part-*.journal'))
"""


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """What the share has, and where files go."""
    share, to = tmp_path / "share", tmp_path / "to"
    share.mkdir()
    to.mkdir()
    for number in range(200):
        path = share / "small" / str(number % 7) / f"{number}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(random.Random(number).randbytes(number * 40))
        os.utime(path, (1_000_000 + number, 1_000_000 + number))
    (share / "large.bin").write_bytes(random.Random(1).randbytes(LARGE))
    return share, to


@pytest.fixture
def open_agent(network: str, folders: tuple[Path, Path]) -> Iterator[Open]:
    """``open_agent(host, how, **env)`` runs an agent there, that offers both folders (``write`` the second one)."""
    share, to = folders
    with contextlib.ExitStack() as agents:

        def open_(host: VirtualHost, how: str = "", **env: str) -> Agent:
            shares = {"LABC_SHARES__DATA": f"{share}{how}", "LABC_SHARES__INBOX": f"{to}{how},write"} if how else {}
            agent = Agent(host.program, host.name, LABC_NETWORK=network, **shares, **env)
            agents.enter_context(agent)
            agent.exec(ORDER)
            return agent

        yield open_


def outcome(agent: Agent, timeout: float = 40.0) -> list[Any]:
    agent.eval(f"until(lambda: ended, timeout={timeout})", timeout=timeout + 10)
    ended: list[Any] = agent.eval("ended[0]")
    return ended


def test_files_across_hosts(make_lab: MakeLab, open_agent: Open, folders: tuple[Path, Path]) -> None:
    h1, h2 = make_lab(2).hosts
    share, to = folders
    agents = [open_agent(h1, ",open"), open_agent(h2)]
    meet(agents)
    _, b = agents
    size = sum(path.stat().st_size for path in share.rglob("*") if path.is_file())
    b.exec(f"order('download', 'data:', to={str(to / 'got')!r}, connections=8)")
    assert outcome(b) == ["", 201, size, 0]
    assert contents(to / "got") == contents(share)
    b.exec(f"order('upload', {f'{to}/got/'!r}, to='inbox:sent', connections=4)")
    assert outcome(b) == ["", 201, size, 0]
    assert contents(to / "sent") == contents(share)
    b.exec(f"order('upload', {f'{to}/got/'!r}, to='inbox:sent')")
    assert outcome(b) == ["", 0, 0, 201]


def test_a_share_that_is_not_open(make_lab: MakeLab, open_agent: Open, folders: tuple[Path, Path]) -> None:
    """On a network without a key it is for programs of its own host."""
    h1, h2 = make_lab(2).hosts
    agents = [open_agent(h1, ",no-open"), open_agent(h2)]
    meet(agents)
    a, b = agents
    assert a.eval("[share.name for share in labc.get_host('h1').files.shares()]") == ["data", "inbox"]
    assert b.eval("labc.get_host('h1').files.shares()") == []
    with pytest.raises(RemoteFailure, match=r"no share 'data' on 'h1'.*open = true"):
        b.eval("labc.get_host('h1').files.list('data:')")
    for ask in ("labc.stream('core.files.list', 'data', 'glob', '')", "labc.stream('core.files.delete', 'inbox', [])"):
        with pytest.raises(RemoteFailure) as told:
            b.eval(f"list({ask})")
        assert told.value.error == "RefusedError"


def test_with_a_key_members_need_no_open_share(
    make_lab: MakeLab, open_agent: Open, folders: tuple[Path, Path], network: str, tmp_path: Path
) -> None:
    h1, h2 = make_lab(2).hosts
    share, to = folders
    make_members(tmp_path / "members", network, ["h1", "h2"])
    a, b = (open_agent(host, ",no-open", **as_member(tmp_path / "members", host.name)) for host in (h1, h2))
    meet([a, b])
    b.exec(f"order('download', 'data:', to={str(to / 'got')!r})")
    assert outcome(b)[:2] == ["", 201]
    assert contents(to / "got") == contents(share)


def test_through_the_roots_where_there_is_no_direct_way(
    make_lab: MakeLab, open_agent: Open, folders: tuple[Path, Path], network: str
) -> None:
    h1, h2 = make_lab(2).hosts
    share, to = folders
    for host in (h1, h2):
        host.block_tcp(all_but=root_ports(network))
    agents = [open_agent(h1, ",open"), open_agent(h2)]
    meet(agents)
    _, b = agents
    b.exec(f"order('download', 'data:', to={str(to / 'got')!r})")
    assert outcome(b)[:2] == ["", 201]
    assert contents(to / "got") == contents(share)


def test_over_a_long_way(make_lab: MakeLab, open_agent: Open, folders: tuple[Path, Path]) -> None:
    """Not one round trip of 40 ms for each file."""
    h1, h2 = make_lab(2).hosts
    share, to = folders
    agents = [open_agent(h1, ",open"), open_agent(h2)]
    meet(agents)
    h2.delay(0.02)
    _, b = agents
    b.exec(f"order('download', 'data:small/', to={str(to / 'got')!r}, connections=1)")
    assert outcome(b, timeout=7.5)[:2] == ["", 200], "two hundred round trips take eight seconds"
    assert contents(to / "got") == contents(share / "small")


@pytest.mark.parametrize("verb", ["download", "upload"])
def test_a_cable_that_is_cut_and_mended(
    make_lab: MakeLab, open_agent: Open, folders: tuple[Path, Path], verb: str
) -> None:
    """The order fails with a sentence; given again, it goes on, and no chunk that is there comes again."""
    h1, h2 = make_lab(2).hosts
    share, to = folders
    agents = [open_agent(h1, ",open"), open_agent(h2)]
    meet(agents)
    _, b = agents
    order = {
        "download": f"order('download', 'data:large.bin', to={str(to)!r})",
        "upload": f"order('upload', {str(share / 'large.bin')!r}, to='inbox:')",
    }[verb]
    h2.limit_rate(80e6)
    b.exec(order)
    b.eval(f"until(lambda: begun({str(to)!r}))")
    h2.cut()
    (sentence,) = outcome(b)
    assert " on h1: it is not in the network any more" in sentence
    assert not (to / "large.bin").exists()
    there = bytes_in(to)
    h2.mend()
    h2.limit_rate(None)
    meet(agents)
    b.exec(order)
    text, files, came, skipped = outcome(b)
    assert (text, files, skipped) == ("", 1, 0)
    assert came <= LARGE - there, "nothing that was there came again"
    assert (to / "large.bin").read_bytes() == (share / "large.bin").read_bytes()
    assert sorted(os.listdir(to)) == ["large.bin"]


@pytest.mark.parametrize("verb", ["download", "upload"])
def test_the_host_of_the_share_is_killed(
    make_lab: MakeLab, open_agent: Open, folders: tuple[Path, Path], verb: str
) -> None:
    """Given again, what was begun goes on with the program that takes its place."""
    h1, h2 = make_lab(2).hosts
    share, to = folders
    a, b = open_agent(h1, ",open"), open_agent(h2)
    meet([a, b])
    order = {
        "download": f"order('download', 'data:large.bin', to={str(to)!r})",
        "upload": f"order('upload', {str(share / 'large.bin')!r}, to='inbox:')",
    }[verb]
    h2.limit_rate(80e6)
    b.exec(order)
    b.eval(f"until(lambda: begun({str(to)!r}))")
    a.program.kill()
    again = open_agent(h1, ",open")
    meet([again, b])
    h2.limit_rate(None)
    (sentence,) = outcome(b)
    assert " on h1: " in sentence
    there = bytes_in(to)
    b.exec(order)
    text, files, came, _ = outcome(b)
    assert (text, files) == ("", 1)
    assert came <= LARGE - there, "nothing that was there came again"
    assert (to / "large.bin").read_bytes() == (share / "large.bin").read_bytes()
    assert sorted(os.listdir(to)) == ["large.bin"]


def bytes_in(folder: Path) -> int:
    """Those of the large file of whose chunks the digests are in the journal there."""
    (journal,) = folder.glob(".labc-part-*.journal")
    digests = journal.read_bytes()[48:]
    chunks = (number for number in range(len(digests) // 16) if any(digests[16 * number : 16 * (number + 1)]))
    return sum(min(1 << 20, LARGE - (number << 20)) for number in chunks)
