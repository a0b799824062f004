"""Nothing configured, several hosts: they find each other, and notice who comes and goes."""

from __future__ import annotations

import contextlib
import statistics
import sys
import time
from collections.abc import Callable

import pytest
from agent import Agent, RemoteFailure, Start, meet, start_all

from labc.testing import VirtualHosts
from labc.testing.virtual_host import INTERFACE

MakeLab = Callable[[int], VirtualHosts]


def test_calls_and_topics_across_hosts(make_lab: MakeLab, start: Start) -> None:
    a, b, c = start_all(start, make_lab(3).hosts)
    a.exec("labc.register(lambda x: x * 2, name='double')")
    c.exec("labc.subscribe(lambda *args, **kw: received.append((args, kw)), topic='news/*')")
    assert b.eval("labc.call('double', 21)") == 42
    assert c.eval("labc.call('double', 'ab')") == "abab"
    b.exec("labc.publish('news/today', 1, two=2)")
    c.eval("until(lambda: received)")
    assert c.eval("received") == [[[1], {"two": 2}]]
    hosts = b.eval("sorted(n.host for n in labc.nodes())")
    assert hosts == ["h1", "h2", "h3"]


def test_a_function_registered_now_is_callable_from_another_host_within_a_tenth_of_a_second(
    make_lab: MakeLab, start: Start
) -> None:
    a, b = start_all(start, make_lab(2).hosts)
    delays = []
    for number in range(10):
        b.exec(f"start_call('late{number}', at=dict(find_timeout=10))")
        b.eval(f"until(lambda: 'late{number}' in labc.blocking.portal.node().rooms()._neighbourhood._names)")
        registered = a.eval(f"(time.time(), labc.register(lambda: 1, name='late{number}'))[0]")
        delays.append(b.eval("call_result()")["ended"] - registered)
    assert statistics.median(delays) < 0.1, delays


def test_a_closed_handle_is_seen_by_other_hosts(make_lab: MakeLab, start: Start) -> None:
    a, b = start_all(start, make_lab(2).hosts)
    a.exec("handle = labc.register(lambda: 1, name='once')")
    assert b.eval("labc.call('once')") == 1
    a.exec("handle.close()")
    began = time.monotonic()
    with pytest.raises(RemoteFailure, match="NotFoundError: nobody offers 'once'"):
        b.eval("labc.call('once')")
    assert time.monotonic() - began < 1.0


def test_the_death_of_a_provider_is_known_at_once(make_lab: MakeLab, start: Start) -> None:
    a, b, c = start_all(start, make_lab(3).hosts)
    for agent in (a, b):
        agent.exec("labc.register(lambda: time.sleep(60), name='long')")
    c.exec("start_call('long', at=dict(node='node1')); start_call('long', at=dict(node='node2'))")
    for agent in (a, b):
        agent.eval("until(lambda: labc.blocking.portal.node().rooms()._provider.running == 1)")
    killed = time.time()
    a.program.kill()
    first = c.eval("call_result()")
    assert (first["error"], first["ran"]) == ("PeerLostError", "maybe")
    assert first["ended"] - killed < 0.2
    b.program.kill()
    second = c.eval("call_result()")
    assert second["error"] == "PeerLostError"
    began = time.monotonic()
    with pytest.raises(RemoteFailure, match=r"NotFoundError|PeerLostError"):
        c.eval("labc.call('long')")
    assert time.monotonic() - began < 0.5


def test_calls_go_to_the_next_provider_when_one_dies(make_lab: MakeLab, start: Start) -> None:
    a, b, c = start_all(start, make_lab(3).hosts)
    for agent in (a, b):
        agent.exec(f"labc.register(lambda: {agent.name!r}, name='who')")
    assert c.eval("sorted(o.value for o in labc.call_all('who'))") == ["node1", "node2"]
    a.program.kill()
    # One that was on its way when it died may have run there, so only the caller can say that it may be asked again.
    assert c.eval("[labc.at(retry=1).call('who') for _ in range(20)]") == ["node2"] * 20


def test_a_stopped_provider_is_found_and_others_serve_meanwhile(make_lab: MakeLab, start: Start) -> None:
    a, b, c = start_all(start, make_lab(3).hosts)
    for agent in (a, b):
        agent.exec(f"labc.register(lambda: {agent.name!r}, name='who')")
    assert c.eval("labc.at(node='node1').call('who')") == "node1"
    assert c.eval("labc.at(node='node2').call('who')") == "node2"
    c.exec("start_call('who', at=dict(node='node1'))")
    assert c.eval("call_result()")["value"] == "node1"
    a.program.stop()
    stopped = time.time()
    c.exec("start_call('who', at=dict(node='node1'))")
    outcome = c.eval("call_result()")
    assert outcome["error"] == "PeerLostError"
    assert "no sign of life" in outcome["text"]
    assert outcome["ended"] - stopped < 3.0
    assert c.eval("[labc.at(timeout=1).call('who') for _ in range(20)]") == ["node2"] * 20
    a.may_panic = True  # a root that was stopped: see test_roots
    a.program.cont()
    assert c.eval("until(lambda: 'node1' in names())") < 10
    assert c.eval("labc.at(node='node1').call('who')") == "node1"


@pytest.mark.parametrize(
    "face", ["labc.at(timeout={}).call('who')", "asyncio.run(labc.aio.at(timeout={}).call('who'))"]
)
def test_while_the_nearest_provider_is_quiet_new_calls_go_to_another(
    make_lab: MakeLab, start: Start, face: str
) -> None:
    first, second = make_lab(2).hosts
    caller, near, far = start(first, "caller"), start(first, "near"), start(second, "far")
    meet([caller, near, far])
    caller.exec("import asyncio\nfrom concurrent.futures import ThreadPoolExecutor")
    for agent in (near, far):
        agent.exec(f"labc.register(lambda: {agent.name!r}, name='who')")
    caller.eval("until(lambda: {o.node for o in labc.call_all('who')} == {'near', 'far'})")
    call, short_call = face.format(20), face.format(0.2)
    assert {caller.eval(call) for _ in range(5)} == {"near"}
    near.program.stop()
    stopped = time.time()
    caller.exec(f"waiting = ThreadPoolExecutor().submit(lambda: {call})")
    caller.exec(f"""
answers = []
def answer():
    try:
        answers.append({short_call})
    except labc.CallTimeoutError as error:
        answers.append(str(error))
    return answers[-1]
""")
    caller.eval("until(lambda: answer() == 'far')")
    took = time.time() - stopped
    assert took < 1.8, f"asked after half a second, it has another half for an answer: {caller.eval('answers')}"
    assert {caller.eval("answer()") for _ in range(10)} == {"far"}
    near.program.cont()
    assert caller.eval("waiting.result()") == "near"
    assert caller.eval("until(lambda: answer() == 'near')") < 2
    # On a slow machine its presence may have lapsed meanwhile, and come back a moment later.
    caller.eval("until(lambda: all(answer() == 'near' and time.sleep(0.05) is None for _ in range(20)))")
    # Nor is it avoided for long because of a call that nobody waits for any more.
    near.program.stop()
    with pytest.raises(RemoteFailure, match="CallTimeoutError"):
        caller.eval(face.format("1.4, node='near'"))  # whatever is known of it
    near.program.cont()
    assert caller.eval("until(lambda: answer() == 'near')") < 3


def test_a_blocked_loop_is_found(make_lab: MakeLab, start: Start) -> None:
    a, b = start_all(start, make_lab(2).hosts)
    a.exec("""
async def block(seconds):
    time.sleep(seconds)
labc.register(block)
labc.register(lambda: 1, name='other')
""")
    assert b.eval("labc.call('other')") == 1
    b.exec("start_call('block', 6)")
    outcome = b.eval("call_result()")
    assert outcome["error"] == "PeerLostError"
    assert outcome["ended"] - outcome["began"] < 3.0
    assert "has been blocked for" in a.program.errors
    # When it turns again it is back, with all it offers.
    assert b.eval("until(lambda: 'node1' in names())") < 8
    assert b.eval("labc.call('other')") == 1


@pytest.mark.parametrize(
    "busy",
    [
        "exec('end = time.time() + 7\\nwhile time.time() < end: pass')",
        "__import__('ctypes').PyDLL(None).sleep(7)",
    ],
    ids=["a loop in Python", "the interpreter held by an extension"],
)
def test_a_busy_provider_is_not_taken_for_a_hung_one(make_lab: MakeLab, start: Start, busy: str) -> None:
    a, b = start_all(start, make_lab(2).hosts)
    a.exec(f"labc.register(lambda: ({busy}, 'done')[1], name='compute')")
    b.exec("start_call('compute')")
    assert b.eval("call_result()").get("value") == "done"
    assert b.eval("'node1' in names()")


def test_two_networks_on_the_same_hosts_never_meet(make_lab: MakeLab, start: Start, network: str) -> None:
    first, second = make_lab(2).hosts
    with contextlib.ExitStack() as agents:
        pairs = [
            [
                agents.enter_context(Agent(host.program, f"{name}-{number}", LABC_NETWORK=f"{network}-{name}"))
                for number, host in enumerate((first, second))
            ]
            for name in ("red", "blue")
        ]
        for pair in pairs:
            meet(pair)
        pairs[0][0].exec("labc.register(lambda: 'red', name='colour')")
        pairs[1][0].exec("labc.register(lambda: 'blue', name='colour'); labc.register(lambda: 1, name='only-blue')")
        assert pairs[0][1].eval("[o.value for o in labc.call_all('colour')]") == ["red"]
        assert pairs[1][1].eval("[o.value for o in labc.call_all('colour')]") == ["blue"]
        with pytest.raises(RemoteFailure, match="NotFoundError"):
            pairs[0][1].eval("labc.call('only-blue')")


def test_a_host_without_any_other_interface_works(make_lab: MakeLab, start: Start) -> None:
    (host,) = make_lab(1).hosts
    host.run(["ip", "link", "set", INTERFACE, "down"], check=True)
    a, b = start_all(start, [host, host])
    a.exec("labc.register(lambda: 'here', name='where'); labc.subscribe(receive, topic='t')")
    assert b.eval("labc.call('where')") == "here"
    b.exec("labc.publish('t', 5)")
    a.eval("until(lambda: received)")
    # Its root dies, and the other takes over.
    a.program.kill()
    b.exec("labc.register(lambda: 'still', name='where')")
    assert b.eval("until(lambda: names() == ['node2'])") < 5
    c = start(host, "node3")
    assert c.eval("labc.call('where')") == "still"


@pytest.mark.parametrize("when_full", ["drop-oldest", "hold"])
def test_a_single_publication_from_a_host_without_nodes_arrives(
    make_lab: MakeLab, start: Start, when_full: str
) -> None:
    """Its node is the first of its host, and ends right after."""
    hosts = make_lab(2).hosts
    subscriber = start(hosts[0], "subscriber")
    subscriber.exec(f"labc.subscribe(receive, topic='t', when_full={when_full!r})")
    subscriber.eval("labc.nodes()")
    for number in range(5):
        hosts[1].run([sys.executable, "-m", "labc", "publish", "t", str(number)])
    subscriber.eval("until(lambda: len(received) == 5)")
    assert subscriber.eval("[number for number, _ in received]") == [0, 1, 2, 3, 4]


def test_a_subscription_is_in_effect_when_subscribe_returns(make_lab: MakeLab, start: Start) -> None:
    """Also where the subscriber's way to the fabric is much slower than its lane to who publishes."""
    hosts = make_lab(2).hosts
    root, subscriber, publisher = start(hosts[0], "root"), start(hosts[0], "subscriber"), start(hosts[1], "publisher")
    meet([root, subscriber, publisher])
    publisher.exec("labc.register(lambda n: [labc.publish('t', i) for i in range(n)] and n, name='burst')")
    assert subscriber.eval("labc.call('burst', 1)") == 1
    # The next packets on the subscriber's loopback, by which it talks to its root, wait for those before: 0.2 s.
    hosts[0].run("tc qdisc add dev lo root tbf rate 100kbit burst 1600 latency 3s".split())
    subscriber.exec(
        "import socket\n"
        "with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:\n"
        "    [s.sendto(bytes(600), ('127.0.0.1', 9)) for _ in range(6)]\n"
        "    labc.subscribe(receive, topic='t')\n"
        "    labc.call('burst', 10)"
    )
    subscriber.eval("until(lambda: len(received) == 10)")
    assert subscriber.eval("[number for number, _ in received]") == list(range(10))


def test_what_the_first_node_of_a_host_publishes_on_its_own_loop_arrives(make_lab: MakeLab, start: Start) -> None:
    """There nobody can wait until the other hosts are found, and the program ends at once."""
    hosts = make_lab(2).hosts
    subscriber = start(hosts[0], "subscriber")
    subscriber.exec("labc.subscribe(receive, topic='t')")
    subscriber.eval("labc.nodes()")
    publisher = hosts[1].program("""
        import labc

        @labc.register
        async def burst():
            for number in range(10):
                labc.publish("t", number)

        labc.call("burst")
    """)
    assert publisher.wait(5.0) == 0
    subscriber.eval("until(lambda: len(received) == 10)")
    assert subscriber.eval("[number for number, _ in received]") == list(range(10))
