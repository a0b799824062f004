"""What a call costs, counted and not timed: how fast the machine is, and who else uses it, plays no part.

``pytest -n 0 -s tests/network/test_costs.py`` prints the figures.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from agent import Agent, meet

from labc.testing import python_program

CALLS = 500
WARMING_UP = 100

FUNCTIONS_AT_MOST = {
    ("async def", "server"): 140,
    ("async def", "caller"): 150,
    ("def", "server"): 165,
    ("def", "caller"): 150,
}
"""Calls of functions, of Python and of C, that one call over the network takes: a quarter more than they were."""

SWITCHES_AT_MOST = {
    ("async def", "server"): 1.5,
    ("async def", "caller"): 2.5,
    ("def", "server"): 3.5,
    ("def", "caller"): 2.5,
}
"""How often threads of a process wait, in one call. The server waits for the request; where a thread runs the function,
that thread waits for work, and the loop for its result. The caller waits for the answer; and one of its threads may be
woken by what another one does. Half of one more is for what else a node does."""

COUNT = """
import collections
counted = collections.Counter()

def note(frame, event, argument):
    counted[event] += 1

def count(on):
    # On the thread of the node's loop, on threads that begin from now on, and on that of do_calls.
    global noting
    noting = note if on else None
    threading.setprofile(noting)
    node, done = labc.blocking.portal.node(), threading.Event()
    node.rooms().loop.call_soon_threadsafe(lambda: (sys.setprofile(noting), done.set()))
    assert done.wait(10)

def do_calls(name, times):
    sys.setprofile(noting)
    for _ in range(times):
        labc.call(name, b"x" * 16)
    sys.setprofile(None)

def functions():
    return counted["call"] + counted["c_call"]

noting = None
"""

SERVE = """
async def here(x):
    return x

labc.register(here, name="async def")
labc.register(lambda x: x, name="def")
"""

KINDS = pytest.mark.parametrize("kind", ["async def", "def"])


@pytest.fixture
def agents(network: str) -> Iterator[list[Agent]]:
    """A server and a caller."""
    with (
        Agent(python_program, "server", LABC_NETWORK=network) as server,
        Agent(python_program, "caller", LABC_NETWORK=network) as caller,
    ):
        server.exec(SERVE)
        for agent in (server, caller):
            agent.exec(COUNT)
        meet([server, caller])
        yield [server, caller]


def exceeded(kind: str, found: dict[str, float], at_most: dict[tuple[str, str], float]) -> dict[str, float]:
    print(f"{kind}: " + ", ".join(f"{name} {value:.1f}" for name, value in found.items()))
    return {name: value for name, value in found.items() if value > at_most[kind, name]}


@KINDS
def test_functions_that_a_call_takes(agents: list[Agent], kind: str) -> None:
    caller = agents[1]
    for agent in agents:
        agent.exec("count(True)")
    caller.exec(f"do_calls({kind!r}, {WARMING_UP})")
    before = [agent.eval("functions()") for agent in agents]
    caller.exec(f"do_calls({kind!r}, {CALLS})")
    after = [agent.eval("functions()") for agent in agents]
    for agent in agents:
        agent.exec("count(False)")
    found = {agent.name: (b - a) / CALLS for agent, a, b in zip(agents, before, after, strict=True)}
    assert min(found.values()) > 10, f"nothing was counted: {found}"
    assert exceeded(kind, found, FUNCTIONS_AT_MOST) == {}


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it is not counted by thread")
@KINDS
def test_waits_in_a_call(agents: list[Agent], kind: str) -> None:
    caller = agents[1]
    caller.exec(f"do_calls({kind!r}, {WARMING_UP})")
    before = [waits(agent.pid) for agent in agents]
    caller.exec(f"do_calls({kind!r}, {CALLS})")
    found = {agent.name: (waits(agent.pid) - a) / CALLS for agent, a in zip(agents, before, strict=True)}
    assert min(found.values()) > 0.1, f"nothing was counted: {found}"
    assert exceeded(kind, found, SWITCHES_AT_MOST) == {}


def waits(pid: int) -> int:
    """How often the threads of this process gave the processor up by themselves."""
    total = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        total += int(fields["voluntary_ctxt_switches"])
    return total
