"""What is visible, callable and heard how far, among the programs of one host; for several see ``tests/hosts``."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import pytest
from agent import Agent, RemoteFailure, hear, meet

from labc.testing import python_program

StartOne = Callable[..., Agent]
SCOPES = ("node", "group", "host", "network")
REACHED = {"me": SCOPES, "mate": SCOPES[1:], "neighbour": SCOPES[2:]}
"""The scopes in which each sees what is offered by "me"."""

CAN = """
def can(name, *args, **at):
    # Whether it is found.
    try:
        return labc.at(find_timeout=0.3, **at).call(name, *args)
    except labc.NotFoundError:
        return None
"""
ODD_NAMES = ("a/b", "*", "**", "?", "#", "$x", "@", "a:b", "two words", "über/Straße", "%2F", "日本", "a" * 255)


@pytest.fixture
def start(network: str) -> Iterator[StartOne]:
    with contextlib.ExitStack() as agents:
        yield lambda name, **env: agents.enter_context(Agent(python_program, name, LABC_NETWORK=network, **env))


@pytest.fixture
def three(start: StartOne) -> list[Agent]:
    """Two of one group, and one of none, who all know of each other."""
    agents = [start("me", LABC_GROUP="team"), start("mate", LABC_GROUP="team"), start("neighbour")]
    meet(agents)
    for agent in agents:
        agent.exec(CAN)
    return agents


def test_functions_exist_for_those_whom_their_scope_reaches(three: list[Agent]) -> None:
    me = three[0]
    for scope in SCOPES:
        me.exec(f"labc.register(lambda: {scope!r}, name='in.{scope}', scope={scope!r})")
    me.exec("labc.at(scope='host').register(lambda: 'through', name='in.at')")
    for agent in three:
        names = agent.eval(f"[s for s in {SCOPES} if can('in.' + s)]")
        assert names == list(REACHED[agent.name]), agent.name
        listed = agent.eval("[f.name for f in labc.functions()]")
        assert listed == sorted([f"in.{scope}" for scope in REACHED[agent.name]] + ["in.at"])
        here = agent.eval("[f['name'] for f in labc.at(node='me').call('core.functions')]")
        assert here == listed
        # Asked for directly, the rest does not exist either.
        direct = agent.eval(f"[s for s in {SCOPES} if can('in.' + s, host='localhost', node='me')]")
        assert direct == names
        for scope in set(SCOPES) - set(names):
            with pytest.raises(RemoteFailure, match="NotFoundError"):
                agent.eval(f"labc.at(find_timeout=0.3).call_all('in.{scope}')")
    # A caller's own scope: only what is so near, whatever its scope is.
    for agent, near in zip(three, ("node", "group", "host"), strict=True):
        found = agent.eval(f"[s for s in {SCOPES} if can('in.network', scope=s)]")
        assert found == list(SCOPES[SCOPES.index(near) :]), agent.name


def test_messages_reach_those_whom_the_scope_of_the_subscription_reaches(three: list[Agent]) -> None:
    me = three[0]
    for scope in SCOPES:
        me.exec(
            f"labc.subscribe(lambda who: received.append([{scope!r}, who]), topic='in/{scope}', scope={scope!r})\n"
            f"{scope} = labc.at(scope={scope!r}).messages('in/{scope}')"
        )
    hear(three[1:], me)
    for agent in three:
        agent.exec(f"for s in {SCOPES}: labc.publish('in/' + s, {agent.name!r})")
    expected = sorted([scope, name] for name, scopes in REACHED.items() for scope in scopes)
    me.eval(f"until(lambda: len(received) >= {len(expected)})")
    for agent in three:  # behind all that they told before
        agent.exec("labc.publish('in/host', 'end'); labc.publish('in/network', 'end')")
    me.eval(f"until(lambda: len(received) >= {len(expected) + 6})")
    assert me.eval("sorted(r for r in received if r[1] != 'end')") == expected
    for scope in SCOPES:
        count = sum(one == scope for one, _ in expected)
        senders = me.eval(f"sorted(next({scope}).sender.node for _ in range({count}))")
        assert senders == sorted(name for one, name in expected if one == scope)


def test_messages_reach_those_whom_the_scope_of_the_publication_reaches(three: list[Agent]) -> None:
    me, mate, neighbour = three
    for agent in three:
        agent.exec(
            "for s in ('group', 'host', 'network'):\n"
            "    labc.subscribe(lambda value, s=s: received.append([s, value]), topic='news', scope=s)"
        )
    hear([me], mate, neighbour)
    for scope in SCOPES:
        me.exec(f"labc.at(scope={scope!r}).publish('news', {scope!r})")
    me.exec("labc.here.publish('news', 'end'); labc.publish('news', 'end')")
    expected = {
        "me": [[s, v] for s in ("group", "host", "network") for v in SCOPES],
        "mate": [[s, v] for s in ("group", "host", "network") for v in SCOPES[1:]],
        "neighbour": [[s, v] for s in ("host", "network") for v in SCOPES[2:]],
    }
    for agent in (me, mate, neighbour):
        wanted = sorted(expected[agent.name])
        agent.eval(f"until(lambda: len([r for r in received if r[1] != 'end']) >= {len(wanted)})")
        assert agent.eval("sorted(r for r in received if r[1] != 'end')") == wanted, agent.name


def test_a_scope_is_changed_by_registering_again(three: list[Agent]) -> None:
    me, mate, neighbour = three
    for scope in ("network", "host", "node", "group", "host", "network", "node"):
        me.exec(f"labc.register(lambda: {scope!r}, name='f', scope={scope!r})")
        for agent in (me, mate, neighbour):
            seen = scope if scope in REACHED[agent.name] else None
            assert agent.eval("can('f')") == seen, (scope, agent.name)
    me.exec("labc.register(lambda: 'again', name='f', scope='host')")
    me.exec("labc.register(lambda: 'again', name='f', scope='host', listed=False)")
    neighbour.eval("until(lambda: can('f') is None)")  # who knew it may still ask for it for a moment


def test_what_is_not_listed_is_for_those_who_name_it(three: list[Agent]) -> None:
    me, _, neighbour = three
    me.exec("labc.register(lambda: 'found', name='hidden', listed=False)")
    assert neighbour.eval("can('hidden')") is None
    assert neighbour.eval("can('hidden', host='localhost')") is None
    assert neighbour.eval("can('hidden', host='localhost', node='me')") == "found"
    assert neighbour.eval("[o.value for o in labc.get_host('localhost', node='me').call_all('hidden')]") == ["found"]
    assert neighbour.eval("[f.name for f in labc.functions()]") == []
    assert me.eval("[f['name'] for f in labc.here.core.functions()[0].value]") == []
    with pytest.raises(RemoteFailure, match="NotFoundError") as failure:
        neighbour.eval("labc.at(find_timeout=0.3).call('hiddem')")
    assert "hidden" not in failure.value.text
    with pytest.raises(RemoteFailure, match="NotFoundError"):
        neighbour.eval("labc.get_host('localhost', node='me').at(find_timeout=0.2).call_all('nothing')")
    # One that appears while it is waited for.
    neighbour.send("labc.at(host='localhost', node='me', find_timeout=10).call('later')")
    me.exec("time.sleep(0.3); labc.register(lambda: 'at last', name='later', listed=False)")
    assert neighbour.answer() == "at last"
    # One that is narrow as well.
    me.exec("labc.register(lambda: 'ours', name='both', listed=False, scope='group')")
    assert neighbour.eval("can('both', host='localhost', node='me')") is None
    assert three[1].eval("can('both', host='localhost', node='me')") == "ours"


def test_any_name_is_carried_within_the_host(three: list[Agent]) -> None:
    me, _, neighbour = three
    for name in ODD_NAMES:
        me.exec(f"labc.register(lambda name={name!r}: name, name={name!r}, scope='host')")
    for name in ODD_NAMES:
        assert neighbour.eval(f"can({name!r})") == name
    assert neighbour.eval("sorted(f.name for f in labc.functions())") == sorted(ODD_NAMES)
    topics = [name for name in ODD_NAMES if "*" not in name]
    for topic in topics:
        me.exec(f"labc.subscribe(lambda v: received.append([{topic!r}, v]), topic={topic!r}, scope='host')")
    hear([neighbour], me)
    for topic in topics:
        neighbour.exec(f"labc.publish({topic!r}, 1)")
        neighbour.exec(f"labc.localhost.publish({topic!r}, 2)")
    me.eval(f"until(lambda: len(received) == {2 * len(topics)})")
    assert me.eval("sorted(received)") == sorted([topic, n] for topic in topics for n in (1, 2))


def test_bad_values_name_their_place(three: list[Agent]) -> None:
    me = three[0]
    for code, match in {
        "labc.register(len, scope='world')": r"register\('len'\)\(scope='world'\): expected 'node', 'group', 'host'",
        "labc.subscribe(len, topic='t', scope='all')": r"subscribe\(scope='all'\): expected 'node'",
        "labc.at(scope='wide')": r"at\(scope='wide'\): expected 'node'",
        "labc.at(resolve='best')": r"at\(resolve='best'\): expected 'nearest' or 'random' or 'round-robin'",
        "labc.at(order='up')": r"at\(order='up'\): expected 'bottom-up' or 'top-down'",
        "labc.at(perspective='')": r"at\(perspective=''\): expected the name of a host",
        "labc.get_host('')": r"at\(host=''\): expected the name, an alias or an address",
        "labc.get_host('h', node=70000)": r"at\(node=70000\): expected the name or the id of a node, or its port",
        "labc.get_host('h').register(len)": r"register\(\) is for this program itself",
        "labc.at(node='n').subscribe(len, topic='t')": r"subscribe\(\) is for this program itself",
        "labc.get_host('h').messages('t')": r"messages\(\) is for this program itself",
        "labc.register(len, name='core.len')": r"'core.len': what begins with 'core.' is offered by every node itself",
        "labc.get_host('nowhere').publish('t', 1)": r"nowhere",
        "labc.at(perspective='nowhere').call('core.ping')": r"nowhere",
    }.items():
        with pytest.raises(RemoteFailure, match=match):
            me.eval(code)


def test_narrow_subscribers_can_hold_publishers_back(three: list[Agent]) -> None:
    me, _, neighbour = three
    me.exec("""
go = threading.Event()
def slow(number):
    go.wait()
    received.append(number)
labc.subscribe(slow, topic='held', scope='host', when_full='hold', queue_size=2)
""")
    hear([neighbour], me)
    neighbour.exec("""
done = []
def burst():
    for number in range(20):
        labc.publish('held', number)
        done.append(number)
threading.Thread(target=burst, daemon=True).start()
until(lambda: len(done) == 3)  # one is handled, two wait
time.sleep(0.2)
""")
    assert neighbour.eval("done") == [0, 1, 2]
    me.exec("go.set()")
    me.eval("until(lambda: len(received) == 20)")
    assert me.eval("received") == list(range(20))
    # Published for the host alone it is the same; farther than the group it is nothing to one of the group.
    neighbour.exec("labc.localhost.publish('held', 20)")
    me.exec("labc.subscribe(received.append, topic='ours', scope='group', when_full='hold')")
    neighbour.exec("labc.publish('ours', 'no'); labc.publish('held', 21)")
    me.eval("until(lambda: len(received) == 22)")
    assert me.eval("received[20:]") == [20, 21]


def test_a_stopped_narrow_subscriber_holds_up_no_publisher(three: list[Agent]) -> None:
    me, mate, neighbour = three
    for agent in (me, mate):
        agent.exec("labc.subscribe(received.append, topic='n', scope='host', queue_size=5000)")
    hear([neighbour], me, mate)
    mate.program.stop()
    try:
        took = neighbour.eval("""(
            began := time.time(),
            [labc.publish('n', number) for number in range(2000)],
            time.time() - began)[-1]""")
        me.eval("until(lambda: len(received) == 2000)")
        assert me.eval("received") == list(range(2000))
        assert took < 5.0  # it was asked what it takes, and waited for, for half a second
        again = neighbour.eval("(began := time.time(), labc.publish('n', 2000), time.time() - began)[-1]")
        assert again < 1.0
    finally:
        mate.program.cont()
    neighbour.exec("time.sleep(1.1); labc.publish('n', 'end')")
    mate.eval("until(lambda: 'end' in received)")
    assert mate.eval("[n for n in received if n != 'end'] == sorted(n for n in received if n != 'end')")


def test_a_killed_narrow_subscriber_is_forgotten(three: list[Agent]) -> None:
    me, mate, neighbour = three
    for agent in (me, mate):
        agent.exec("labc.subscribe(received.append, topic='n', scope='host')")
    hear([neighbour], me, mate)
    neighbour.exec("labc.publish('n', 0)")
    mate.program.kill()
    neighbour.exec("for number in range(1, 50): labc.publish('n', number); time.sleep(0.002)")
    me.eval("until(lambda: len(received) == 50)")
    assert me.eval("received") == list(range(50))
    nearby = "labc.blocking.portal.node().rooms()._topics.nearby"
    neighbour.eval(f"until(lambda: len({nearby}._takers) == 1)")


@pytest.mark.parametrize("verb", ["labc.localhost.publish", "labc.publish"])
def test_a_program_that_publishes_narrowly_and_ends_at_once(start: StartOne, network: str, verb: str) -> None:
    listener = start("listener")
    meet([listener])
    listener.exec("labc.subscribe(received.append, topic='n', scope='host')")
    for number in range(5):
        with python_program(f"import labc; {verb}('n', {number})", env={"LABC_NETWORK": network}) as program:
            assert program.wait() == 0, program.errors
        listener.eval(f"until(lambda: received == list(range({number + 1})))")


def test_a_stopped_narrow_subscriber_holds_up_no_program_that_ends(start: StartOne, network: str) -> None:
    listener, stopped = start("listener"), start("stopped")
    meet([listener, stopped])
    for agent in (listener, stopped):
        agent.exec("labc.subscribe(received.append, topic='n', scope='host')")
    source = "import labc, time; labc.publish('n', 1); labc.publish('n', 2); print(time.time(), flush=True)"
    stopped.program.stop()
    try:
        with python_program(source, env={"LABC_NETWORK": network}) as program:
            assert program.wait() == 0, program.errors
            took = time.time() - float(program.output)
            listener.eval("until(lambda: received == [1, 2])")
            assert took < 1.5  # it leaves within a second; the rest is the interpreter's end
    finally:
        stopped.program.cont()


def test_the_loss_of_the_root_interrupts_nothing_narrow(start: StartOne) -> None:
    root = start("root")
    root.exec("labc.blocking.portal.node()")
    server, client = start("server"), start("client")
    meet([root, server, client])
    assert root.eval("labc.blocking.portal.node().is_root")
    server.exec("labc.register(lambda n: n, name='same', scope='host')")
    server.exec("labc.subscribe(receive, topic='n', scope='host', queue_size=100000)")
    hear([client], server)
    client.exec("""
problems, answers = [], []
ended = threading.Event()
def call():
    while not ended.is_set():
        try:
            answers.append(labc.call('same', 1))
        except Exception as error:
            problems.append(repr(error))
caller = threading.Thread(target=call, daemon=True)
caller.start()
publish_numbers('n', 0.002)
until(lambda: len(answers) > 20)
""")
    server.eval("until(lambda: len(received) > 20)")
    root.program.kill()
    client.eval("until(lambda: labc.blocking.portal.node().rooms().fabric.linked)")
    client.eval("(n := len(answers), until(lambda: len(answers) > n + 100))[-1]", timeout=30)
    # What is new, too.
    server.exec("labc.register(lambda: 'new', name='new', scope='host')")
    assert client.eval("labc.call('new')") == "new"
    client.exec("ended.set(); stop.set(); caller.join(); publisher.join()")
    assert client.eval("problems") == []
    sent = client.eval("sent[0]")
    server.eval(f"until(lambda: len(received) == {sent})")
    assert server.eval("[number for number, _ in received]") == list(range(sent))


def test_what_comes_and_goes_while_it_is_called_answers_or_is_not_found(three: list[Agent]) -> None:
    me, _, neighbour = three
    me.exec("""
ended = threading.Event()
def flap():
    while not ended.is_set():
        for scope in ('host', 'group', 'network', 'node'):
            handle = labc.register(lambda: 'there', name='flap', scope=scope)
            time.sleep(0.002)
            handle.close()
flapping = threading.Thread(target=flap, daemon=True)
flapping.start()
""")
    neighbour.exec(
        """
seen = []
def often():
    end = time.time() + 3
    while time.time() < end:
        try:
            seen.append(labc.at(find_timeout=0.05).call('flap'))
        except labc.NotFoundError:
            seen.append('nothing')
threads = [threading.Thread(target=often) for _ in range(3)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
""",
        timeout=30,
    )
    assert neighbour.eval("sorted(set(seen))") == ["nothing", "there"]
    me.exec("ended.set(); flapping.join(); labc.register(lambda: 'stays', name='flap', scope='host')")
    assert neighbour.eval("labc.call('flap')") == "stays"


def test_many_nodes_on_a_host_with_narrow_things(start: StartOne) -> None:
    crowds = [start(f"crowd{number}") for number in range(3)]
    for number, crowd in enumerate(crowds):
        crowd.exec(
            f"""
import asyncio
async def main():
    nodes = []
    for number in range({10 * number}, {10 * number + 10}):
        node = labc.Node(name=f"n{{number}}")
        node.register(lambda number=number: number, name="number", scope="host")
        node.register(lambda number=number: number, name=f"number.{{number}}", scope="host")
        node.subscribe(lambda v, number=number: received.append((number, v)), topic="all", scope="host")
        await node.start()
        nodes.append(node)
    ready.set()
    while not ended.is_set():
        await asyncio.sleep(0.01)
    for node in nodes:
        await node.close()
ready, ended = threading.Event(), threading.Event()
thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
thread.start()
assert ready.wait(30)
""",
            timeout=40,
        )
    client = start("client")
    client.exec("labc.blocking.portal.node()")
    client.eval("until(lambda: len(labc.nodes()) == 31)")
    values = client.eval("sorted(o.value for o in labc.call_all('number'))", timeout=30)
    assert values == list(range(30))
    assert client.eval("[labc.call(f'number.{n}') for n in range(30)]", timeout=30) == list(range(30))
    assert client.eval("len(labc.functions())", timeout=30) == 60
    client.eval("until(lambda: len(labc.blocking.portal.node().rooms()._topics.nearby._takers) == 30)")
    client.exec("labc.publish('all', 1); labc.localhost.publish('all', 2)")
    for number, crowd in enumerate(crowds):
        crowd.may_panic = True  # of its ten nodes one after the other is the root, and leaves
        crowd.eval("until(lambda: len(received) >= 20)")
        expected = sorted([n, v] for n in range(10 * number, 10 * number + 10) for v in (1, 2))
        assert crowd.eval("sorted(received)") == expected
        crowd.exec("ended.set(); thread.join(10)")


def test_a_node_that_runs_as_many_calls_as_it_may_still_takes_messages_and_tells_of_itself(start: StartOne) -> None:
    busy, other = start("busy", LABC_MAX_CALLS="1"), start("other")
    meet([busy, other])
    busy.exec("""
going = threading.Event()
labc.register(lambda: going.wait(20), name="wait")
labc.subscribe(received.append, topic="near", scope="host")
""")
    other.exec("threading.Thread(target=labc.call, args=('wait',), daemon=True).start()")
    other.eval(
        "until(lambda: labc.get_host('localhost', node='busy').core.stats()['calls']['running'] == 2)"
    )  # this one, too
    with pytest.raises(RemoteFailure, match="OverloadedError"):
        other.eval("labc.at(node='busy').call('wait')")
    hear([other], busy)
    other.exec("for number in range(5): labc.publish('near', number)")
    busy.eval("until(lambda: received == [0, 1, 2, 3, 4])")
    busy.exec("going.set()")


def test_what_a_node_tells_of_itself_takes_no_place_of_a_call(start: StartOne) -> None:
    busy, other = start("busy", LABC_MAX_CALLS="1"), start("other")
    meet([busy, other])
    busy.exec('labc.register(lambda: "called", name="quick")')
    other.exec("""
ended = threading.Event()
def ask():
    while not ended.is_set():
        labc.get_host("localhost", node="busy").core.stats()
for _ in range(4):
    threading.Thread(target=ask, daemon=True).start()
""")
    assert other.eval("sorted({labc.call('quick') for _ in range(300)})") == ["called"]
    other.exec("ended.set()")


def test_a_burst_to_a_narrow_subscriber_is_slowed_down_and_not_dropped(start: StartOne) -> None:
    publisher, subscriber = start("publisher"), start("subscriber")
    meet([publisher, subscriber])
    for agent in (publisher, subscriber):
        agent.exec("labc.subscribe(received.append, topic='burst', scope='host', queue_size=100_000)")
    hear([publisher], subscriber)
    publisher.exec("for number in range(30_000): labc.publish('burst', number)", timeout=30)
    for agent in (publisher, subscriber):
        agent.eval("until(lambda: len(received) == 30_000)")
        assert agent.eval("received == list(range(30_000))")
