"""The payload of an ITEM."""

from __future__ import annotations

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labc.errors import CarryError, ProtocolError
from labc.wire import ITEMS_HEADER, count_items, decode_items, encode, encode_items

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 70), 1 << 70) | st.text(max_size=20) | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner),
    max_leaves=5,
)


@given(st.lists(PLAIN, min_size=1, max_size=20))
def test_values_come_back_in_order(values: list[object]) -> None:
    heads = [encode(value).head for value in values]
    payload = encode_items(heads)
    assert len(payload) == ITEMS_HEADER + sum(map(len, heads))
    assert count_items(payload) == len(values)
    assert decode_items(payload, (), "x") == (values, None)


def test_one_with_buffers() -> None:
    body = encode(numpy.arange(10_000))
    [value], error = decode_items(encode_items([body.head]), body.buffers, "x")
    assert error is None
    assert (value == numpy.arange(10_000)).all()


@given(st.binary(max_size=40))
def test_garbage_is_an_error_or_values(data: bytes) -> None:
    try:
        count_items(data)
    except ProtocolError:
        return
    values, error = decode_items(data, (), "x")
    assert isinstance(values, list)
    assert error is None or isinstance(error, CarryError)


def test_one_that_cant_be_decoded_spares_those_before_it() -> None:
    values, error = decode_items(encode_items([b"\1", b"\xc7\1\x55\0", b"\2"]), (), "a value of f()")
    assert values == [1]
    assert error is not None
    with pytest.raises(CarryError, match=r"a value of f\(\): it has a type"):
        raise error
