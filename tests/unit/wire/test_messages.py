from typing import Any

import msgspec
import numpy as np
import pytest

from labc.errors import CarryError, ProtocolError
from labc.wire.messages import Request, decode_arguments, encode_arguments


def test_a_request_round_trips() -> None:
    body = encode_arguments((1, (2,)), {"x": {3}})
    request = Request("camera.grab", 2.5, msgspec.Raw(body.head), 2, True)
    got = Request.decode(request.encode())
    assert (got.name, got.timeout, got.streams, got.want_stream) == ("camera.grab", 2.5, 2, True)
    assert decode_arguments(got.arguments, body.buffers) == ((1, (2,)), {"x": {3}})


def test_fields_of_later_versions_are_ignored_and_missing_ones_have_defaults() -> None:
    got = Request.decode(msgspec.msgpack.encode(["f", None, [[], {}], 0, False, False, "later", {"more": 1}]))
    assert got.name == "f"
    assert Request.decode(msgspec.msgpack.encode(["f", None, [[], {}]])) == Request("f", None, got.arguments, 0, False)


@pytest.mark.parametrize("head", [b"", b"\x90", b"\xc0", msgspec.msgpack.encode([1, None, []]), b"\xff" * 20])
def test_a_bad_envelope_is_a_protocol_error(head: bytes) -> None:
    with pytest.raises(ProtocolError, match="a request can't be read"):
        Request.decode(head)


def test_undecodable_arguments_fail_apart_from_the_envelope() -> None:
    head = msgspec.msgpack.encode(["f", None, [[msgspec.msgpack.Ext(99, b"")], {}]])
    request = Request.decode(head)
    with pytest.raises(CarryError, match="arguments"):
        decode_arguments(request.arguments)


@pytest.mark.parametrize("value", [None, [], [[]], [[], {}, 1], [{}, []], [[], {1: 2}]])
def test_arguments_of_another_shape_are_carry_errors(value: Any) -> None:
    with pytest.raises(CarryError, match="not a list of arguments"):
        decode_arguments(msgspec.msgpack.encode(value))


def test_places_name_the_argument() -> None:
    with pytest.raises(CarryError) as caught:
        encode_arguments((1, [len]), {})
    assert caught.value.where == "args[1][0]"
    with pytest.raises(CarryError) as caught:
        encode_arguments((), {"x": [(len,)]})
    assert caught.value.where == "kwargs['x'][0][0]"


def test_arrays_travel_beside_the_arguments() -> None:
    array = np.arange(10_000)
    body = encode_arguments((array,), {"scale": array})
    assert len(body.buffers) == 2
    (first,), kwargs = decode_arguments(body.head, body.buffers)
    assert np.array_equal(first, array)
    assert np.array_equal(kwargs["scale"], array)
