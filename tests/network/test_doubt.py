"""A node that lost a lane, and is there all the same, gets its share of the calls again."""

from __future__ import annotations

from collections import Counter

import pytest

import labc

pytestmark = pytest.mark.usefixtures("here")

SERVER = """
import os
import sys
import labc
labc.init(name=sys.argv[1])

@labc.register
def who():
    return sys.argv[1]

@labc.register(run="loop")
def close_lanes():
    # It says goodbye on them, as a node that leaves does, and stays.
    pool = labc.blocking.portal.node().rooms()._pool
    for lane in pool.lanes():
        if not lane.one_way:
            lane.close("a test")

@labc.register(run="process")
def die():
    os._exit(1)

if __name__ == "__main__":
    labc.serve()
"""


@pytest.fixture(autouse=True)
def servers(serve, until) -> None:
    for name in "ab":
        serve(SERVER, name, name=name)
    until(lambda: set(answers()) == {"a", "b"})


def answers(calls: int = 40) -> Counter[str]:
    return Counter(labc.call("who") for _ in range(calls))


def test_one_whose_lane_was_lost(until) -> None:
    alive = labc.blocking.portal.node().rooms()._neighbourhood.directory.alive
    labc.ping()  # over a lane that is shared
    for name in "ab":
        with pytest.raises(labc.PeerLostError):
            labc.at(node=name).call("close_lanes")
    until(lambda: len(alive()) == 3)
    assert set(answers()) == {"a", "b"}


def test_one_whose_function_s_process_died() -> None:
    labc.ping()
    for _ in range(3):
        with pytest.raises(labc.PeerLostError):
            labc.at(node="a").call("die")
        assert set(answers()) == {"a", "b"}
