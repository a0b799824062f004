"""What is of one host does not exist on another: not in a list, not when asked for, not on the wire."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from agent import RemoteFailure, Start, hear, meet

from labc import fabric
from labc.testing import Program, VirtualHost, VirtualHosts

MakeLab = Callable[[int], VirtualHosts]

CAN = """
def can(name, *args, **at):
    # Whether it is found.
    try:
        return labc.at(find_timeout=0.5, **at).call(name, *args)
    except labc.NotFoundError:
        return None
"""

SNIFFER = """
import select, socket, sys
words = [word.encode() for word in sys.argv[1:]]
seen = {word: 0 for word in words}
tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(3))
tap.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
tap.bind(("eth0", 0))
print("ready", flush=True)
packets = 0
while True:
    ready, _, _ = select.select([tap, sys.stdin], [], [])
    if tap in ready:
        packet = tap.recv(1 << 16)
        packets += 1
        for word in words:
            seen[word] += word in packet
    elif sys.stdin in ready:
        break
print("saw", packets, *(f"{word.decode()}={count}" for word, count in seen.items()), flush=True)
"""

PLAIN = """
import json, sys, zenoh
config = zenoh.Config()
config.insert_json5("mode", '"client"')
config.insert_json5("connect/endpoints", sys.argv[1])
config.insert_json5("scouting/multicast/enabled", "false")
session = zenoh.open(config)
seen = []
def note(sample):
    seen.append(str(sample.key_expr).encode() + sample.payload.to_bytes())
messages = session.declare_subscriber("**", note)
tokens = session.liveliness().declare_subscriber("**", note, history=True)
print("ready", flush=True)
sys.stdin.readline()
print("saw", len(seen), *(f"{w}={sum(w.encode() in each for each in seen)}" for w in sys.argv[2:]), flush=True)
session.close()
"""

SERVER = """
for scope in ("node", "group", "host", "network"):
    labc.register(lambda scope=scope: "value-" + scope, name="name-" + scope, scope=scope)
    labc.subscribe(received.append, topic="topic-" + scope, scope=scope)
"""
SCOPES = ("node", "group", "host", "network")


def saw(listener: Program) -> dict[str, int]:
    """How often it met each word; "" is how much it met at all."""
    listener.send_line("")
    count, *words = listener.expect(re.compile("^saw (.*)$"))[1].split()
    return {"": int(count)} | {word.rpartition("=")[0]: int(word.rpartition("=")[2]) for word in words}


def test_what_is_of_one_host_does_not_exist_on_another(make_lab: MakeLab, start: Start) -> None:
    h1, h2 = make_lab(2).hosts
    server, neighbour, other = start(h1, "server"), start(h1, "neighbour"), start(h2, "other")
    meet([server, neighbour, other])
    server.exec(SERVER)
    for agent in (neighbour, other):
        agent.exec(CAN)
    for agent, seen in ((neighbour, ["host", "network"]), (other, ["network"])):
        found = {s: agent.eval(f"can('name-{s}')") for s in SCOPES}
        assert found == {s: f"value-{s}" if s in seen else None for s in SCOPES}
        for option in ("host='h1', node='server'", "scope='network'", "node='server'", "perspective='h1'"):
            found = {s: agent.eval(f"can('name-{s}', {option})") for s in SCOPES}
            assert found == {s: f"value-{s}" if s in seen else None for s in SCOPES}, option
        assert agent.eval("[f.name for f in labc.functions()]") == [f"name-{s}" for s in seen]
        listed = agent.eval("labc.get_host('h1', node='server').core.functions()")
        assert [each["name"] for each in listed] == [f"name-{s}" for s in seen]
        topics = agent.eval("labc.get_host('h1', node='server').core.topics()")
        assert sorted(each["topic"] for each in topics) == [f"topic-{s}" for s in seen]
        for scope in set(SCOPES) - set(seen):
            with pytest.raises(RemoteFailure, match="NotFoundError") as failure:
                agent.eval(f"labc.at(find_timeout=0.3).call('name-{scope}s')")
            assert not any(f"'name-{s}'" in failure.value.text for s in set(SCOPES) - set(seen))
    # As if asked there: what is of the network and there, counts as near.
    assert other.eval("can('name-network', scope='host')") is None
    assert other.eval("can('name-network', scope='host', perspective='h1')") == "value-network"
    assert other.eval("can('name-network', scope='node', perspective='server')") == "value-network"
    assert other.eval("can('name-network', scope='node', perspective='neighbour')") is None
    assert neighbour.eval("can('name-network', scope='host', perspective='h2')") is None
    # Messages.
    hear([neighbour], server)
    for agent in (other, neighbour):
        agent.exec(f"for s in {SCOPES}: labc.publish('topic-' + s, {agent.name!r} + ' ' + s)")
        agent.exec(f"for s in {SCOPES}: labc.get_host('h1').publish('topic-' + s, {agent.name!r} + ' directly ' + s)")
    wanted = ["neighbour directly host", "neighbour directly network", "neighbour host", "neighbour network"]
    wanted += ["other directly network", "other network"]
    server.eval(f"until(lambda: len(received) >= {len(wanted)})")
    assert server.eval("sorted(received)") == wanted


def test_who_says_that_he_is_of_this_host_must_have_come_from_it(make_lab: MakeLab, start: Start) -> None:
    h1, h2 = make_lab(2).hosts
    server, neighbour, liar = start(h1, "server"), start(h1, "neighbour"), start(h2, "liar")
    meet([server, neighbour, liar])
    server.exec(SERVER)
    server.exec("labc.subscribe(received.append, topic='held', scope='host', when_full='hold')")
    identity = "(n := labc.blocking.portal.node(), [n.id, n._record.host_id])[1]"
    for truth in (server, neighbour):  # who it is, and who is beside it
        node_id, host_id = truth.eval(identity)
        liar.exec(f"""
{CAN}
from msgspec.structs import replace
node = labc.blocking.portal.node()
pool = node.rooms()._pool
true_greeting = type(pool)._greeting
def greeting(*args, **kwargs):
    said = true_greeting(pool, *args, **kwargs)
    return replace(said, node_id={node_id!r}, host_id={host_id!r}, host_name='h1', node_name={truth.name!r})
pool._greeting = greeting
async def close_lanes(rooms):
    for lane in pool.lanes():
        lane.close()
labc.blocking.portal.run('close', close_lanes)
server = next(r for r in node.rooms()._neighbourhood.directory.nodes() if r.name == 'server')
def ask(name, *args):
    # Past all that looks for it: straight to the server, by the lane of a liar.
    async def asking(rooms):
        return await rooms._asking._caller.call_node(server, name, args, 10.0)
    try:
        return labc.blocking.portal.run('call', asking)
    except labc.NotFoundError:
        return None
""")
        assert liar.eval("ask('name-network')") == "value-network"
        assert liar.eval("[ask('name-' + s) for s in ('node', 'group', 'host')]") == [None, None, None]
        assert liar.eval("[f['name'] for f in ask('core.functions')]") == ["name-network"]
        assert liar.eval("[t['topic'] for t in ask('core.topics')]") == ["topic-network"]
        assert liar.eval("ask('\\0near')") == []
        liar.exec("""
import msgspec
from labc.topics.message import Sender, pack
from labc.wire import encode_arguments
def told(topic, value):
    return (False, topic, *pack(Sender('h1', 'neighbour', 'x'), time.time(), encode_arguments([value], {})), False)
ask('\\0told', [told('topic-' + s, 'lie') for s in ('node', 'group', 'host')])
ask('\\0held', 'held', ['lie'], {}, time.time())
try:
    ask('\\0message', 'name-host', [], {})
    raise AssertionError('it was taken')
except labc.RemoteError as error:
    assert 'NotFoundError' in str(error)
ask('\\0told', [told('topic-network', 'open to all')])
""")
    server.eval("until(lambda: len(received) == 2)")
    assert server.eval("received") == ["open to all"] * 2


def test_who_says_that_he_is_a_neighbour_is_told_nothing(make_lab: MakeLab, start: Start) -> None:
    """He opens a connection under the name of one of this host: what is for that one does not go there."""
    h1, h2 = make_lab(2).hosts
    server, neighbour, liar = start(h1, "server"), start(h1, "neighbour"), start(h2, "liar")
    meet([server, neighbour, liar])
    node_id, host_id = neighbour.eval("(n := labc.blocking.portal.node(), [n.id, n._record.host_id])[1]")
    liar.exec(f"""
from msgspec.structs import replace
labc.register(received.append, name='secret')
labc.subscribe(received.append, topic='**')
node = labc.blocking.portal.node()
pool = node.rooms()._pool
true_greeting = type(pool)._greeting
def greeting(*args, **kwargs):
    said = true_greeting(pool, *args, **kwargs)
    return replace(said, node_id={node_id!r}, host_id={host_id!r}, host_name='h1', node_name='neighbour')
pool._greeting = greeting
async def close_lanes(rooms):
    for lane in pool.lanes():
        lane.close()
labc.blocking.portal.run('close', close_lanes)
server = next(r for r in node.rooms()._neighbourhood.directory.nodes() if r.name == 'server')
async def asking(rooms):
    return await rooms._asking._caller.call_node(server, 'core.ping', [], 10.0)
labc.blocking.portal.run('call', asking)
""")
    neighbour.exec("labc.register(received.append, name='secret', scope='host')")
    neighbour.exec("labc.subscribe(received.append, topic='secret', scope='host')")
    hear([server], neighbour)
    server.exec("labc.localhost.call_all('secret', 1)")
    server.exec("labc.localhost.publish('secret', 2); labc.publish('other', 'end')")
    neighbour.eval("until(lambda: len(received) == 2)")
    assert neighbour.eval("received") == [1, 2]
    liar.eval("until(lambda: 'end' in received)")
    assert liar.eval("received") == ["end"]


def test_the_wire_knows_nothing_of_what_is_used_within_a_host(make_lab: MakeLab, start: Start, network: str) -> None:
    h1, h2 = make_lab(2).hosts
    server, neighbour, other = start(h1, "server"), start(h1, "neighbour"), start(h2, "other")
    meet([server, neighbour, other])
    words = ["name-host", "value-host", "topic-host", "argument-host", "pattern-host", "published-host", "held-host"]
    controls = ["name-network", "value-network", "published-network"]
    roots = json.dumps([f"tcp/127.0.0.1:{port}" for port in fabric.ports.root_ports(network)])
    listeners = {f"wire of {host.name}": _listen(host, SNIFFER, *words, *controls) for host in (h1, h2)}
    listeners["fabric of h2"] = _listen(h2, PLAIN, roots, *words, *controls)
    server.exec(SERVER)
    server.exec("""
labc.register(lambda text: text, name='name-host', scope='host')
labc.subscribe(lambda *a: received.append(a), topic='held-host', scope='host', when_full='hold')
inflow = labc.localhost.messages('pattern-host/*')
""")
    hear([neighbour], server)
    neighbour.exec("""
for _ in range(3):
    assert labc.localhost.call('name-host', 'argument-host') == 'argument-host'
    assert labc.call('name-host', 'value-host') == 'value-host'
    labc.localhost.call_all('name-host', 'argument-host')
    labc.localhost.publish('topic-host', 'published-host')
    labc.localhost.publish('held-host', 'published-host')
    labc.localhost.publish('pattern-host/1', 'published-host')
    labc.localhost.call_publish('name-host', 'argument-host')
[f.name for f in labc.functions()]
""")
    server.eval("until(lambda: len(received) == 6)")
    # And what is for all.
    assert other.eval("labc.call('name-network')") == "value-network"
    neighbour.exec("labc.publish('topic-network', 'published-network')")
    other.exec("list(labc.functions()); labc.network.core.info(); labc.network.core.topics(); labc.nodes()")
    server.eval("until(lambda: 'published-network' in received)")
    for place, listener in listeners.items():
        seen = saw(listener)
        assert {word: seen[word] for word in words} == dict.fromkeys(words, 0), place
        assert seen[""] > 0, place
        assert seen["name-network"] > 0, place
        assert seen["value-network" if "wire" in place else "published-network"] > 0, place


def _listen(host: VirtualHost, source: str, *args: str) -> Program:
    listener = host.program(source, *args, name="listener")
    listener.expect("ready")
    return listener


def test_the_nearest_first_and_again_when_it_is_back(make_lab: MakeLab, start: Start) -> None:
    h1, h2 = make_lab(2).hosts
    who = "labc.register(lambda: labc.blocking.portal.node().name, name='who')"
    caller, near, far = start(h1, "caller"), start(h1, "near"), start(h2, "far")
    meet([caller, near, far])
    for provider in (near, far):
        provider.exec(who)
    caller.eval("until(lambda: len(labc.call_all('who')) == 2)")

    def asked(**at: object) -> set[str]:
        return set(caller.eval(f"[labc.at(**{at!r}).call('who') for _ in range(10)]"))

    assert asked() == {"near"}
    assert asked(order="top-down") == {"far"}
    assert asked(perspective="h2") == asked(perspective="far") == {"far"}
    assert asked(resolve="round-robin") == {"near", "far"}
    for _ in range(2):
        near.program.kill()
        assert asked(retry=1) == {"far"}
        near = start(h1, "near")
        near.exec(f"labc.blocking.portal.node(); {who}", timeout=40)
        caller.eval("until(lambda: labc.call('who') == 'near')")
        assert asked() == {"near"}


def test_a_host_and_its_nodes_by_name_and_address(make_lab: MakeLab, start: Start) -> None:
    h1, h2, h3 = make_lab(3).hosts
    sender, one, two, third = start(h1, "sender"), start(h2, "one"), start(h2, "two"), start(h3, "third")
    agents = [sender, one, two, third]
    meet(agents)
    for agent in agents:
        agent.exec("labc.subscribe(received.append, topic='ping')")
        agent.exec("labc.register(lambda: labc.blocking.portal.node().name, name='who')")
    sender.eval("until(lambda: len(labc.call_all('who')) == 4)")
    sender.exec(f"labc.get_host('h2').publish('ping', 1); labc.get_host({h2.address!r}).publish('ping', 2)")
    sender.exec("labc.get_host('H2', node='two').publish('ping', 3); labc.localhost.publish('ping', 4)")
    port = two.eval("labc.blocking.portal.node().rooms()._pool.listener.port")
    sender.exec(f"labc.get_host({h2.address!r}, node={port}).publish('ping', 5)")
    sender.exec("labc.publish('ping', 'end')")
    for agent, expected in {sender: [4], one: [1, 2], two: [1, 2, 3, 5], third: []}.items():
        agent.eval(f"until(lambda: len(received) == {len(expected) + 1})")
        assert agent.eval("[n for n in received if n != 'end']") == expected, agent.name
    for code, names in {
        "get_host('h2')": {"one", "two"},
        f"get_host({h2.address!r})": {"one", "two"},
        f"get_host({h3.address!r})": {"third"},
        f"get_host({h2.address!r}, node='one')": {"one"},
        f"get_host({h2.address!r}, node={port})": {"two"},
        f"get_host('h2', node={port})": {"two"},
        f"get_host({h1.address!r})": {"sender"},
        "get_host('127.0.0.1')": {"sender"},
        "localhost": {"sender"},
        "here": {"sender"},
    }.items():
        answers = sender.eval(f"sorted(o.value for o in labc.{code}.call_all('who'))")
        assert answers == sorted(names), code
        assert sender.eval(f"labc.{code}.who()") in names
        assert sender.eval(f"sorted(n.name for n in labc.{code}.nodes())") == sorted(names), code
    with pytest.raises(RemoteFailure, match="NotFoundError"):
        sender.eval("labc.get_host('10.255.255.1').publish('ping', 0)")


def test_groups_of_two_hosts_are_two(make_lab: MakeLab, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    h1, h2 = make_lab(2).hosts
    monkeypatch.setenv("LABC_GROUP", "team")
    one, mate, other = start(h1, "one"), start(h1, "mate"), start(h2, "other")
    meet([one, mate, other])
    one.exec(SERVER)
    for agent in (mate, other):
        agent.exec(CAN)
    assert mate.eval("can('name-group')") == "value-group"
    assert other.eval("can('name-group')") is None
    assert other.eval("can('name-group', host='h1', node='one')") is None
    hear([mate], one)
    for agent in (other, mate):
        agent.exec(f"labc.publish('topic-group', {agent.name!r})")
        agent.exec(f"labc.at(scope='group').publish('topic-network', {agent.name!r} + ' grouped')")
    one.eval("until(lambda: len(received) >= 2)")
    mate.exec("labc.publish('topic-group', 'end')")
    one.eval("until(lambda: 'end' in received)")
    assert one.eval("sorted(received)") == ["end", "mate", "mate grouped"]
