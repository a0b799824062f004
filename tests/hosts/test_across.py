"""What the documentation promises within a host, from host to host: programs, options, outcomes, the command line."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Callable, Iterator

import pytest
from agent import WAIT, Agent, RemoteFailure, Start, meet, start_all
from api.test_documents import ROOT, blocks_of
from network.cli.runs import LABC

from labc.testing import Program, VirtualHost, VirtualHosts

MakeLab = Callable[[int], VirtualHosts]


@pytest.fixture(scope="module")
def printed() -> dict[str, str]:
    """The programs of the README by their names."""
    blocks = [block for block in blocks_of(ROOT / "README.md") if block.language == "python"]
    return {str(block.file or block.marks.get("keeps running")).removesuffix(".py"): block.text for block in blocks}


@pytest.mark.parametrize("first", ["server", "client"])
def test_the_two_programs_of_the_readme_on_two_hosts(
    make_lab: MakeLab, network: str, printed: dict[str, str], first: str
) -> None:
    h1, h2 = make_lab(2).hosts
    places = {"server": h1, "client": h2}
    order = [first, *(name for name in places if name != first)]
    programs: dict[str, Program] = {}
    for name in order:
        programs[name] = places[name].program(printed[name], name=name)
        if name == "server":
            programs[name].expect(re.compile(rf"^labc: server on h1 is in the network '{network}'"), stream="stderr")
    server, client = programs["server"], programs["client"]
    assert client.wait() == 0, client.errors
    assert client.output == "Hello World!\n"
    assert client.errors == ""
    server.expect("Hello World!")
    again = h2.program(printed["client"], name="client")
    assert again.wait() == 0, again.errors
    server.expect("Hello World!")
    assert server.output == "Hello World!\n" * 2
    assert len(server.errors.splitlines()) == 1  # the line with which it started


@pytest.mark.usefixtures("network")
def test_the_adder_of_the_readme_hears_thermometers_of_other_hosts(make_lab: MakeLab, printed: dict[str, str]) -> None:
    h1, h2, h3 = make_lab(3).hosts
    adder = h1.program(printed["adder"], name="adder")
    adder.expect("5")
    for host in (h2, h3):
        assert host.run([LABC, "call", "add", "2", "--b", "3"], check=True).stdout == "5\n"
        thermometer = host.program(printed["thermometer"], name="thermometer")
        assert thermometer.wait() == 0, thermometer.errors
        adder.expect(f"sensors/freezer/temperature -79.5 thermometer on {host.name}")
    assert len(adder.output.splitlines()) == 3
    assert adder.errors == ""


def test_options_and_errors_name_hosts_and_nodes(make_lab: MakeLab, start: Start) -> None:
    lab = make_lab(3)
    providers = [start(lab.hosts[index], name) for index, name in enumerate(("one", "two"))]
    neighbour, caller = start(lab.hosts[1], "neighbour"), start(lab.hosts[2], "caller")
    meet([*providers, neighbour, caller])
    for provider in (*providers, neighbour):
        provider.exec("""
def who():
    call = labc.current_call()
    return [labc.blocking.portal.node().name, call.name, call.node, call.host]
labc.register(who)
def broken(): raise ValueError('no')
labc.register(broken)
""")
    caller.eval("until(lambda: len(labc.call_all('who')) == 3)")
    # A host, a node, and both.
    for option, nodes in {
        "host='h1'": {"one"},
        "host='h2'": {"two", "neighbour"},
        "node='two'": {"two"},
        "node='neighbour'": {"neighbour"},
        "host='h2', node='two'": {"two"},
    }.items():
        answers = caller.eval(f"[labc.at({option}).call('who') for _ in range(20)]")
        assert {answer[0] for answer in answers} <= nodes, option
        assert all(answer[1:] == ["who", "caller", "h3"] for answer in answers), option
    assert reached_on(caller, "h1") == ["one"]
    assert reached_on(caller, "h2") == ["neighbour", "two"]
    # Calls from another host, and from the provider's own.
    assert neighbour.eval("labc.at(node='two').call('who')") == ["two", "who", "neighbour", "h2"]
    assert neighbour.eval("labc.at(host='h1').call('who')") == ["one", "who", "neighbour", "h2"]
    for option, place in {"host='h1'": ("one", "h1"), "node='two'": ("two", "h2")}.items():
        with pytest.raises(RemoteFailure, match="ValueError: no") as failure:
            caller.eval(f"labc.at({option}).call('broken')")
        assert failure.value.error == "RemoteError"
        assert (failure.value.fields["node"], failure.value.fields["host"]) == place
    # Nobody has the name; nobody has it there.
    with pytest.raises(RemoteFailure, match=r"looked at 4 nodes on 3 hosts") as failure:
        caller.eval("labc.at(find_timeout=0.2).call('nothing')")
    assert failure.value.error == "NotFoundError"
    assert (failure.value.fields["nodes"], failure.value.fields["hosts"]) == (4, 3)
    for option in ("host='h3'", "host='h1', node='two'"):
        with pytest.raises(RemoteFailure, match="NotFoundError: nobody offers 'who'"):
            caller.eval(f"labc.at({option}, find_timeout=0.2).call('who')")


def reached_on(caller: Agent, host: str) -> list[str]:
    """The names of the providers that ``call_all`` reaches on that host."""
    return caller.eval(f"sorted(outcome.node for outcome in labc.at(host={host!r}).call_all('who'))")


def test_a_message_names_its_sender_and_the_sender_s_host(make_lab: MakeLab, start: Start) -> None:
    agents = start_all(start, make_lab(3).hosts)
    listener = agents[0]
    listener.exec("""
def note(value):
    message = labc.current_message()
    received.append([value, message.topic, message.sender.node, message.sender.host, str(message.sender)])
labc.subscribe(note, topic='news/*')
stream = labc.messages('news/*')
""")
    for number, agent in enumerate(agents, 1):
        agent.exec(f"labc.publish('news/{number}', {number})")
        listener.eval(f"until(lambda: len(received) == {number})")
    expected = [[n, f"news/{n}", f"node{n}", f"h{n}", f"node{n} on h{n}"] for n in (1, 2, 3)]
    assert listener.eval("received") == expected
    assert listener.eval("[str(next(stream).sender) for _ in range(3)]") == [who for *_, who in expected]
    ids = {agent.name: agent.eval("next(node.id for node in labc.nodes() if node.here)") for agent in agents}
    listener.exec("labc.subscribe(lambda value: received.append(labc.current_message().sender.node_id), topic='id')")
    agents[2].exec("labc.publish('id', 0)")
    listener.eval("until(lambda: len(received) == 4)")
    assert listener.eval("received[-1]") == ids["node3"]


def test_call_all_across_hosts_has_an_outcome_for_each_and_ends_in_time(make_lab: MakeLab, start: Start) -> None:
    hosts = make_lab(3).hosts
    good, bad, slow = agents = start_all(start, hosts)
    caller = start(hosts[0], "caller")
    meet([*agents, caller])
    slow.exec(WAIT)
    good.exec("labc.register(lambda seconds: 'fine', name='wait')")
    bad.exec("""
def wait(seconds): raise ValueError('no good')
labc.register(wait)
""")
    caller.eval("until(lambda: len(labc.call_all('wait', 0)) == 3)")
    caller.exec("""
began = time.time()
outcomes = labc.at(timeout=1).call_all('wait', 60)
took = time.time() - began
""")
    assert 0.9 < caller.eval("took") < 1.3
    found = "sorted([o.host, o.node, o.ok, o.value, type(o.error).__name__] for o in outcomes)"
    assert caller.eval(found) == [
        ["h1", "node1", True, "fine", "NoneType"],
        ["h2", "node2", False, None, "RemoteError"],
        ["h3", "node3", False, None, "CallTimeoutError"],
    ]
    assert "no good" in caller.eval("[str(o.error) for o in outcomes if o.host == 'h2'][0]")
    slow.eval("until(lambda: len(cancelled) == 1)")


@pytest.fixture
def labc_on(network: str) -> Callable[..., str]:
    """``labc_on(host, "nodes")`` runs the command there, and returns what it prints."""

    def labc_on(host: VirtualHost, *arguments: str) -> str:
        done = host.run([LABC, *arguments])
        assert done.returncode == 0, done
        assert done.stderr == "", done
        return done.stdout

    return labc_on


def test_the_command_line_reaches_other_hosts(make_lab: MakeLab, start: Start, labc_on: Callable[..., str]) -> None:
    h1, h2 = hosts = make_lab(2).hosts
    a, b = start_all(start, hosts)
    for agent, host in ((a, h1), (b, h2)):
        agent.exec(f"labc.register(lambda: {host.name!r}, name='where')")
    a.exec("labc.register(lambda x, y=1: x * y, name='scale')")
    assert labc_on(h2, "call", "scale", "21", "--y", "2") == "42\n"
    assert labc_on(h2, "call", "scale", "3", "--host", "h1") == "3\n"
    for host in hosts:
        for wanted in hosts:
            assert labc_on(host, "call", "where", "--host", wanted.name) == f"{wanted.name}\n"
    nodes = json.loads(labc_on(h2, "nodes", "--json"))
    assert sorted((node["name"], node["host"], node["root"]) for node in nodes) == [
        ("node1", "h1", True),
        ("node2", "h2", True),
    ]
    functions = json.loads(labc_on(h2, "functions", "--json"))
    assert sorted((function["name"], function["node"], function["host"]) for function in functions) == [
        ("scale", "node1", "h1"),
        ("where", "node1", "h1"),
        ("where", "node2", "h2"),
    ]
    on_h1 = json.loads(labc_on(h2, "functions", "--json", "--host", "h1"))
    assert sorted(function["name"] for function in on_h1) == ["scale", "where"]
    answers = [json.loads(line) for line in labc_on(h2, "ping", "h1", "--count", "2", "--json").splitlines()]
    assert [(answer["node"], answer["host"]) for answer in answers] == [("node1", "h1")] * 2
    assert all(0 < answer["ms"] < 1000 for answer in answers)


@pytest.fixture
def listening(network: str) -> Iterator[Callable[..., Program]]:
    """``listening(host, "news/*")`` is ``labc subscribe`` there, when it listens."""
    programs: list[Program] = []

    def listening(host: VirtualHost, *arguments: str) -> Program:
        program = Program([LABC, "subscribe", *arguments], popen=host.popen)
        programs.append(program)
        program.expect(re.compile("listening to"), stream="stderr")
        return program

    yield listening
    for program in programs:
        program.close()


def test_labc_subscribe_hears_and_labc_publish_reaches_other_hosts(
    make_lab: MakeLab, start: Start, labc_on: Callable[..., str], listening: Callable[..., Program]
) -> None:
    h1, h2 = hosts = make_lab(2).hosts
    a, _ = start_all(start, hosts)
    heard = listening(h2, "news/*", "--json", "--count", "2")
    a.exec("labc.publish('news/today', 21.5)")
    first = json.loads(heard.expect(re.compile(r"^\{")).string)
    assert (first["topic"], first["value"]) == ("news/today", 21.5)
    assert (first["sender"]["node"], first["sender"]["host"]) == ("node1", "h1")
    assert labc_on(h1, "publish", "news/tonight", "cold") == ""
    second = json.loads(heard.expect(re.compile(r"^\{")).string)
    assert (second["topic"], second["value"], second["sender"]["host"]) == ("news/tonight", "cold", "h1")
    assert heard.wait() == 0
    a.exec("labc.subscribe(lambda *args, **kwargs: received.append([args, kwargs]), topic='words')")
    labc_on(h2, "publish", "words", "one", "2", "--three", "4")
    a.eval("until(lambda: received)")
    assert a.eval("received") == [[["one", 2], {"three": 4}]]


def test_a_call_over_a_slow_link_takes_one_round_trip(make_lab: MakeLab, start: Start) -> None:
    lab = make_lab(2)
    one_way = 0.04
    lab.hosts[0].delay(one_way)
    a, b = start_all(start, lab.hosts)
    for agent in (a, b):
        agent.exec("labc.register(lambda x: x, name='echo')")
        agent.exec("labc.subscribe(receive, topic='ticks')")
    for agent, other in ((a, b), (b, a)):
        assert agent.eval(f"[labc.at(node={other.name!r}).call('echo', n) for n in range(3)]") == [0, 1, 2]
        agent.exec(f"""
took = []
for number in range(5):
    began = time.time()
    labc.at(node={other.name!r}).call('echo', number)
    took.append(time.time() - began)
""")
        took = agent.eval("took")
        assert 2 * one_way <= statistics.median(took) < 3 * 2 * one_way, took
        assert min(took) >= 2 * one_way, "the delay is not there"
        agent.exec("received.clear()")
        other.exec("received.clear()")
        agent.exec("[labc.publish('ticks', number) for number in range(500)]")
        for listener in (agent, other):
            listener.eval("until(lambda: received and received[-1][0] == 499)")
            assert [number for number, _ in listener.eval("received")] == list(range(500))
