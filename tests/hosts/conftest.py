"""Agents on virtual hosts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from agent import Agent, Start


@pytest.fixture
def start(network: str) -> Iterator[Start]:
    """``start(host, name)`` runs an agent there; it is closed with the test."""
    with contextlib.ExitStack() as agents:
        yield lambda host, name: agents.enter_context(Agent(host.program, name, LABC_NETWORK=network))
