import random

from hypothesis import given
from hypothesis import strategies as st

from labc.wire.ids import MAX_GAPS, UsedIds


def test_ids_in_order() -> None:
    ids = UsedIds(1)
    assert [ids.use(n) for n in (1, 3, 5)] == [True] * 3
    assert [ids.use(n) for n in (1, 3, 5)] == [False] * 3
    assert [ids.was_used(n) for n in (0, 1, 2, 5, 6, 7)] == [False, True, False, True, False, False]


def test_ids_of_the_other_side_and_zero_are_refused() -> None:
    ids = UsedIds(2)
    assert not any(ids.use(n) for n in (0, 1, 3, -2))
    assert ids.use(2)


def test_a_jump_costs_one_gap() -> None:
    ids = UsedIds(1)
    assert ids.use(2**63 + 1)
    assert ids.use(12345)
    assert not ids.use(12345)
    assert ids.was_used(12345)
    assert not ids.was_used(12343)


def test_gaps_are_bounded_and_the_oldest_count_as_used() -> None:
    ids = UsedIds(1)
    for n in range(MAX_GAPS + 10):
        assert ids.use(3 + 4 * n)
    assert not ids.use(1)
    assert ids.use(1 + 4 * (MAX_GAPS + 5))


def test_splitting_a_gap_is_bounded_too() -> None:
    ids = UsedIds(1)
    assert ids.use(1_000_001)
    for n in range(5, 4 * MAX_GAPS + 1000, 4):
        assert ids.use(n)
    assert len(ids._gaps) == MAX_GAPS


@given(st.permutations(range(1, 41, 2)), st.integers(0, 1000))
def test_every_id_can_be_used_once_in_any_order(order: list[int], seed: int) -> None:
    ids = UsedIds(1)
    used = set()
    noise = random.Random(seed)
    for id in order:
        assert ids.use(id)
        used.add(id)
        other = noise.randrange(0, 45)
        assert ids.was_used(other) == (other in used)
        if other in used:
            assert not ids.use(other)
