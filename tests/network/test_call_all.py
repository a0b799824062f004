"""``call_all``: every provider, values and errors apart, in no longer than the slowest or the time-out."""

from __future__ import annotations

import time

import pytest

import labc

pytestmark = pytest.mark.usefixtures("here")

WORKER = """
import labc, sys, time
labc.init(name=sys.argv[1])

@labc.register
def work(seconds):
    if sys.argv[1] == "bad":
        raise ValueError("no good")
    time.sleep(seconds.get(sys.argv[1], 0.0))
    return sys.argv[1].upper()

@labc.register
def picky(number: int): return number
labc.serve()
"""


def test_values_and_errors_apart(serve) -> None:
    for name in ("a", "b", "bad"):
        serve(WORKER, name)
    outcomes = labc.call_all("work", {})
    assert [(o.node, o.ok, o.value) for o in outcomes] == [("a", True, "A"), ("b", True, "B"), ("bad", False, None)]
    error = outcomes[2].error
    assert isinstance(error, labc.RemoteError)
    assert (error.type, error.message, error.node) == ("ValueError", "no good", "bad")


def test_as_long_as_the_slowest(serve) -> None:
    for name in "abc":
        serve(WORKER, name)
    assert len(labc.call_all("work", {})) == 3
    started = time.monotonic()
    assert all(o.ok for o in labc.call_all("work", {"a": 0.4, "b": 0.5, "c": 0.5}))
    assert 0.49 < time.monotonic() - started < 0.8


def test_no_longer_than_the_timeout(serve) -> None:
    for name in "ab":
        serve(WORKER, name)
    assert len(labc.call_all("work", {})) == 2
    started = time.monotonic()
    a, b = labc.at(timeout=0.3).call_all("work", {"b": 20})
    assert time.monotonic() - started < 0.6
    assert a.value == "A"
    assert isinstance(b.error, labc.CallTimeoutError)


def test_this_node_and_the_others(serve) -> None:
    """Also when this node never asked for the name before: its own function is not the only one."""
    serve(WORKER, "a")
    labc.init(name="own")
    labc.register(lambda seconds: "OWN", name="work")
    assert [(o.node, o.value) for o in labc.call_all("work", {})] == [("a", "A"), ("own", "OWN")]


def test_wrong_arguments_are_outcomes(serve) -> None:
    for name in "ab":
        serve(WORKER, name)
    outcomes = labc.call_all("picky", "text")
    assert [type(o.error) for o in outcomes] == [labc.ArgumentsError] * 2


def test_a_lost_provider_is_an_outcome(serve) -> None:
    servers = {name: serve(WORKER, name) for name in "ab"}
    assert len(labc.call_all("work", {})) == 2
    import threading

    threading.Timer(0.2, servers["b"].kill).start()
    a, b = labc.call_all("work", {"a": 0.5, "b": 20})
    assert a.value == "A"
    assert isinstance(b.error, labc.PeerLostError)


def test_nobody() -> None:
    with pytest.raises(labc.NotFoundError):
        labc.at(find_timeout=0.0).call_all("nothing")


def test_an_argument_that_cannot_be_carried() -> None:
    labc.register(lambda x: x, name="f")
    with pytest.raises(labc.CarryError, match=r"args\[0\]"):
        labc.call_all("f", object())
