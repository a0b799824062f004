"""Agents on this host."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from agent import Agent, LocalStart

from labc.testing import python_program


@pytest.fixture
def start(network: str) -> Iterator[LocalStart]:
    """``start(name)`` runs an agent; it is closed with the test."""
    with contextlib.ExitStack() as agents:
        yield lambda name: agents.enter_context(Agent(python_program, name, LABC_NETWORK=network))
