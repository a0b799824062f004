import random
import subprocess
import sys
import warnings
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from labels import label
from msgspec.msgpack import Ext

from labc.errors import CarryError
from labc.wire.codec import decode, encode
from labc.wire.lowering import INLINE_BYTES


def carried(value: Any) -> Any:
    body = encode(value)
    return decode(body.head, [bytearray(buffer) for buffer in body.buffers])


def assert_same(got: Any, array: Any) -> None:
    assert type(got) is np.ndarray
    assert got.dtype == array.dtype
    assert got.shape == array.shape
    assert got.tobytes() == array.tobytes()
    assert not got.flags.writeable


ARRAYS = [
    np.arange(6).reshape(2, 3),
    np.array(3.5),
    np.zeros((0, 3), "f4"),
    np.zeros((3, 0, 2)),
    np.array([True, False]),
    np.array([1 + 2j], "c8"),
    np.array([1.5, np.nan], "f2"),
    np.array(["2024-01-01", "NaT"], "M8[ns]"),
    np.array([5], "m8[25s]"),
    np.array(["ab", "ü"]),
    np.array([b"ab", b"c"]),
    np.array([1, 2], ">i4"),
    np.array([(1, b"ab", [1.0, 2.0])], [("a", "<i4"), ("b", "S3"), ("c", "f8", (2,))]),
    np.zeros(2, {"names": ["x"], "formats": ["i4"], "offsets": [4], "itemsize": 16}),
    np.zeros(2, [("inner", [("x", "i2"), ("t", "M8[us]")])]),
    np.array([b"\1\2\3"], "V3"),
    np.zeros(3, np.longdouble),
    np.zeros(4096, "i4"),
    np.zeros((64, 64, 3), "u1"),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype}{a.shape}")
def test_arrays_keep_dtype_shape_and_bytes(array: Any) -> None:
    assert_same(carried(array), array)
    assert_same(carried([(array,)])[0][0], array)


def test_large_arrays_travel_without_a_copy_on_either_side() -> None:
    array = np.arange(INLINE_BYTES, dtype="f8").reshape(64, -1)
    body = encode({"a": array})
    assert np.shares_memory(np.frombuffer(body.buffers[0], "u1"), array)
    received = bytearray(body.buffers[0])
    got = decode(body.head, [received])["a"]
    assert np.shares_memory(np.frombuffer(received, "u1"), got)
    assert_same(got, array)


def test_fortran_order_is_kept_without_a_copy() -> None:
    array = np.asfortranarray(np.arange(INLINE_BYTES, dtype="i2").reshape(64, -1))
    body = encode(array)
    assert np.shares_memory(np.frombuffer(body.buffers[0], "u1"), array)
    got = decode(body.head, body.buffers)
    assert got.flags.f_contiguous
    assert not got.flags.c_contiguous
    assert np.array_equal(got, array)


@pytest.mark.parametrize("view", [np.s_[::2], np.s_[:, ::-1], np.s_[3:9, 2:5]])
def test_views_arrive_contiguous(view: Any) -> None:
    array = np.arange(200_00).reshape(100, 200)[view]
    got = carried(array)
    assert_same(got, np.ascontiguousarray(array))
    assert got.flags.c_contiguous


def test_subclasses_arrive_as_arrays() -> None:
    records = np.zeros(2, [("x", "i4")]).view(np.recarray)
    assert_same(carried(records), np.zeros(2, [("x", "i4")]))


@pytest.mark.parametrize(
    "scalar",
    [np.float64(1.5), np.float32(1.5), np.int8(-3), np.uint64(2**64 - 1), np.bool_(True), np.complex64(1j),
     np.str_("ü"), np.str_(""), np.bytes_(b"ab"), np.datetime64("2024-01-01T00:00", "m"),
     np.timedelta64(3, "h"), np.float16(0.5)],
    ids=label,
)  # fmt: skip
def test_scalars_keep_their_type(scalar: Any) -> None:
    got = carried({"s": [scalar]})["s"][0]
    assert type(got) is type(scalar)
    assert got == scalar
    assert got.dtype == scalar.dtype


def test_structured_scalars_keep_their_fields() -> None:
    scalar = np.array([(1, 2.5)], [("a", "i4"), ("b", "f8")])[0]
    got = carried(scalar)
    assert type(got) is np.void
    assert got == scalar
    assert got["b"] == 2.5


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.array([object()]), "dtype object"),
        (np.zeros(1, [("a", "O")]), "can't be carried"),
        (np.ma.masked_array([1, 2], [True, False]), "masked array"),
        (np.zeros(100_000, []), "without size"),
    ],
)
def test_what_can_not_be_carried_is_refused_at_the_sender(array: Any, words: str) -> None:
    with pytest.raises(CarryError, match=r"^value\[1\]: ") as caught:
        encode([0, array])
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "packed",
    [
        [],
        ["<f8", [2], False, b"123"],
        ["<f8", [-1], False, b""],
        ["<f8", [2.0], False, bytes(16)],
        ["<f8", [1 << 62, 1 << 62], False, b""],
        ["<f8", [1] * 100, False, bytes(8)],
        ["|O", [1], False, bytes(8)],
        ["O", [1], False, bytes(8)],
        [[["a", "|O"]], [1], False, bytes(8)],
        ["|V0", [1 << 40], False, b""],
        ["<f8,O", [1], False, bytes(16)],
        ["<M8[zz]", [1], False, bytes(8)],
        [5, [1], False, bytes(8)],
        ["<f8", 5, False, bytes(8)],
        ["<f8", [1], False, "text"],
        ["|V99999999999", [1], False, b""],
    ],
)
def test_malformed_arrays_are_carry_errors(packed: Any) -> None:
    head = msgspec.msgpack.encode(Ext(32, msgspec.msgpack.encode(packed)))
    with pytest.raises(CarryError):
        decode(head)


@given(
    hnp.arrays(hnp.scalar_dtypes() | hnp.array_dtypes(allow_subarrays=True), hnp.array_shapes(min_dims=0, min_side=0))
)
def test_any_array_round_trips(array: Any) -> None:
    if array.dtype.itemsize:
        assert_same(carried(array), array)


def test_mutated_arrays_give_values_or_carry_errors() -> None:
    noise = random.Random(3)
    bodies = [encode(array) for array in ARRAYS]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(10_000):
            body = noise.choice(bodies)
            head = bytearray(body.head)
            head[noise.randrange(len(head))] = noise.randrange(256)
            try:
                decode(head, body.buffers)
            except CarryError:
                pass


@given(st.data())
def test_non_contiguous_slices_round_trip(data: st.DataObject) -> None:
    array = np.arange(60).reshape(3, 4, 5)
    view = array[data.draw(hnp.basic_indices(array.shape, allow_ellipsis=True))]
    if isinstance(view, np.ndarray):
        assert np.array_equal(carried(view), view)


def test_without_numpy_an_array_is_an_error_and_nothing_else_is() -> None:
    head = encode(np.zeros(3)).head
    code = (
        "import sys; sys.modules['numpy'] = None\n"
        "from labc.errors import CarryError\n"
        "from labc.wire import decode, encode\n"
        "assert decode(encode((1, {2})).head) == (1, {2})\n"
        f"try: decode({head!r})\n"
        "except CarryError as error: assert 'install numpy' in str(error), error\n"
        "else: raise AssertionError\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})


def test_numpy_is_not_imported_by_the_codec() -> None:
    code = "import sys\nfrom labc.wire import encode\nencode({1: (2,)})\nassert 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})
