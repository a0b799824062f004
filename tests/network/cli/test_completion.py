"""What the shell offers at Tab."""

from __future__ import annotations

import os
import socket
import subprocess
import time

import pytest
from network.cli.runs import LABC


def complete(line: str) -> list[str]:
    """What bash is given for the last word of the line."""
    words = {"_LABC_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    done = subprocess.run([LABC], env={**os.environ, **words}, capture_output=True, text=True, timeout=10)
    assert done.stderr == ""
    return done.stdout.split()


def complete_at_last(line: str) -> list[str]:
    """The same, asked again where a busy machine took longer than Tab waits."""
    return next((words for _ in range(10) if (words := complete(line))), [])


@pytest.mark.usefixtures("server")
def test_names_in_the_network() -> None:
    assert complete_at_last("labc call e") == ["echo"]
    assert "add" in complete_at_last("labc call ")
    assert complete_at_last("labc ping se") == ["server"]
    assert complete_at_last("labc fu") == ["functions"]


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("verb", ["call echo", "nodes", "functions"])
def test_places_in_the_network(verb: str) -> None:
    assert complete_at_last(f"labc {verb} --node ") == ["server"]
    assert complete_at_last(f"labc {verb} --host ") == [socket.gethostname()]


@pytest.mark.parametrize("verb", ["call", "publish", "subscribe", "functions"])
def test_scopes(verb: str) -> None:
    assert complete(f"labc {verb} --scope ") == ["node", "group", "host", "network", "wan"]
    assert complete(f"labc {verb} --scope n") == ["node", "network"]


@pytest.mark.usefixtures("server")
def test_perspectives() -> None:
    assert complete_at_last("labc call --perspective s") == ["server"]
    assert socket.gethostname() in complete_at_last("labc call --perspective ")


@pytest.mark.usefixtures("server")
def test_ping_takes_nodes_and_hosts() -> None:
    assert sorted(complete_at_last("labc ping ")) == sorted(["server", socket.gethostname()])


@pytest.mark.alone
def test_nobody_there_is_quick_and_silent(network: str) -> None:
    began = time.monotonic()
    assert complete("labc call ") == []
    assert time.monotonic() - began < 1.5
