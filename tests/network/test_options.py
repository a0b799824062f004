"""``at(...)``: options never mix with a function's own arguments; whom a call goes to, and to whom next."""

from __future__ import annotations

import collections
import inspect
import platform
import threading
import time

import pytest

import labc

pytestmark = pytest.mark.usefixtures("here")

WHO = """
import labc, os, sys, time
labc.init(name=sys.argv[1])

@labc.register
def who(): return sys.argv[1]

@labc.register
def slow(seconds):
    time.sleep(seconds)
    return sys.argv[1]

@labc.register
def pid(): return os.getpid()

@labc.register
def die(): os._exit(1)

@labc.register
def close(): handle.close()

handle = labc.register(lambda: sys.argv[1], name="closable")
labc.serve()
"""


def test_arguments_with_the_names_of_options() -> None:
    names = ["timeout", "find_timeout", "host", "node", "retry", "name", "function", "topic", "self", "args", "kwargs"]
    names += ["options", "verb", "operation", "rooms", "key", "context"]
    exec(f"def f({', '.join(names)}): return [{', '.join(names)}]", scope := {})
    labc.register(scope["f"])
    labc.register(scope["f"], name="on_loop", run="loop")
    values = {name: number for number, name in enumerate(names)}
    for name in ("f", "on_loop"):
        assert labc.call(name, **values) == list(values.values())
        assert labc.at(timeout=5.0, node=labc.nodes()[0].name, retry=1).call(name, **values) == list(values.values())
    [outcome] = labc.call_all("f", **values)
    assert outcome.value == list(values.values())


def test_arguments_with_the_names_of_options_elsewhere(serve, until) -> None:
    serve(
        """
        import labc
        labc.register(lambda **kw: kw, name="f")
        last = {}
        labc.subscribe(lambda **kw: last.update(kw), topic="t")
        labc.register(lambda: last, name="last")
        labc.serve()
        """
    )
    values = dict.fromkeys(["timeout", "host", "name", "function", "topic", "self", "args", "options", "run"], 1)
    assert labc.call("f", **values) == values
    labc.publish("t", **values)
    until(lambda: labc.call("last") == values)


def test_at_has_the_same_verbs_and_can_be_narrowed() -> None:
    labc.register(lambda: 1, name="one")
    far = labc.at(timeout=5.0)
    for verb in ("call", "call_all", "publish", "nodes", "functions", "ping", "at"):
        assert inspect.signature(getattr(far, verb)) == inspect.signature(getattr(labc, verb))
    assert far.at(host=platform.node()).call("one") == 1
    narrowed = labc.at(find_timeout=0.0).at(timeout=60.0)
    started = time.monotonic()
    with pytest.raises(labc.NotFoundError):
        narrowed.call("nothing")
    assert time.monotonic() - started < 1.0


def test_timeout(serve) -> None:
    serve(WHO, "a")
    labc.call("who")
    started = time.monotonic()
    with pytest.raises(labc.CallTimeoutError) as caught:
        labc.at(timeout=0.2).call("slow", 5)
    assert 0.19 < time.monotonic() - started < 0.5
    assert caught.value.ran == "maybe"
    assert caught.value.timeout == 0.2
    assert caught.value.where == f"a on {platform.node()}"
    assert isinstance(caught.value, TimeoutError)


def test_no_end_to_the_wait() -> None:
    labc.register(lambda: 1, name="one")
    for_ever = labc.at(timeout=float("inf"), find_timeout=float("inf"))
    assert for_ever.call("one") == 1
    assert [info.name for info in for_ever.functions()] == ["one"]
    assert len(for_ever.nodes()) == 1


def test_host_and_node(serve) -> None:
    serve(WHO, "a")
    serve(WHO, "b")
    host = platform.node()
    for name in ("a", "b"):
        for _ in range(5):
            assert labc.at(node=name).call("who") == name
            assert labc.at(host=host, node=name).call("who") == name
    ids = {info.name: info.id for info in labc.nodes()}
    assert labc.at(node=ids["b"]).call("who") == "b"
    assert {o.node for o in labc.at(node="a").call_all("who")} == {"a"}
    with pytest.raises(labc.NotFoundError, match=r"not at c; it is offered by .* on "):
        labc.at(node="c", find_timeout=0.0).call("who")
    with pytest.raises(labc.NotFoundError, match="not at on host elsewhere"):
        labc.at(host="elsewhere", find_timeout=0.0).call("who")


def test_own_node_comes_first(serve) -> None:
    serve(WHO, "a")
    assert labc.call("who") == "a"
    handle = labc.register(lambda: "own", name="who")
    assert {labc.call("who") for _ in range(20)} == {"own"}
    assert labc.at(node="a").call("who") == "a"
    handle.close()
    assert labc.call("who") == "a"


def test_equal_providers_share_the_calls(serve) -> None:
    for name in "abc":
        serve(WHO, name)
    assert len(labc.call_all("who")) == 3
    counts = collections.Counter(labc.call("who") for _ in range(150))
    assert min(counts[name] for name in "abc") > 20, counts


def test_the_least_busy_of_equals(serve) -> None:
    for name in "abc":
        serve(WHO, name)
    for name in "abc":
        assert labc.at(node=name).call("who") == name  # lanes are open
    started, answers = threading.Barrier(10), []

    def call() -> None:
        started.wait()
        answers.append(labc.call("slow", 0.4))

    callers = [threading.Thread(target=call) for _ in range(9)]
    for caller in callers:
        caller.start()
    started.wait()
    for caller in callers:
        caller.join()
    assert collections.Counter(answers) == {"a": 3, "b": 3, "c": 3}


def test_a_busy_provider_is_passed_over(serve) -> None:
    for name in "ab":
        serve(WHO, name)
        labc.at(node=name).call("who")
    busy = threading.Thread(target=lambda: labc.at(node="a").call("slow", 1.0))
    busy.start()
    time.sleep(0.1)
    assert {labc.call("who") for _ in range(20)} == {"b"}
    busy.join()


def test_when_a_provider_closes_the_next_is_asked(serve) -> None:
    for name in "ab":
        serve(WHO, name)
    assert len(labc.call_all("closable")) == 2
    labc.at(node="a").call("close")
    assert {labc.call("closable") for _ in range(20)} == {"b"}
    labc.at(node="b").call("close")
    with pytest.raises(labc.NotFoundError):
        labc.call("closable")


def test_when_a_provider_is_killed_the_next_is_asked(serve) -> None:
    servers = {name: serve(WHO, name) for name in "ab"}
    assert len(labc.call_all("who")) == 2
    servers["a"].kill()
    for _ in range(50):  # the first may have been sent to the dying one
        assert labc.at(retry=1).call("who") == "b"
    servers["b"].kill()
    started = time.monotonic()
    with pytest.raises((labc.NotFoundError, labc.PeerLostError)):
        labc.call("who")
    assert time.monotonic() - started < 0.5


def test_killed_in_the_middle_of_a_call(serve) -> None:
    server = serve(WHO, "a")
    labc.call("who")
    threading.Timer(0.3, server.kill).start()
    started = time.monotonic()
    with pytest.raises(labc.PeerLostError) as caught:
        labc.call("slow", 30)
    assert time.monotonic() - started < 0.3 + 0.2 + 0.1
    assert caught.value.ran == "maybe"
    assert caught.value.where == f"a on {platform.node()}"


def test_without_retry_a_function_that_may_have_run_is_not_run_again(serve, until) -> None:
    for name in "ab":
        serve(WHO, name)
    assert len(labc.call_all("who")) == 2
    with pytest.raises(labc.PeerLostError) as caught:
        labc.call("die")
    assert caught.value.ran == "maybe"
    until(lambda: len(labc.call_all("who")) == 1)
    assert labc.call("who") in ("a", "b")


def test_retry_asks_the_next_provider(serve) -> None:
    servers = {name: serve(WHO, name) for name in "ab"}
    assert len(labc.call_all("who")) == 2
    started = time.monotonic()
    answer = []
    caller = threading.Thread(target=lambda: answer.append(labc.at(retry=1).call("slow", 0.6)))
    caller.start()
    time.sleep(0.3)
    [busy] = [info.name for info in labc.nodes() if info.running]
    servers[busy].kill()
    caller.join(5.0)
    assert answer == ["b" if busy == "a" else "a"]
    assert time.monotonic() - started < 2.0


def test_retry_ends_when_nobody_is_left(serve) -> None:
    for name in "ab":
        serve(WHO, name)
    assert len(labc.call_all("who")) == 2
    with pytest.raises(labc.PeerLostError) as caught:
        labc.at(retry=5).call("die")
    assert caught.value.ran == "maybe"  # twice, even if a third attempt found nobody
    with pytest.raises((labc.NotFoundError, labc.PeerLostError)):
        labc.at(find_timeout=0.0).call("who")


def test_retry_does_not_repeat_what_raised(serve) -> None:
    calls = []

    @labc.register
    def fails() -> None:
        calls.append(1)
        raise ValueError

    with pytest.raises(labc.RemoteError):
        labc.at(retry=3).call("fails")
    assert len(calls) == 1
