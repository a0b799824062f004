"""Which of several providers answers, and ``call_publish``: one answers, the others get it as a message."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from agent import Agent, RemoteFailure, meet

from labc.testing import python_program

StartOne = Callable[..., Agent]

WHO = """
labc.register(lambda: labc.blocking.portal.node().name, name="who")
"""


@pytest.fixture
def start(network: str) -> Iterator[StartOne]:
    with contextlib.ExitStack() as agents:
        yield lambda name, **env: agents.enter_context(Agent(python_program, name, LABC_NETWORK=network, **env))


def gathered(start: StartOne, *names: str) -> list[Agent]:
    """The caller, and providers of ``who`` that it knows."""
    agents = [start(name) for name in ("caller", *names)]
    meet(agents)
    for provider in agents[1:]:
        provider.exec(WHO)
    agents[0].eval(f"until(lambda: len(labc.call_all('who')) == {len(names)})")
    return agents


def asked(caller: Agent, code: str, count: int = 40) -> Counter[str]:
    return Counter(caller.eval(f"[{code} for _ in range({count})]", timeout=30))


@pytest.mark.parametrize("where", ["labc.", "labc.network.", "labc.localhost."])
def test_in_turn_every_provider_answers_as_often(start: StartOne, where: str) -> None:
    caller, *_ = gathered(start, "one", "two")
    turns = f"{where}at(resolve='round-robin').call('who')"
    assert asked(caller, turns) == {"one": 20, "two": 20}
    caller.exec(WHO)  # it offers it itself
    caller.eval("until(lambda: len(labc.call_all('who')) == 3)")
    assert asked(caller, turns, 60) == {"one": 20, "two": 20, "caller": 20}
    assert asked(caller, f"{where}call('who')") == {"caller": 40}
    assert asked(caller, f"{where}at(order='top-down').call('who')").keys() <= {"one", "two"}


def test_in_turn_for_coroutines_and_for_many_threads(start: StartOne) -> None:
    caller, *_ = gathered(start, "one", "two")
    caller.exec("""
import asyncio
async def often():
    async with labc.Node() as node:
        turns = node.at(resolve="round-robin")
        return [await turns.call("who") for _ in range(40)]
found = []
def run():
    turns = labc.at(resolve="round-robin")
    found.extend(turns.call("who") for _ in range(40))
""")
    assert Counter(caller.eval("asyncio.run(often())")) == {"one": 20, "two": 20}
    caller.exec("threads = [threading.Thread(target=run) for _ in range(4)]")
    caller.exec("[thread.start() for thread in threads]; [thread.join() for thread in threads]")
    assert Counter(caller.eval("found")) == {"one": 80, "two": 80}


def test_at_random_every_provider_answers_now_and_then(start: StartOne) -> None:
    caller, *_ = gathered(start, "one", "two")
    caller.exec(WHO)
    found = asked(caller, "labc.at(resolve='random').call('who')", 300)
    assert set(found) == {"one", "two", "caller"}
    assert min(found.values()) > 50  # by chance fewer: once in 10**9


def test_in_turn_goes_on_when_one_dies(start: StartOne) -> None:
    caller, one, two = gathered(start, "one", "two")
    one.program.kill()
    found = asked(caller, "labc.at(resolve='round-robin', retry=1).call('who')")
    assert found == {"two": 40}
    assert two.program.running


def test_one_of_the_group_first_and_again_when_it_is_back(start: StartOne) -> None:
    caller, mate = start("caller", LABC_GROUP="team"), start("mate", LABC_GROUP="team")
    neighbour = start("neighbour")
    meet([caller, mate, neighbour])
    for provider in (mate, neighbour):
        provider.exec(WHO)
    caller.eval("until(lambda: len(labc.call_all('who')) == 2)")
    assert asked(caller, "labc.call('who')", 10) == {"mate": 10}
    assert asked(caller, "labc.at(order='top-down').call('who')", 10) == {"neighbour": 10}
    assert asked(caller, "labc.at(scope='group').call('who')", 10) == {"mate": 10}
    assert asked(caller, "labc.at(perspective='neighbour').call('who')", 10) == {"neighbour": 10}
    mate.program.kill()
    assert asked(caller, "labc.at(retry=1).call('who')", 10) == {"neighbour": 10}
    again = start("mate", LABC_GROUP="team")
    again.exec(f"labc.blocking.portal.node()\n{WHO}", timeout=40)
    caller.eval("until(lambda: labc.call('who') == 'mate')")
    assert asked(caller, "labc.call('who')", 10) == {"mate": 10}


def test_what_is_tried_again_is_asked_of_another_one(start: StartOne) -> None:
    caller = start("caller", LABC_GROUP="team")
    providers = [start("mate", LABC_GROUP="team"), start("neighbour")]
    meet([caller, *providers])
    for provider in providers:
        provider.exec("""
def die():
    if labc.blocking.portal.node().name == "mate":
        os._exit(1)
    return "alive"
labc.register(die)
""")
    caller.eval("until(lambda: len(labc.functions()) == 2)")
    assert caller.eval("labc.at(retry=1).call('die')") == "alive"


TAKES = """
import asyncio
went = []
async def note(value, pause=0, fail=False):
    call = labc.current_call()
    went.append([value, call.node])
    await asyncio.sleep(pause)
    if fail:
        raise ValueError("no")
    return [labc.blocking.portal.node().name, value]
labc.register(note)
"""


def takers(start: StartOne, *names: str) -> list[Agent]:
    agents = [start(name) for name in ("caller", *names)]
    meet(agents)
    for provider in agents[1:]:
        provider.exec(TAKES)
    agents[0].eval(f"until(lambda: len(labc.call_all('note', 0)) == {len(names)})")
    for provider in agents[1:]:
        provider.exec("went.clear()")
    return agents


def test_one_answers_and_the_others_get_it_once_each(start: StartOne) -> None:
    caller, *providers = takers(start, "one", "two", "three")
    answers = [caller.eval(f"labc.call_publish('note', {n})") for n in range(1, 11)]
    assert [value for _, value in answers] == list(range(1, 11))
    for provider in providers:
        provider.eval("until(lambda: len(went) == 10)")
        assert provider.eval("went") == [[n, "caller"] for n in range(1, 11)]
    # It may be one of them itself.
    caller.exec(TAKES)
    assert caller.eval("labc.call_publish('note', 11)") == ["caller", 11]
    for provider in (caller, *providers):
        provider.eval("until(lambda: [11, 'caller'] in went)")
    assert caller.eval("labc.at(node='one').call_publish('note', 12)") == ["one", 12]
    assert caller.eval("labc.network.at(order='top-down').call_publish('note', 13)")[1] == 13
    for provider in (caller, *providers):
        provider.eval("until(lambda: went.count([13, 'caller']) == 1)")
    assert sorted(p.name for p in providers if p.eval("[12, 'caller'] in went")) == ["one"]


def test_when_the_chosen_one_raises_the_others_get_it_and_when_there_is_no_answer_they_do_not(start: StartOne) -> None:
    caller, *providers = takers(start, "one", "two")
    with pytest.raises(RemoteFailure, match="ValueError: no"):
        caller.eval("labc.call_publish('note', 1, fail=True)")
    with pytest.raises(RemoteFailure, match="CallTimeoutError"):
        caller.eval("labc.at(timeout=0.3).call_publish('note', 2, pause=9)")
    with pytest.raises(RemoteFailure, match="NotFoundError"):
        caller.eval("labc.at(find_timeout=0.1).call_publish('nothing', 3)")
    caller.exec("labc.call_publish('note', 'end')")
    for provider in providers:
        provider.eval("until(lambda: ['end', 'caller'] in went)")
    values = [value for provider in providers for value, _ in provider.eval("went")]
    assert sorted(map(str, values)) == ["1", "1", "2", "end", "end"]


@pytest.mark.parametrize("retry", [0, 1])
def test_when_the_chosen_one_is_killed_nobody_gets_both(start: StartOne, retry: int) -> None:
    caller, *providers = takers(start, "one", "two", "three")
    caller.send(f"labc.at(retry={retry}).call_publish('note', 1, pause=1)")
    chosen = None
    while chosen is None:
        chosen = next((p for p in providers if p.eval("went")), None)
    chosen.program.kill()
    others = [provider for provider in providers if provider is not chosen]
    if retry:
        assert caller.answer()[1] == 1
        for provider in others:
            provider.eval("until(lambda: went)")
    else:
        with pytest.raises(RemoteFailure, match="PeerLostError"):
            caller.answer()
    caller.exec("labc.call_publish('note', 'end')")
    for provider in others:
        provider.eval("until(lambda: ['end', 'caller'] in went)")
        assert provider.eval("[value for value, _ in went]") == [1] * retry + ["end"]


def test_one_that_is_stopped_holds_up_no_call_publish_for_long(start: StartOne) -> None:
    caller, one, two, stopped = takers(start, "one", "two", "stopped")
    stopped.program.stop()
    try:
        took = caller.eval(
            "(began := time.time(), labc.at(perspective='one').call_publish('note', 1), time.time() - began)[2]"
        )
        assert took < 8  # 5 s, and what the machine takes
    finally:
        stopped.program.cont()
    for provider in (one, two):
        provider.eval("until(lambda: went == [[1, 'caller']])")


def test_one_that_is_busy_for_a_moment_still_gets_what_is_published(start: StartOne) -> None:
    caller, one, busy = takers(start, "one", "busy")
    busy.exec("""
loop = labc.blocking.portal.node().loop
loop.call_soon_threadsafe(time.sleep, 2.0)
""")
    assert caller.eval("labc.at(perspective='one').call_publish('note', 1)") == ["one", 1]
    busy.eval("until(lambda: went == [[1, 'caller']])")
    assert one.eval("went") == [[1, "caller"]]
