"""Sites of one network that don't reach each other, and a router between them."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator

import pytest
from agent import Agent, RemoteFailure, meet
from network.cli.runs import LABC

from labc.testing import Program, VirtualHost, VirtualHosts

MakeLab = Callable[..., VirtualHosts]
StartAt = Callable[[VirtualHost, str], Agent]
Route = Callable[..., Program]

PORT = 55556
BACK_WITHIN = 10.0
"""Seconds, by the documentation, in which a router that comes, or comes again, is found."""

KINDS = "sorted(lane.kind for lane in labc.blocking.portal.node().rooms()._pool.lanes())"


@pytest.fixture
def route(network: str) -> Iterator[Route]:
    """``route(host)`` runs a router there, until the end of the test."""
    with contextlib.ExitStack() as routers:

        def start(host: VirtualHost, *arguments: str, **env: str) -> Program:
            arguments = ("router", *arguments, "--network", network)
            router = routers.enter_context(Program([LABC, *arguments], popen=host.popen, env=env))
            router.expect(re.compile("labc settings set routers"))
            return router

        yield start


@pytest.fixture
def start_at(network: str) -> Iterator[StartAt]:
    """``start_at(host, name)`` runs an agent there, which knows the router in the middle."""
    with contextlib.ExitStack() as agents:

        def start(host: VirtualHost, name: str, **env: str) -> Agent:
            router = host.address.rpartition(".")[0] + f".254:{PORT}"
            environment = {"LABC_NETWORK": network, "LABC_ROUTERS": router, **env}
            return agents.enter_context(Agent(host.program, name, **environment))

        yield start


def test_calls_between_two_sites(make_lab: MakeLab, route: Route, start_at: StartAt) -> None:
    lab = make_lab(2, 1)
    h1, h2, h3 = lab.hosts
    route(lab.between)
    one, two, three = start_at(h1, "one"), start_at(h2, "two"), start_at(h3, "three")
    meet([one, two])
    meet([three])
    for agent in (one, two, three):
        agent.exec(f"labc.register(lambda x: [{agent.name!r}, x], name='who', scope='wan')")
        agent.exec(f"labc.register(lambda: 'only here', name='near-{agent.name}')")
        agent.exec(f"labc.register(lambda x: x, name='far-{agent.name}', scope='wan')")
    began = time.monotonic()
    assert one.eval("labc.call('far-three', [1, 2])") == [1, 2]
    print(f"first call between sites: {time.monotonic() - began:.2f} s")
    assert three.eval("labc.call('far-two', 'back')") == "back"
    assert one.eval(KINDS) == ["relay"]
    # The nearest first, other sites last.
    assert [agent.eval("labc.call('who', 1)[0]") for agent in (one, two, three)] == ["one", "two", "three"]
    assert sorted(one.eval("[o.value[0] for o in labc.call_all('who', 1)]")) == ["one", "three", "two"]
    assert sorted(one.eval("[o.value[0] for o in labc.network.call_all('who', 1)]")) == ["one", "two"]
    assert one.eval("labc.at(order='top-down').call('who', 1)[0]") == "three"
    # What is of the network alone is not there.
    for caller, name in ((one, "near-three"), (three, "near-one")):
        for at in ("find_timeout=0.3", "host='h3', node='three', find_timeout=0.3", "host='h1', node='one'"):
            with pytest.raises(RemoteFailure, match="NotFoundError"):
                caller.eval(f"labc.at({at}).call({name!r})")
    assert two.eval("labc.call('near-one')") == "only here"
    names = [f.eval("sorted({f.name for f in labc.functions()})") for f in (one, three)]
    assert names[0] == ["far-one", "far-three", "far-two", "near-one", "near-two", "who"]
    assert names[1] == ["far-one", "far-three", "far-two", "near-three", "who"]
    assert one.eval("sorted({f.name for f in labc.network.functions()})") == [
        "far-one", "far-two", "near-one", "near-two", "who"
    ]  # fmt: skip
    assert one.eval("sorted(n.name for n in labc.nodes())") == ["one", "three", "two"]
    assert one.eval("sorted(n.name for n in labc.network.nodes())") == ["one", "two"]
    listed = three.eval("[f['name'] for f in labc.get_host('h1', node='one').core.functions()]")
    assert listed == ["far-one", "who"]
