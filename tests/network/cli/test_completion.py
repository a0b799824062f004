"""What the shell offers at Tab."""

from __future__ import annotations

import os
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


@pytest.mark.usefixtures("server")
def test_names_in_the_network() -> None:
    assert complete("labc call e") == ["echo"]
    assert "add" in complete("labc call ")
    assert complete("labc ping se") == ["server"]
    assert complete("labc fu") == ["functions"]


def test_nobody_there_is_quick_and_silent(network: str) -> None:
    began = time.monotonic()
    assert complete("labc call ") == []
    assert time.monotonic() - began < 1.5
