"""Who subscribes on this host for the host alone: what its token says, what it is asked, and who is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, cast

import pytest

from labc.directory import NodeRecord
from labc.errors import PeerLostError
from labc.fabric import Fabric, Keys, TokenEvent
from labc.topics import nearby
from labc.topics.nearby import Near, Nearby

HERE = NodeRecord("here", "host", "h", "me", "team")
MATE = NodeRecord("mate", "host", "h", "mate", "team")
NEIGHBOUR = NodeRecord("neighbour", "host", "h", "neighbour")
FAR = NodeRecord("far", "other", "o", "far", "team")
STRANGER = NodeRecord("", "", "h", "me")


class FakeFabric:
    """Keeps the tokens."""

    keys = Keys("lab")

    def __init__(self) -> None:
        self.linked = True
        self.tokens: list[str] = []
        self.history: list[tuple[str, str]] = []

    async def declare_token(self, key: str) -> Any:
        self.tokens.append(key)
        self.history.append(("+", key))
        return _Token(self, key)


class _Token:
    def __init__(self, fabric: FakeFabric, key: str) -> None:
        self._fabric, self._key = fabric, key

    async def close(self) -> None:
        self._fabric.tokens.remove(self._key)
        self._fabric.history.append(("-", self._key))


class Others:
    """What other nodes tell when they are asked."""

    def __init__(self) -> None:
        self.takes: dict[str, list[tuple[str, bool]]] = {}
        self.asked: list[str] = []
        self.stopped: dict[str, asyncio.Event] = {}

    async def ask(self, node_id: str) -> Sequence[tuple[str, bool]]:
        self.asked.append(node_id)
        takes = list(self.takes[node_id]) if node_id in self.takes else None
        if node_id in self.stopped:
            await self.stopped[node_id].wait()
        if takes is None:
            raise PeerLostError(node_id, "it is gone", ran="no")
        return takes


class Place:
    def __init__(self, here: NodeRecord = HERE, grace: float = 0.02) -> None:
        self.fabric, self.others = FakeFabric(), Others()
        self.nearby = Nearby(here, cast(Fabric, self.fabric), self.others.ask, grace)

    def appeared(self, node: NodeRecord, number: int = 1) -> None:
        self.nearby.token(TokenEvent(self.fabric.keys.near(node, number), True))

    def vanished(self, node: NodeRecord, number: int = 1) -> None:
        self.nearby.token(TokenEvent(self.fabric.keys.near(node, number), False))


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 20))


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.002)


# Its own.


def test_what_others_may_know_depends_on_how_near_they_are() -> None:
    async def test() -> None:
        made = Place().nearby
        await made.add(Near("n", "node", False, object()))
        await made.add(Near("g", "group", False, object()))
        await made.add(Near("h/*", "host", True, object()))
        assert made.for_node(MATE) == [("g", False), ("h/*", True)]
        assert made.for_node(NEIGHBOUR) == [("h/*", True)]
        assert made.for_node(FAR) == []
        assert made.for_node(STRANGER) == []

    run(test)


def test_whose_messages_they_take() -> None:
    async def test() -> None:
        made = Place().nearby
        sinks = {scope: object() for scope in ("node", "group", "host")}
        for scope, sink in sinks.items():
            await made.add(Near("a/*", cast(Any, scope), False, sink))

        def takers(topic: str, sender: NodeRecord) -> list[object]:
            return [near.sink for near in made.own(topic, sender)]

        assert takers("a/b", HERE) == [sinks["node"], sinks["group"], sinks["host"]]
        assert takers("a/b", MATE) == [sinks["group"], sinks["host"]]
        assert takers("a/b", NEIGHBOUR) == [sinks["host"]]
        assert takers("a/b", FAR) == takers("a/b", STRANGER) == []
        assert takers("b", HERE) == []

    run(test)


def test_a_token_says_that_there_is_something_and_not_what() -> None:
    async def test() -> None:
        place = Place()
        made, fabric = place.nearby, place.fabric
        assert not made
        first, second, own = object(), object(), object()
        await made.add(Near("secret", "node", False, own))
        assert made
        assert fabric.tokens == []  # of no concern to others
        await made.add(Near("secret/a", "host", False, first))
        assert fabric.tokens == [fabric.keys.near(HERE, 1)]
        await made.add(Near("secret/b", "group", True, second))
        assert fabric.tokens == [fabric.keys.near(HERE, 2)]
        assert fabric.history[-2][0] == "+"  # the new one first: never is there none
        assert not any("secret" in key for _, key in fabric.history)
        await made.remove(first)
        assert fabric.tokens == [fabric.keys.near(HERE, 3)]
        await made.remove(second)
        assert fabric.tokens == []
        await made.remove(own)
        assert not made

    run(test)


# Those of others.


def test_one_takes_everything_until_it_has_told_what() -> None:
    async def test() -> None:
        place = Place()
        made = place.nearby
        place.others.takes["mate"] = [("a/*", False), ("b", True)]
        assert made.known
        place.appeared(MATE)
        assert made
        assert not made.known
        assert made.takers("anything") == ["mate"]
        assert made.unknown == {"mate"}
        assert made.holders("anything") == []
        await made.learn(1.0)
        assert made.known
        assert made.takers("a/x") == ["mate"]
        assert made.unknown == set()
        assert made.takers("anything") == []
        assert made.takers("b") == []  # it is given to who holds in another way
        assert made.holders("b") == ["mate"]
        assert place.others.asked == ["mate"]
        await made.learn(1.0)
        assert place.others.asked == ["mate"]

    run(test)


def test_who_is_not_of_this_host_is_not_asked() -> None:
    async def test() -> None:
        place = Place()
        place.appeared(FAR)
        place.appeared(HERE)
        assert not place.nearby
        assert place.nearby.known

    run(test)


def test_its_own_are_takers_and_holders_as_well() -> None:
    async def test() -> None:
        made = Place().nearby
        await made.add(Near("a", "node", False, object()))
        await made.add(Near("b", "host", True, object()))
        assert made.takers("a") == ["here"]
        assert made.holders("a") == []
        assert made.holders("b") == ["here"]

    run(test)


def test_a_new_number_means_that_it_is_asked_again() -> None:
    async def test() -> None:
        place = Place()
        made = place.nearby
        place.others.takes["mate"] = [("a", False)]
        place.appeared(MATE, 1)
        await made.learn(1.0)
        place.others.takes["mate"] = [("b", False)]
        place.appeared(MATE, 2)
        place.vanished(MATE, 1)
        assert not made.known
        await made.learn(1.0)
        assert made.takers("a") == []
        assert made.takers("b") == ["mate"]

    run(test)


def test_what_it_tells_of_the_time_before_is_not_taken_for_the_new() -> None:
    """It is waited for again: a publisher must know of a subscriber that was there before it."""

    async def test() -> None:
        place = Place()
        made = place.nearby
        place.others.takes["mate"] = [("old", False)]
        gate = place.others.stopped["mate"] = asyncio.Event()
        place.appeared(MATE, 1)
        learning = asyncio.ensure_future(made.learn(5.0))
        await until(lambda: place.others.asked)
        place.others.takes["mate"] = [("old", False), ("new", True)]
        place.appeared(MATE, 2)
        place.vanished(MATE, 1)
        gate.set()
        await learning
        assert made.holders("new") == ["mate"]
        assert made.known

    run(test)


def test_a_silent_one_is_waited_for_once_and_asked_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearby, "_ASK_AGAIN", 0.05)

    async def test() -> None:
        place = Place()
        made = place.nearby
        place.appeared(MATE)
        await made.learn(5.0)  # it does not tell
        assert place.others.asked == ["mate"]
        assert made.takers("anything") == ["mate"]
        place.others.takes["mate"] = [("a", False)]
        gate = place.others.stopped["mate"] = asyncio.Event()
        await made.learn(5.0)  # not asked yet again, nor waited for
        assert place.others.asked == ["mate"]
        await asyncio.sleep(0.06)
        await made.learn(5.0)
        await until(lambda: len(place.others.asked) == 2)
        gate.set()
        await until(lambda: not made.unknown)
        assert made.takers("anything") == []

    run(test)


def test_learning_takes_no_longer_than_it_may() -> None:
    async def test() -> None:
        place = Place()
        place.others.takes["mate"] = []
        place.others.stopped["mate"] = asyncio.Event()
        place.appeared(MATE)
        began = asyncio.get_running_loop().time()
        await place.nearby.learn(0.05)
        assert asyncio.get_running_loop().time() - began < 1.0
        assert place.nearby.takers("anything") == ["mate"]
        place.nearby.close()

    run(test)


def test_who_is_gone_is_forgotten_after_the_grace_and_who_comes_back_is_asked_again() -> None:
    async def test() -> None:
        place = Place()
        made = place.nearby
        place.others.takes["mate"] = [("a", False)]
        place.appeared(MATE, 1)
        await made.learn(1.0)
        place.vanished(MATE, 1)
        assert made.takers("a") == ["mate"]  # perhaps only the root has changed
        place.appeared(MATE, 1)
        await asyncio.sleep(0.05)
        assert made.takers("a") == ["mate"]
        place.vanished(MATE, 1)
        await until(lambda: not made)
        assert made.takers("a") == []
        place.appeared(MATE, 1)
        assert made.takers("anything") == ["mate"]
        await made.learn(1.0)
        assert place.others.asked == ["mate", "mate"]

    run(test)


def test_nobody_is_forgotten_while_this_node_itself_has_no_link() -> None:
    async def test() -> None:
        place = Place()
        made = place.nearby
        place.appeared(MATE, 1)
        place.fabric.linked = False
        place.vanished(MATE, 1)
        await asyncio.sleep(0.08)
        assert made.takers("a") == ["mate"]
        place.fabric.linked = True
        await until(lambda: not made)

    run(test)
