"""Sites of one network that don't reach each other, and a router between them."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from agent import Agent, RemoteFailure, meet
from hosts.test_scopes import SNIFFER, saw
from keyed import as_member, data_of, make_members
from network.cli.runs import LABC

from labc.security.authority import revoke
from labc.testing import Program, VirtualHost, VirtualHosts

MakeLab = Callable[..., VirtualHosts]
StartAt = Callable[[VirtualHost, str], Agent]
Route = Callable[..., Program]

PORT = 55554
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


def test_a_limited_topic_stays_in_its_site(make_lab: MakeLab, route: Route, start_at: StartAt) -> None:
    lab = make_lab(2, 1)
    h1, h2, h3 = lab.hosts
    route(lab.between)
    one = start_at(h1, "one", LABC_ACCESS="publish near/**=10.0.0.0/8")
    two, three = start_at(h2, "two"), start_at(h3, "three")
    meet([one, two])
    meet([three])
    for agent in (two, three):
        agent.exec("labc.subscribe(received.append, topic='near/*', scope='wan')")
    one.eval("until(lambda: len(labc.nodes()) == 3)")
    one.exec("labc.publish('near/x', 'for this site')")
    one.exec("labc.at(scope='wan').publish('near/x', 'for all')")
    for agent, expected in ((two, ["for this site", "for all"]), (three, ["for all"])):
        agent.eval("until(lambda: 'for all' in received)")
        assert agent.eval("received") == expected


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


def until_called(agent: Agent, name: str, within: float) -> float:
    """Seconds until the function of this name answers."""
    began = time.monotonic()
    agent.exec(f"""
def answers():
    try:
        return labc.at(timeout=1, find_timeout=0.3).call({name!r})
    except (labc.LabcError, TimeoutError):
        return False
until(answers, timeout={within})
""")
    return time.monotonic() - began


def test_a_router_that_comes_late_and_one_that_is_killed(make_lab: MakeLab, route: Route, start_at: StartAt) -> None:
    lab = make_lab(1, 1)
    one, two = (start_at(host, name) for host, name in zip(lab.hosts, ("one", "two"), strict=True))
    two.exec("labc.register(lambda: True, name='there', scope='wan')")
    two.exec("labc.register(lambda: 'home', name='home')")
    one.exec(WATCH)
    assert two.eval("labc.call('home')") == "home"
    with pytest.raises(RemoteFailure, match="no link to a router"):
        one.eval("labc.at(find_timeout=0.3).call('there')")
    router = route(lab.between)
    print(f"first call after the router came: {until_called(one, 'there', BACK_WITHIN):.2f} s")
    one.eval("until(lambda: ('joined', 'two') in told)")
    router.process.kill()
    router.process.wait()
    one.exec("until(lambda: not labc.blocking.portal.node().rooms().wide.linked)")
    assert two.eval("labc.call('home')") == "home"
    began = time.monotonic()
    names = one.eval("sorted(n.name for n in labc.nodes() if n.answered)")
    assert names == ["one"]
    assert time.monotonic() - began < 2.0
    route(lab.between)
    print(f"calls after the router was killed and started again: {until_called(one, 'there', BACK_WITHIN):.2f} s")
    # Neither was lost meanwhile: that can't be known without a router.
    assert one.eval("[kind for kind, name in told if name == 'two']") == ["joined"]


WATCH = """
told = []
labc.watch_nodes(lambda event: told.append((event.kind, event.name)))
"""


def test_a_provider_that_dies_at_another_site(make_lab: MakeLab, route: Route, start_at: StartAt) -> None:
    lab = make_lab(1, 2)
    h1, h2, h3 = lab.hosts
    route(lab.between)
    one, two, three = start_at(h1, "one"), start_at(h2, "two"), start_at(h3, "three")
    for agent in (two, three):
        agent.exec(f"labc.register(lambda: {agent.name!r}, name='who', scope='wan')")
    two.exec("labc.register(time.sleep, name='sleep', scope='wan')")
    for agent in (one, two, three):
        agent.exec("labc.blocking.portal.node()")
    one.exec(WATCH)
    one.eval("until(lambda: len(labc.call_all('who')) == 2)")
    one.exec("start_call('sleep', 30)")
    two.exec("until(lambda: labc.blocking.portal.node().rooms()._provider.running == 1)")
    two.program.process.kill()
    killed = time.monotonic()
    result = one.eval("call_result()")
    assert result["error"] == "PeerLostError"
    assert result["ran"] == "maybe"
    assert time.monotonic() - killed < 4.0
    one.eval("until(lambda: ('lost', 'two') in told)")
    assert time.monotonic() - killed < 4.0
    assert one.eval("[labc.call('who') for _ in range(3)]") == ["three"] * 3
    # Without anything for other sites it is there no more, and then it is again.
    three.exec("labc.register(lambda: 1, name='who')")
    one.eval("until(lambda: told[-1] == ('left', 'three'))")
    one.eval("until(lambda: names() == ['one'])")
    three.exec("labc.subscribe(print, topic='any', scope='wan')")
    one.eval("until(lambda: told[-1] == ('joined', 'three'))")
    three.exec("labc.close()")
    one.eval("until(lambda: told[-1] == ('left', 'three'))")
    with pytest.raises(RemoteFailure, match=r"NotFoundError.*'who'"):
        one.eval("labc.at(find_timeout=0.5).call('who')")


def test_the_root_of_a_host_may_change(make_lab: MakeLab, route: Route, start_at: StartAt) -> None:
    lab = make_lab(1, 1)
    h1, h2 = lab.hosts
    route(lab.between)
    root, one, two = start_at(h1, "root"), start_at(h1, "one"), start_at(h2, "two")
    meet([root])
    meet([root, one])
    one.exec("labc.register(lambda: True, name='one', scope='wan')")
    two.exec("labc.register(lambda: True, name='two', scope='wan')")
    two.eval("until(lambda: names() == ['one', 'two'])")
    one.eval("until(lambda: names() == ['one', 'root', 'two'])")
    root.program.process.kill()
    for _ in range(20):
        assert one.eval("labc.call('two')") is True
        assert two.eval("labc.call('one')") is True


def test_a_server_outside(make_lab: MakeLab, route: Route, network: str, start_at: StartAt) -> None:
    """Both sites can open connections to it, and nobody to them."""
    lab = make_lab(1, 1, 1)
    h1, h2, server = lab.hosts
    lab.forward(only_to=2)
    route(server)
    one, two = (start_at(host, name, LABC_ROUTERS=server.address) for host, name in ((h1, "one"), (h2, "two")))
    two.exec("labc.register(lambda x: x, name='echo', scope='wan')")
    meet([two])
    began = time.monotonic()
    assert one.eval("labc.call('echo', 'hi')") == "hi"
    print(f"first call between sites over a server outside: {time.monotonic() - began:.2f} s")
    assert one.eval(KINDS) == ["relay"]
    assert one.eval("len(labc.call('echo', bytes(5_000_000)))", timeout=30) == 5_000_000


def test_where_there_is_a_direct_way_it_is_taken(make_lab: MakeLab, route: Route, start_at: StartAt) -> None:
    lab = make_lab(1, 1)
    lab.forward()
    router = route(lab.between)
    one, two = (start_at(host, name) for host, name in zip(lab.hosts, ("one", "two"), strict=True))
    two.exec("labc.register(lambda x: x, name='echo', scope='wan')")
    two.exec("labc.register(lambda x: x, name='home')")
    meet([two])
    assert one.eval("labc.call('echo', 'hi')") == "hi"
    assert one.eval(KINDS) == ["tcp"]
    for _ in range(3):
        with pytest.raises(RemoteFailure, match="NotFoundError"):
            one.eval("labc.at(host='h2', node='two', find_timeout=0.2).call('home', 'hi')")
    # It does without the router from then on.
    router.process.kill()
    one.exec("until(lambda: not labc.blocking.portal.node().rooms().wide.linked)")
    assert one.eval("[labc.call('echo', n) for n in range(100)]") == list(range(100))


def test_two_routers_that_name_each_other(make_lab: MakeLab, route: Route, start_at: StartAt) -> None:
    """A site at each; then a site changes to the other."""
    lab = make_lab(1, 1, 2)
    h1, h2, first, second = lab.hosts
    lab.forward(only_to=2)
    one_router = route(first, LABC_ROUTERS=second.address)
    route(second, LABC_ROUTERS=first.address)
    one = start_at(h1, "one", LABC_ROUTERS=f"{first.address},{second.address}")
    two = start_at(h2, "two", LABC_ROUTERS=second.address)
    two.exec("labc.register(lambda: True, name='there', scope='wan')")
    meet([two])
    until_called(one, "there", BACK_WITHIN)
    one_router.process.kill()
    one_router.process.wait()
    print(f"calls over the other router: {until_called(one, 'there', BACK_WITHIN):.2f} s")


LISTENER = """
import json, sys, zenoh
config = zenoh.Config()
config.insert_json5("mode", '"client"')
config.insert_json5("connect/endpoints", sys.argv[1])
config.insert_json5("scouting/multicast/enabled", "false")
session = zenoh.open(config)
seen = []
def note(sample):
    seen.append(str(sample.key_expr).encode() + sample.payload.to_bytes())
kept = []
for key in ("**", "labc/**", *(f"labc/{sys.argv[2]}/{scope}/**" for scope in ("network", "*", "wan"))):
    kept.append(session.declare_subscriber(key, note))
    kept.append(session.liveliness().declare_subscriber(key, note, history=True))
print("ready", flush=True)
sys.stdin.readline()
print("saw", len(seen), *(f"{w}={sum(w.encode() in each for each in seen)}" for w in sys.argv[3:]), flush=True)
session.close()
"""
"""Who is no node, and wants all that the router has."""


def test_nothing_of_a_site_is_on_the_wire_to_the_other(
    make_lab: MakeLab, route: Route, start_at: StartAt, network: str
) -> None:
    lab = make_lab(2, 1)
    h1, h2, h3 = lab.hosts
    words = ["name-network", "value-network", "topic-network", "text-network", "quiet-node", "name-host"]
    controls = ["name-wan", "value-wan", "topic-wan", "text-wan"]
    sniffer = lab.between.program(SNIFFER.replace("eth0", "eth1"), *words, *controls, name="listener")
    sniffer.expect("ready")
    route(lab.between)
    plain = lab.between.program(
        LISTENER, json.dumps([f"tcp/127.0.0.1:{PORT}"]), network, *words, *controls, name="listener"
    )
    plain.expect("ready")
    one, quiet, three = start_at(h1, "one"), start_at(h2, "quiet-node"), start_at(h3, "three")
    for agent in (one, quiet, three):
        agent.exec("labc.blocking.portal.node()")
    for scope in ("host", "network", "wan"):
        one.exec(f"labc.register(lambda: 'value-{scope}', name='name-{scope}', scope={scope!r})")
        one.exec(f"labc.subscribe(received.append, topic='topic-{scope}', scope={scope!r})")
    quiet.exec("labc.subscribe(received.append, topic='*')")
    quiet.eval("until(lambda: [f.name for f in labc.functions()] == ['name-network', 'name-wan'])")
    assert quiet.eval("[labc.call('name-' + s) for s in ('network', 'wan')]") == ["value-network", "value-wan"]
    one.exec("labc.publish('topic-network', 'text-network'); labc.at(scope='wan').publish('topic-wan', 'text-wan')")
    quiet.eval("until(lambda: len(received) == 2)")
    assert three.eval("labc.call('name-wan')") == "value-wan"
    assert three.eval("[f.name for f in labc.functions()]") == ["name-wan"]
    assert three.eval("sorted(n.name for n in labc.nodes())") == ["one", "three"]
    three.exec("labc.at(scope='wan').publish('topic-wan', 'text-wan')")
    one.eval("until(lambda: received.count('text-wan') == 2)")
    for place, listener in (("wire", sniffer), ("router", plain)):
        seen = saw(listener)
        assert {word: seen[word] for word in words} == dict.fromkeys(words, 0), place
        assert all(seen[word] for word in ("name-wan", "text-wan")), place


@pytest.fixture
def start_as(network: str, tmp_path: Path) -> Iterator[Callable[..., Agent]]:
    """``start_as(host, name, member)``: of a user with that member's data folder."""
    with contextlib.ExitStack() as agents:

        def start(host: VirtualHost, name: str, member: str, **env: str) -> Agent:
            router = host.address.rpartition(".")[0] + f".254:{PORT}"
            environment = {"LABC_NETWORK": network, "LABC_ROUTERS": router, **as_member(tmp_path, member), **env}
            return agents.enter_context(Agent(host.program, name, **environment))

        yield start


LINKED = "until(lambda: labc.blocking.portal.node().rooms().wide.linked)"


def test_a_network_with_a_key(
    make_lab: MakeLab, route: Route, start_as: Callable[..., Agent], network: str, tmp_path: Path
) -> None:
    lab = make_lab(1, 2)
    h1, h2, h3 = lab.hosts
    credentials = make_members(tmp_path, network, ["h1", "h2", "h3", "between"])
    words = ["name-wan", "value-wan", "topic-wan", "text-wan"]
    sniffer = lab.between.program(SNIFFER.replace("eth0", "eth1"), *words, name="listener")
    sniffer.expect("ready")
    router = route(lab.between, **as_member(tmp_path, "between"))
    assert "tls/0.0.0.0:55554 (encrypted" in router.output
    one, two, third = start_as(h1, "one", "h1"), start_as(h2, "two", "h2"), start_as(h3, "third", "h3")
    two.exec("labc.register(lambda: 'value-wan', name='name-wan', scope='wan')")
    two.exec("labc.subscribe(received.append, topic='topic-wan', scope='wan')")
    for agent in (two, third):
        agent.exec("labc.blocking.portal.node()")
    assert one.eval("labc.call('name-wan')") == "value-wan"
    one.exec("labc.at(scope='wan').publish('topic-wan', 'text-wan')")
    two.eval("until(lambda: received == ['text-wan'])")
    # Strangers: of no network with a key, and of one of their own with the same name.
    make_members(tmp_path / "strange", network, ["h1"])
    for member in ("nobody", "strange/h1"):
        stranger = start_as(h1, "stranger", member)
        stranger.exec("labc.blocking.portal.node()")
        with pytest.raises(RemoteFailure, match="NotFoundError"):
            stranger.eval("labc.call('name-wan')")
        assert not stranger.eval("labc.blocking.portal.node().rooms().wide.linked")
        stranger.close()
    assert one.eval("labc.call('name-wan')") == "value-wan"
    # One who is put out by the other site is out here, too.
    third.exec(LINKED)
    seat = credentials["h2"].about.seat
    with data_of(tmp_path / "h1"):
        revoke(credentials["h1"], [seat], datetime.now(UTC))
    out = time.monotonic()
    third.exec("until(lambda: len(labc.nodes()) == 1)")
    one.exec("until(lambda: len(labc.nodes()) == 1)")
    assert time.monotonic() - out < 8.0
    with pytest.raises(RemoteFailure, match="NotFoundError"):
        one.eval("labc.at(find_timeout=1).call('name-wan')")
    third.exec("labc.register(lambda: 'third', name='third', scope='wan')")
    until_called(one, "third", BACK_WITHIN)
    seen = saw(sniffer)
    assert seen[""] > 100
    assert {word: seen[word] for word in words} == dict.fromkeys(words, 0)
