"""Worker threads: bounded, in order, and ended when they are idle."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import Any

import pytest

from labc.functions import threads as module
from labc.functions.threads import Threads


def run(main: Callable[[], Any]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(10.0):
            await main()

    asyncio.run(bounded())


def begin(pool: Threads, function: Callable[[], Any]) -> asyncio.Task[Any]:
    return asyncio.create_task(pool.run(contextvars.copy_context(), function))


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def names() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("labc test")}


async def until(condition: Callable[[], Any]) -> None:
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.002)


def test_never_more_than_the_limit_and_in_order() -> None:
    async def main() -> None:
        pool = Threads(3, "labc test")
        go, order, most = threading.Semaphore(0), [], [0]
        lock = threading.Lock()
        running = [0]

        def work(number: int) -> int:
            with lock:
                running[0] += 1
                most[0] = max(most[0], running[0])
                order.append(number)
            go.acquire()
            with lock:
                running[0] -= 1
            return number

        tasks = [begin(pool, lambda n=n: work(n)) for n in range(20)]
        await until(lambda: running[0] == 3)
        await turns()
        assert len(names()) == 3
        assert sorted(order) == [0, 1, 2]
        for count in range(20):
            await until(lambda count=count: len(order) == min(count + 3, 20))
            go.release()
        assert await asyncio.gather(*tasks) == list(range(20))
        assert most[0] == 3
        assert sorted(order) == list(range(20))
        assert order[3:] == list(range(3, 20))  # one at a time became free
        pool.close()
        await pool.ended(5.0)

    run(main)


def test_one_thread_is_used_again() -> None:
    async def main() -> None:
        pool = Threads(10, "labc test")
        found = {await pool.run(contextvars.copy_context(), threading.get_ident) for _ in range(20)}
        assert len(found) == 1
        pool.close()
        await pool.ended(5.0)

    run(main)


def test_idle_threads_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_IDLE", 0.05)

    async def main() -> None:
        pool = Threads(5, "labc test")
        barrier = threading.Barrier(5)
        await asyncio.gather(*(begin(pool, barrier.wait) for _ in range(5)))
        await until(lambda: not names())
        assert await pool.run(contextvars.copy_context(), lambda: 7) == 7
        await asyncio.gather(*(begin(pool, barrier.wait) for _ in range(5)))  # five again: none was forgotten
        pool.close()
        await pool.ended(5.0)

    run(main)


def test_cancelled_before_its_turn() -> None:
    async def main() -> None:
        pool = Threads(1, "labc test")
        go, ran = threading.Event(), []
        first = begin(pool, go.wait)
        late = [begin(pool, lambda n=n: ran.append(n)) for n in range(5)]
        await turns()
        for task in late[1:4]:
            task.cancel()
        await turns()
        go.set()
        await first
        await asyncio.gather(*late, return_exceptions=True)
        assert [task.cancelled() for task in late] == [False, True, True, True, False]
        assert ran == [0, 4]
        pool.close()
        await pool.ended(5.0)

    run(main)


def test_cancelled_while_it_runs() -> None:
    """Nobody waits for it any more; it runs to its end, and its thread is used again."""

    async def main() -> None:
        pool = Threads(1, "labc test")
        go, done = threading.Event(), threading.Event()

        def work() -> None:
            go.wait()
            done.set()

        task = begin(pool, work)
        await turns()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go.set()
        assert await pool.run(contextvars.copy_context(), done.is_set)
        pool.close()
        await pool.ended(5.0)

    run(main)


@pytest.mark.parametrize(
    "error", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError, StopAsyncIteration]
)
def test_every_error_comes_back(error: type[BaseException]) -> None:
    async def main() -> None:
        pool = Threads(1, "labc test")

        def work() -> None:
            raise error("mine")

        for _ in range(3):
            caught: BaseException | None = None
            try:
                await pool.run(contextvars.copy_context(), work)
            except BaseException as raised:
                caught = raised
            assert type(caught) is error
        assert len(names()) == 1
        pool.close()
        await pool.ended(5.0)

    run(main)


def test_stop_iteration_comes_back_as_what_a_coroutine_may_raise() -> None:
    async def main() -> None:
        pool = Threads(1, "labc test")
        with pytest.raises(RuntimeError, match="StopIteration"):
            await pool.run(contextvars.copy_context(), lambda: next(iter([])))
        pool.close()
        await pool.ended(5.0)

    run(main)


def test_context_variables() -> None:
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable")

    async def main() -> None:
        pool = Threads(2, "labc test")

        def work(value: int) -> int:
            before = variable.get()
            variable.set(value)
            return before

        variable.set(1)
        assert await pool.run(contextvars.copy_context(), lambda: work(5)) == 1
        assert await pool.run(contextvars.copy_context(), lambda: work(6)) == 1
        pool.close()
        await pool.ended(5.0)

    run(main)


def test_close_does_not_wait_for_the_busy() -> None:
    begun, go = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go.wait()

    async def main() -> None:
        pool = Threads(2, "labc test")
        task = begin(pool, work)
        await until(begun.is_set)
        await pool.run(contextvars.copy_context(), lambda: None)
        pool.close()
        started = asyncio.get_running_loop().time()
        await pool.ended(0.05)
        assert 0.04 < asyncio.get_running_loop().time() - started < 1.0
        await until(lambda: len(names()) == 1)  # the idle one is gone
        task.cancel()

    run(main)
    go.set()  # after its loop is closed: it ends without a word
    for thread in threading.enumerate():
        if thread.name.startswith("labc test"):
            thread.join(5.0)
    assert not names()


def test_short_jobs_that_come_together_need_few_threads() -> None:
    async def main() -> None:
        pool = Threads(100, "labc test")
        used = await asyncio.gather(*(begin(pool, lambda: threading.current_thread().name) for _ in range(500)))
        assert len(set(used)) < 20
        pool.close()

    run(main)


@pytest.mark.parametrize("count", [2, 50])
def test_jobs_that_wait_for_one_another_all_begin(count: int) -> None:
    async def main() -> None:
        pool = Threads(count, "labc test")
        together = threading.Barrier(count)
        await asyncio.gather(*(begin(pool, lambda: together.wait(5)) for _ in range(count)))
        pool.close()

    run(main)


def test_the_loop_turns_while_many_more_jobs_wait_than_there_are_threads() -> None:
    """However often help was called for."""

    async def main() -> None:
        pool = Threads(4, "labc test")
        go = threading.Event()
        jobs = [begin(pool, lambda: go.wait(5)) for _ in range(50)]
        for _ in range(100):
            await asyncio.sleep(0)
            pool._look_again()
        go.set()
        assert await asyncio.gather(*jobs) == [True] * 50
        pool.close()

    run(main)


def test_a_job_is_not_held_up_by_a_long_one_before_it() -> None:
    async def main() -> None:
        pool = Threads(4, "labc test")
        go = threading.Event()
        long = begin(pool, lambda: go.wait(5))
        assert await begin(pool, lambda: go.is_set()) is False
        go.set()
        assert await long
        pool.close()

    run(main)
