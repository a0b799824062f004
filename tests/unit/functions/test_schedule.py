"""Which item goes to which worker, and which result comes next, without any of them."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labc.directory import NodeRecord
from labc.errors import CarryError, PeerLostError, RemoteError
from labc.functions.schedule import Item, Result, Schedule, Worker
from labc.wire import Body, encode

NOTHING = encode(None)
LOST = PeerLostError("w", "killed", ran="maybe")


def node(name: str) -> NodeRecord:
    return NodeRecord(f"id-{name}", "h", "host", name)


def schedule(
    *workers: str,
    window: int = 2,
    retry: int = 3,
    ordered: bool = True,
    ahead: int = 1000,
    ahead_bytes: int = 1000,
) -> Schedule:
    made = Schedule(window=window, retry=retry, ordered=ordered, ahead=ahead, ahead_bytes=ahead_bytes)
    made.set_workers([node(name) for name in workers])
    return made


def add(plan: Schedule, count: int) -> None:
    for _ in range(count):
        plan.add(NOTHING)


def assigned(plan: Schedule) -> list[tuple[Worker, Item]]:
    return list(plan.assign())


def names(pairs: list[tuple[Worker, Item]]) -> list[tuple[str, int]]:
    return [(worker.node.name, item.index) for worker, item in pairs]


def indices(results: list[Result]) -> list[int]:
    return [result.index for result in results]


def answer(plan: Schedule, pair: tuple[Worker, Item], size: int = 0) -> list[int]:
    return indices(plan.answered(*pair, NOTHING, size))


def test_each_gets_one_before_any_gets_two_and_the_next_with_each_answer() -> None:
    plan = schedule("a", "b")
    add(plan, 6)
    pairs = assigned(plan)
    assert names(pairs) == [("a", 0), ("b", 1), ("a", 2), ("b", 3)]
    assert assigned(plan) == []
    answer(plan, pairs[3])
    assert names(assigned(plan)) == [("b", 4)]
    answer(plan, pairs[0])
    assert names(assigned(plan)) == [("a", 5)]


def test_results_in_the_order_of_the_items() -> None:
    plan = schedule("a", window=4)
    add(plan, 4)
    pairs = assigned(plan)
    assert answer(plan, pairs[2]) == []
    assert answer(plan, pairs[0]) == [0]
    assert indices(plan.failed(*pairs[1], RemoteError("ValueError", "no"))) == [1, 2]
    assert plan.failures == 1
    plan.all_read()
    assert not plan.over
    assert answer(plan, pairs[3]) == [3]
    assert plan.over
    assert plan.shares == {"a": 4}


def test_results_as_they_finish() -> None:
    plan = schedule("a", window=4, ordered=False)
    add(plan, 3)
    first, second, third = assigned(plan)
    assert answer(plan, third) == [2]
    assert answer(plan, first) == [0]
    assert answer(plan, second) == [1]


def test_what_cannot_be_carried_has_its_place_in_the_order() -> None:
    plan = schedule("a")
    add(plan, 1)
    error = CarryError("items[1]", "it can't")
    assert plan.add_failed(error) == []
    (pair,) = assigned(plan)
    first, second = plan.answered(*pair, NOTHING, 0)
    assert (first.index, second.index) == (0, 1)
    assert second.error is error
    assert second.node is None


def test_an_item_that_was_lost_is_the_next_for_another() -> None:
    plan = schedule("a", "b", window=1)
    add(plan, 3)
    lost, other = assigned(plan)
    plan.set_workers([node("b")])
    assert plan.lost(*lost, LOST) == []
    assert assigned(plan) == []
    assert answer(plan, other) == []
    (again,) = assigned(plan)
    assert names([again]) == [("b", 0)]
    assert answer(plan, again) == [0, 1]


@pytest.mark.parametrize("retry", [0, 2])
def test_an_item_that_is_lost_once_too_often_fails(retry: int) -> None:
    plan = schedule("a", window=1, retry=retry)
    add(plan, 1)
    for _ in range(retry):
        (pair,) = assigned(plan)
        assert plan.lost(*pair, LOST) == []
    (pair,) = assigned(plan)
    (result,) = plan.lost(*pair, LOST)
    assert result.error is LOST
    plan.all_read()
    assert plan.over


def test_what_came_back_goes_to_another_and_its_place_stays_empty_for_a_while() -> None:
    plan = schedule("a", "b", window=1)
    add(plan, 3)
    (a, first), pair = assigned(plan)
    plan.came_back(a, first)
    assert assigned(plan) == []
    answer(plan, pair)
    assert names(assigned(plan)) == [("b", 0)]
    plan.rested(a)
    assert names(assigned(plan)) == [("a", 2)]


def test_it_is_stalled_when_items_wait_and_nobody_is_at_work() -> None:
    plan = schedule("a", window=1)
    assert not plan.stalled
    add(plan, 2)
    ((worker, item),) = assigned(plan)
    assert not plan.stalled
    plan.came_back(worker, item)
    assert plan.stalled
    assert plan.has_workers
    plan.set_workers([])
    assert plan.stalled
    assert not plan.has_workers
    plan.set_workers([node("b")])
    assigned(plan)
    assert not plan.stalled


def test_a_worker_that_comes_back_with_items_gets_no_more_than_its_window() -> None:
    plan = schedule("a", window=2)
    add(plan, 9)
    pairs = assigned(plan)
    for _ in range(3):  # now it is there, now it is not
        plan.set_workers([])
        plan.set_workers([node("a")])
        assert assigned(plan) == []
    answer(plan, pairs[0])
    assert names(assigned(plan)) == [("a", 2)]
    plan.set_workers([])
    answer(plan, pairs[1])
    assert assigned(plan) == []


def test_no_more_is_read_than_keeps_the_workers_busy() -> None:
    plan = schedule("a", "b", window=3)
    assert plan.wanted == 6
    add(plan, 6)
    assert plan.wanted == 0
    pairs = assigned(plan)
    assert plan.wanted == 6
    add(plan, 6)
    assert plan.wanted == 0
    answer(plan, pairs[0])
    assert plan.wanted == 0
    assigned(plan)
    assert plan.wanted == 1
    plan.all_read()
    assert plan.wanted == 0


def test_workers_of_one_name_are_told_apart() -> None:
    plan = Schedule(window=1, retry=0, ordered=True, ahead=9, ahead_bytes=9)
    plan.set_workers([NodeRecord("1234567", "h", "host", "w"), NodeRecord("89abcde", "g", "other", "w"), node("x")])
    add(plan, 3)
    for pair in assigned(plan):
        answer(plan, pair)
    assert plan.shares == {"w on host (1234)": 1, "w on other (89ab)": 1, "x": 1}


def test_a_worker_that_rests_rests_on_when_it_was_gone_meanwhile() -> None:
    plan = schedule("a", window=1)
    add(plan, 1)
    ((worker, item),) = assigned(plan)
    plan.came_back(worker, item)
    plan.set_workers([])
    plan.set_workers([node("a")])
    assert assigned(plan) == []
    plan.rested(worker)
    assert names(assigned(plan)) == [("a", 0)]


def test_a_window_beyond_all_bounds_costs_nothing() -> None:
    plan = schedule("a", window=10**9, ahead=10)
    assert plan.wanted == 10


def test_something_is_read_also_while_there_is_nobody() -> None:
    """So that it is known whether there is anything to do."""
    assert schedule(window=2).wanted == 2


def test_no_more_is_read_than_the_reader_may_be_behind() -> None:
    plan = schedule("a", window=4, ahead=6)
    add(plan, 4)
    for pair in assigned(plan):
        answer(plan, pair)
    assert plan.wanted == 2
    plan.taken(3, 0)
    assert plan.wanted == 4
    add(plan, 4)
    (pair, *_) = assigned(plan)
    assert plan.wanted == 1
    answer(plan, pair, size=1000)
    assert plan.wanted == 0
    plan.taken(0, 1)
    assert plan.wanted == 1


@settings(max_examples=200, deadline=None)
@given(data=st.data(), window=st.integers(1, 3), retry=st.integers(0, 2), ordered=st.booleans())
def test_every_item_has_one_result_whatever_becomes_of_the_workers(
    data: st.DataObject, window: int, retry: int, ordered: bool
) -> None:
    plan = schedule(window=window, retry=retry, ordered=ordered, ahead=20)
    total = data.draw(st.integers(0, 30))
    at_work: list[tuple[Worker, Item]] = []
    resting: list[Worker] = []
    found: list[int] = []
    there: set[str] = set()
    read = 0

    def take(results: list[Result]) -> None:
        found.extend(indices(results))
        plan.taken(len(results), 0)

    def step(event: str) -> None:
        nonlocal read
        match event:
            case "read" if read < total and plan.wanted:
                read += 1
                if read % 7:
                    plan.add(NOTHING)
                else:
                    take(plan.add_failed(CarryError("x", "no")))
            case "come" | "go":
                name = data.draw(st.sampled_from("abc"))
                (there.add if event == "come" else there.discard)(name)
                plan.set_workers([node(each) for each in sorted(there)])
            case "rest" if resting:
                plan.rested(resting.pop())
            case "answer" | "lose" | "return" if at_work:
                pair = at_work.pop(data.draw(st.integers(0, len(at_work) - 1)))
                if event == "answer":
                    take(plan.answered(*pair, NOTHING, 0))
                elif event == "lose":
                    take(plan.lost(*pair, LOST))
                else:
                    plan.came_back(*pair)
                    resting.append(pair[0])
        if read == total:
            plan.all_read()
        for worker, item in plan.assign():
            assert worker.node.name in there
            at_work.append((worker, item))
        busy = Counter(worker.node.name for worker, _ in at_work)
        assert all(count <= window for count in busy.values())

    events = st.sampled_from(["read", "come", "go", "rest", "answer", "lose", "return"])
    for event in data.draw(st.lists(events, max_size=80)):
        step(event)
    there.add("a")
    plan.set_workers([node(each) for each in sorted(there)])
    for _ in range(1000):  # from here on all goes well
        if plan.over:
            break
        for event in ("read", "rest", "answer"):
            step(event)
    assert plan.over
    assert sorted(found) == list(range(total))
    assert found == sorted(found) or not ordered
    assert plan.finished == total


def test_the_arguments_stay_with_their_item() -> None:
    plan = schedule("a", window=3)
    bodies = [encode(number) for number in range(3)]
    for body in bodies:
        plan.add(body)
    assert [item.arguments for _, item in assigned(plan)] == bodies
    assert isinstance(bodies[0], Body)
