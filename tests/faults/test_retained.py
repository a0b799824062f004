"""Retained values outlive those who published them, and, as long as these live, the root."""

from __future__ import annotations

import time

import pytest
from agent import Agent, LocalStart, RemoteFailure

SUBSCRIBE = "labc.blocking.portal.node(); labc.subscribe(receive, topic='t/*')"


@pytest.fixture
def root(start: LocalStart) -> Agent:
    agent = start("root")
    agent.exec("labc.blocking.portal.node()")
    assert agent.eval("labc.blocking.portal.node().is_root")
    return agent


def joined(start: LocalStart, name: str) -> Agent:
    agent = start(name)
    agent.exec("labc.blocking.portal.node()")
    return agent


def values(agent: Agent) -> list[int]:
    return sorted(value for value, _ in agent.eval("received"))


def test_the_publisher_is_killed(root: Agent, start: LocalStart) -> None:
    publisher = joined(start, "publisher")
    publisher.exec("labc.publish('t/1', 1, retain=True)")
    publisher.program.kill()
    publisher.program.wait()
    late = joined(start, "late")
    late.exec(SUBSCRIBE)
    late.eval("until(lambda: len(received) == 1)")
    assert late.eval("labc.last('t/1').value") == 1
    assert root.eval("labc.last('t/1').value") == 1


def test_a_publisher_that_dies_by_its_own_hand_behind_the_publication(root: Agent, start: LocalStart) -> None:
    publisher = joined(start, "publisher")
    publisher.send("labc.publish('t/1', 1, retain=True); os.kill(os.getpid(), 9)", wanted=False)
    assert publisher.program.wait() == -9
    assert root.eval("labc.last('t/1').value") == 1


def test_the_root_is_killed(root: Agent, start: LocalStart) -> None:
    publisher, early = joined(start, "publisher"), joined(start, "early")
    early.exec(SUBSCRIBE)
    publisher.exec("for n in range(100): labc.publish(f't/{n}', n, retain=True)")
    early.eval("until(lambda: len(received) == 100)")
    root.program.kill()
    late = joined(start, "late")
    late.exec(SUBSCRIBE)
    late.eval("until(lambda: len(received) == 100, timeout=10)")
    assert values(late) == list(range(100))
    assert late.eval("labc.last('t/7').value") == 7
    publisher.exec("labc.publish('t/0', 1000, retain=True)")
    for agent in (early, late):
        agent.eval("until(lambda: received[-1][0] == 1000)")
        assert len(values(agent)) == 101, "who had them already got them again"


def test_the_root_and_the_publisher_are_killed(root: Agent, start: LocalStart) -> None:
    """Then nobody has the value any more."""
    publisher, other = joined(start, "publisher"), joined(start, "other")
    publisher.exec("labc.publish('t/1', 1, retain=True)")
    assert other.eval("labc.last('t/1').value") == 1
    publisher.program.kill()
    publisher.program.wait()
    root.program.kill()
    other.eval("until(lambda: labc.blocking.portal.node().is_root)")
    with pytest.raises(RemoteFailure, match="no value of the topic 't/1' is retained"):
        other.eval("labc.last('t/1')")


def test_thousands_outlive_the_root(root: Agent, start: LocalStart) -> None:
    publisher = joined(start, "publisher")
    publisher.exec("for n in range(5000): labc.publish(f't/{n}', n, retain=True)", timeout=30)
    root.program.kill()
    late = joined(start, "late")
    late.exec(SUBSCRIBE)
    late.eval("until(lambda: len(received) == 5000, timeout=20)", timeout=25)
    assert values(late) == list(range(5000))


def test_the_root_is_stopped(root: Agent, start: LocalStart) -> None:
    publisher, early = joined(start, "publisher"), joined(start, "early")
    publisher.exec("labc.publish('t/1', 1, retain=True)")
    early.exec(SUBSCRIBE)
    early.eval("until(lambda: len(received) == 1)")
    root.program.stop()
    stopped = time.monotonic()
    began = time.monotonic()
    publisher.exec("labc.publish('t/2', 2, retain=True)")
    assert time.monotonic() - began < 3.0
    late = start("late")
    late.exec(SUBSCRIBE)
    for agent in (late, early):
        agent.eval("until(lambda: len(received) >= 2)")
    assert time.monotonic() - stopped < 8.0
    assert values(late) == [1, 2]
    root.may_panic = True
    root.program.cont()
    publisher.exec("labc.publish('t/3', 3, retain=True)")
    for agent in (late, early):
        agent.eval("until(lambda: 3 in [value for value, _ in received])")
        assert values(agent) == [1, 2, 3]


def test_a_root_that_hangs_costs_others_a_moment(root: Agent, start: LocalStart) -> None:
    publisher, late = joined(start, "publisher"), joined(start, "late")
    publisher.exec("labc.publish('t/1', 1, retain=True)")
    root.exec(
        "rooms = labc.blocking.portal.node().rooms(); rooms.loop.call_soon_threadsafe(time.sleep, 6)"
    )  # its loop turns no more, and its engine goes on
    began = time.monotonic()
    late.exec(SUBSCRIBE)
    late.eval("until(lambda: len(received) == 1)")
    assert late.eval("labc.last('t/1').value") == 1
    publisher.exec("labc.publish('t/2', 2, retain=True); labc.publish('t/3', 3, retain=True)")
    late.eval("until(lambda: len(received) == 3)")
    with_messages = late.eval("[(m := labc.messages('t/3')), next(m).value, m.close()][1]")
    took = time.monotonic() - began
    assert with_messages == 3
    assert took < 5.0
    root.eval("until(lambda: labc.blocking.portal.run('x', lambda r: r.fabric.looked_around()) is None)")
    late.exec("time.sleep(1.0)")  # the root has answered by now, to everything
    assert values(late) == [1, 2, 3]


def test_a_subscription_that_holds_back_gets_what_was_kept_while_its_handler_was_slow(
    root: Agent, start: LocalStart
) -> None:
    publisher, late = joined(start, "publisher"), joined(start, "late")
    publisher.exec("for n in range(50): labc.publish(f't/{n}', n, retain=True)")
    publisher.program.kill()
    late.exec("go = threading.Event()")
    late.exec("labc.subscribe(lambda n: (go.wait(), receive(n)), topic='t/*', when_full='hold', queue_size=2)")
    late.exec("time.sleep(0.2); go.set()")
    late.eval("until(lambda: len(received) == 50)")
    assert values(late) == list(range(50))
