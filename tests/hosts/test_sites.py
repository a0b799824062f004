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


def test_topics_of_two_sites(make_lab: MakeLab, route: Route, start_at: StartAt) -> None:
    lab = make_lab(2, 1)
    h1, h2, h3 = lab.hosts
    route(lab.between)
    one, two, three = start_at(h1, "one"), start_at(h2, "two"), start_at(h3, "three")
    meet([one, two])
    meet([three])
    for agent in (one, two, three):
        for scope in ("host", "network", "wan"):
            agent.exec(f"labc.subscribe(lambda text: received.append(({scope!r}, text)), topic='*', scope={scope!r})")
        agent.exec("seen = []; reader = labc.at(scope='wan').messages('*')")
        agent.exec("reader.__enter__()")
        agent.exec("threading.Thread(target=lambda: [seen.append(m.value) for m in reader], daemon=True).start()")
    three.eval("until(lambda: len(labc.nodes()) == 3)")
    one.exec("labc.publish('a', 'one here')")
    one.exec("labc.at(scope='wan').publish('a', 'one everywhere'); labc.at(scope='wan').publish('big', 'b' * 100_000)")
    one.exec("labc.localhost.publish('a', 'one near')")
    three.exec("labc.at(scope='wan').publish('a', 'three everywhere')")
    two.exec("labc.at(scope='wan').publish('a', 'end of two')")
    three.exec("labc.get_host('h1').publish('a', 'three to h1'); labc.at(scope='wan').publish('a', 'end of three')")
    for agent in (one, two, three):
        agent.eval("until(lambda: {('wan', 'end of two'), ('wan', 'end of three')} <= set(received))")
        agent.eval("until(lambda: {'end of two', 'end of three'} <= set(seen))")
    one.eval("until(lambda: ('wan', 'three to h1') in received)")
    found = {
        agent.name: {
            scope: agent.eval(f"sorted(text for s, text in received if s == {scope!r} and len(text) < 100)")
            for scope in ("host", "network", "wan")
        }
        for agent in (one, two, three)
    }
    ends, wide = ["end of three", "end of two"], ["one everywhere", "three everywhere"]
    of_site_1 = sorted(["end of two", "one here", "one everywhere"])
    assert found["one"] == {
        "host": ["one everywhere", "one here", "one near"],
        "network": sorted([*of_site_1, "one near"]),
        "wan": sorted([*ends, *wide, "one here", "one near", "three to h1"]),
    }
    assert found["two"] == {
        "host": ["end of two"],
        "network": of_site_1,
        "wan": sorted([*of_site_1, *wide[1:], ends[0]]),
    }
    assert found["three"]["host"] == found["three"]["network"] == ["end of three", "three everywhere"]
    assert found["three"]["wan"] == sorted([*ends, *wide])
    for agent in (one, two, three):
        big = {"one": ["host", "network", "wan"], "two": ["network", "wan"], "three": ["wan"]}[agent.name]
        assert agent.eval("sorted(s for s, text in received if len(text) > 100)") == big
    assert sorted(three.eval("[text for text in seen if len(text) < 100]")) == found["three"]["wan"]
    with pytest.raises(RemoteFailure, match="retained for the network of one site"):
        one.exec("labc.at(scope='wan').publish('a', 1, retain=True)")


def test_publishers_are_held_back_by_another_site(make_lab: MakeLab, route: Route, start_at: StartAt) -> None:
    lab = make_lab(1, 1)
    route(lab.between)
    one, two = (start_at(host, name) for host, name in zip(lab.hosts, ("one", "two"), strict=True))
    meet([one])
    two.exec("go = threading.Event()")
    two.exec("def slow(n): go.wait(10); received.append(n)")
    two.exec("labc.subscribe(slow, topic='held', when_full='hold', queue_size=1, scope='wan')")
    two.exec("labc.subscribe(lambda n: received.append(('network', n)), topic='held', when_full='hold')")
    meet([two])
    one.eval("until(lambda: len(labc.nodes()) == 2)")
    one.exec("for n in range(2): labc.at(scope='wan').publish('held', n)")
    one.exec("labc.publish('held', 'not for them')")
    with pytest.raises(RemoteFailure, match="CallTimeoutError"):
        one.exec(
            "labc.at(scope='wan', timeout=0.5).publish('held', 2); labc.at(scope='wan', timeout=0.5).publish('held', 3)"
        )
    two.exec("go.set(); until(lambda: len(received) >= 2)")
    one.exec("labc.at(scope='wan').publish('held', 'last')")
    two.exec("until(lambda: 'last' in received)")
    assert two.eval("received[:2]") == [0, 1]
    assert not two.eval("[n for n in received if n == 'not for them' or type(n) is tuple]")
