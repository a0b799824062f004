"""What is declared before there is a session, and what becomes of it when that is another one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from labc.directory import NodeRecord
from labc.fabric import Keys, TokenEvent
from labc.fabric.lasting import LastingMedium
from labc.fabric.worker import Worker

HERE = NodeRecord("here", "host", "h", "me")


class Thing:
    def __init__(self, session: Session, key: str) -> None:
        self.session, self.key = session, key
        session.things.append(key)

    def undeclare(self) -> None:
        self.session.things.remove(self.key)


class Session:
    """Of an engine that knows what is declared."""

    def __init__(self) -> None:
        self.things: list[str] = []
        self.told: list[Callable[[Any], None]] = []

    def liveliness(self) -> Session:
        return self

    def declare_token(self, key: str) -> Thing:
        return Thing(self, key)

    def declare_subscriber(self, key: str, handler: Any, history: bool = False) -> Thing:
        return Thing(self, f"watch {key}")


class Made(LastingMedium):
    session: Any = None  # type: ignore[assignment]

    @property
    def linked(self) -> bool:
        return self.session is not None


def run(check: Callable[[Made], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        worker = Worker("labc test")
        try:
            await check(Made(HERE, Keys("lab", "wan"), worker, lambda: None))  # type: ignore[arg-type, return-value]
        finally:
            worker.close()

    asyncio.run(main())


def test_what_is_declared_waits_for_a_session() -> None:
    async def check(medium: Made) -> None:
        first, second = await medium.declare_token("first"), await medium.declare_token("second")
        await medium.show_presence()
        await second.close()
        medium.session = session = Session()
        await medium.declare_all()
        presence = medium.keys.node(HERE)
        assert session.things == ["first", presence]
        await medium.declare_all()
        third = await medium.declare_token("third")
        assert session.things == ["first", presence, "third"]
        await medium.hide_presence()
        await first.close()
        await first.close()
        assert session.things == ["third"]
        assert third.is_there

    run(check)


def test_it_is_declared_again_to_another_session() -> None:
    async def check(medium: Made) -> None:
        medium.session = old = Session()
        await medium.show_presence()
        one, two = await medium.declare_token("one"), await medium.declare_token("two")
        medium.session = None
        medium.forget_things()
        await two.close()
        assert old.things == [medium.keys.node(HERE), "one", "two"]  # it went with them
        medium.session = new = Session()
        await medium.declare_all()
        assert new.things == ["one", medium.keys.node(HERE)]
        await one.close()
        assert new.things == [medium.keys.node(HERE)]

    run(check)


def test_all_tokens_vanish_with_the_session() -> None:
    async def check(medium: Made) -> None:
        told: list[TokenEvent] = []
        medium.session = Session()
        watch = await medium.watch_tokens("a/**", told.extend)
        over = await medium.watch_tokens("b/**", told.extend)
        [take, take_over] = [each.take for each in medium._watches]
        take([TokenEvent("a/1", True), TokenEvent("a/2", True), TokenEvent("a/1", False)])
        take_over([TokenEvent("b/1", True)])
        await over.close()
        told.clear()
        medium.forget_things()
        assert told == [TokenEvent("a/2", False)]
        medium.forget_things()
        assert told == [TokenEvent("a/2", False)]
        assert not watch.closed

    run(check)
