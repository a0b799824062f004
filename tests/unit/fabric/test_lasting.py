"""What is declared before there is a session, and what becomes of it when that is another one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import zenoh

from labc.directory import NodeRecord
from labc.errors import FabricError
from labc.fabric import Keys, TokenEvent
from labc.fabric.lasting import LastingMedium, LateSession
from labc.fabric.worker import Worker

HERE = NodeRecord("here", "host", "h", "me")


class Thing:
    def __init__(self, session: Session, key: str) -> None:
        self.session, self.key = session, key
        session.things.append(key)

    def undeclare(self) -> None:
        if self.session.closed:
            raise zenoh.ZError("closed")
        self.session.things.remove(self.key)


class Session:
    """Of an engine that knows what is declared."""

    def __init__(self) -> None:
        self.things: list[str] = []
        self.closed = False
        self.asked = threading.Event()
        self.answers = threading.Event()
        self.answers.set()

    def liveliness(self) -> Session:
        return self

    def close(self) -> None:
        self.closed = True

    def declare_token(self, key: str) -> Thing:
        self.asked.set()
        assert self.answers.wait(10)
        if self.closed:
            raise zenoh.ZError("closed")
        return Thing(self, key)

    def get(self, key: str, handler: Any, **_: Any) -> None:
        self.asked.set()
        assert self.answers.wait(10)
        raise zenoh.ZError("closed")

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


@pytest.mark.parametrize("closed", [False, True])
def test_a_session_that_goes_while_something_is_declared(closed: bool) -> None:
    async def check(medium: Made) -> None:
        medium.session = old = Session()
        old.answers.clear()
        declaring = asyncio.create_task(medium.declare_token("one"))
        await asyncio.to_thread(old.asked.wait, 10)
        medium.session = None
        medium.forget_things()
        old.closed = closed
        medium.session = new = Session()
        again = asyncio.create_task(medium.declare_all())
        old.answers.set()
        one = await declaring
        await again
        assert new.things == ["one"]
        await one.close()
        assert new.things == []

    run(check)


def test_a_session_that_goes_while_something_is_asked() -> None:
    async def check(medium: Made) -> None:
        assert await medium.ask("a", b"", 1) == []
        medium.session = old = Session()
        with pytest.raises(FabricError, match="closed"):
            await medium.ask("a", b"", 1)
        old.answers.clear()
        old.asked.clear()
        asking = asyncio.create_task(medium.ask("a", b"", 1))
        await asyncio.to_thread(old.asked.wait, 10)
        medium.session = None
        old.answers.set()
        assert await asking == []

    run(check)


def test_what_could_not_be_declared_is_not_declared_later() -> None:
    async def check(medium: Made) -> None:
        medium.session = session = Session()
        session.close()
        with pytest.raises(FabricError, match="closed"):
            await medium.declare_token("one")
        medium.session = new = Session()
        medium.forget_things()
        await medium.declare_all()
        assert new.things == []

    run(check)


def test_what_is_closed_while_its_session_goes() -> None:
    async def check(medium: Made) -> None:
        medium.session = session = Session()
        one, two = await medium.declare_token("one"), await medium.declare_token("two")
        session.close()
        with pytest.raises(FabricError, match="closed"):
            await one.close()
        medium.session = None
        await two.close()
        assert two.closed
        assert not medium._things

    run(check)


def test_it_does_not_start_afresh_while_it_leaves() -> None:
    async def main() -> None:
        medium = Made(HERE, Keys("lab", "wan"), Worker("labc test"), lambda: None)  # type: ignore[arg-type, return-value]
        renewed = False

        async def renew() -> None:
            nonlocal renewed
            renewed = True

        async def close() -> None:
            medium.renew()  # the router goes just now
            await asyncio.sleep(0)

        medium._renew = renew  # type: ignore[method-assign]
        await medium.leave(close)
        assert not renewed

    asyncio.run(main())


def test_it_starts_afresh_once_at_a_time() -> None:
    async def check(medium: Made) -> None:
        began, ended = 0, 0
        go, idle = asyncio.Semaphore(0), asyncio.Event()

        async def renew() -> None:
            nonlocal began, ended
            assert began == ended
            began += 1
            idle.set()
            await go.acquire()
            ended += 1

        medium._renew = renew  # type: ignore[method-assign]
        for _ in range(3):
            medium.renew()
        await idle.wait()
        assert began == 1
        for _ in range(3):  # whom to trust has changed again meanwhile
            medium.renew()
        idle.clear()
        go.release()
        await idle.wait()
        assert (began, ended) == (2, 1)
        go.release()
        await asyncio.wait_for(medium._renewing, 10)  # type: ignore[arg-type]
        assert (began, ended) == (2, 2)
        idle.clear()
        medium.renew()
        await idle.wait()
        assert began == 3

    run(check)


def test_what_is_opened_too_late_is_closed() -> None:
    async def main() -> None:
        worker = Worker("labc test")
        late, session = LateSession(worker), Session()
        making, made = threading.Event(), threading.Event()

        def make() -> Any:
            making.set()
            assert made.wait(10)
            return session

        opening = asyncio.create_task(late.open(make))
        await asyncio.to_thread(making.wait, 10)
        opening.cancel()
        await late.close()
        made.set()
        await worker.run(lambda: None)
        assert session.closed
        assert late.session is None
        assert late.engine_objects() == []
        again = Session()
        assert await late.open(lambda: again) is late.session is again  # type: ignore[arg-type, return-value]
        await late.close()
        assert again.closed
        worker.close()

    asyncio.run(main())


def test_a_session_that_takes_long_to_close_is_in_nobodys_way() -> None:
    async def main() -> None:
        worker = Worker("labc test")
        late, old, new = LateSession(worker), Session(), Session()
        closing, closes = threading.Event(), threading.Event()

        def close() -> None:
            closing.set()
            assert closes.wait(10)

        old.close = close  # type: ignore[method-assign]
        await late.open(lambda: old)  # type: ignore[arg-type, return-value]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await late.close()
        assert closing.is_set()
        assert await late.open(lambda: new) is new  # type: ignore[arg-type, comparison-overlap, return-value]
        closes.set()
        worker.close()

    asyncio.run(main())
