"""What a generator gave, and may change when it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy
import pytest

from labc.functions.carrying import carried
from labc.wire import Body

SIZE = 100_000


def is_copied(array: Any, body: Body) -> bool:
    return not numpy.shares_memory(array, numpy.frombuffer(body.buffers[0], numpy.uint8))


def keep(arrays: list[Any]) -> Iterator[Any]:
    arrays.append(numpy.zeros(SIZE, numpy.uint8))
    yield arrays[0]


def give_away(seen: list[int]) -> Iterator[Any]:
    array = numpy.zeros(SIZE, numpy.uint8)
    seen.append(array.ctypes.data)
    del array
    yield numpy.zeros(SIZE, numpy.uint8)


async def give_away_aio() -> AsyncIterator[Any]:
    yield numpy.zeros(SIZE, numpy.uint8)


def test_what_the_generator_keeps_is_copied() -> None:
    arrays: list[Any] = []
    for value in keep(arrays):
        body = carried(value, "x")
        assert is_copied(arrays[0], body)


@pytest.mark.parametrize("shape", [list, tuple, lambda arrays: {"a": arrays[0]}])
def test_also_within_others(shape: Any) -> None:
    array = numpy.zeros(SIZE, numpy.uint8)
    for value in iter([shape([array])]):
        assert is_copied(array, carried(value, "x"))


def test_what_it_gives_away_is_not() -> None:
    bodies = []
    for value in give_away([]):
        bodies.append(carried(value, "x"))
        assert not is_copied(value, bodies[-1])


def test_nor_by_an_async_generator() -> None:
    async def main() -> None:
        async for value in give_away_aio():
            body = carried(value, "x")
            assert not is_copied(value, body)

    asyncio.run(main())


def test_a_view_is_copied() -> None:
    whole = numpy.zeros(2 * SIZE, numpy.uint8)
    for value in (whole[:SIZE] for _ in range(1)):
        assert is_copied(whole, carried(value, "x"))


def test_what_nobody_can_write_to_is_not() -> None:
    array = numpy.zeros(SIZE, numpy.uint8)
    array.flags.writeable = False
    assert not is_copied(array, carried(array, "x"))
    data = bytes(SIZE)
    assert carried(data, "x").buffers[0].obj is data


def test_a_bytearray_is_copied() -> None:
    data = bytearray(SIZE)
    body = carried(data, "x")
    data[:] = b"1" * SIZE
    assert not bytes(body.buffers[0]).strip(bytes(1))
