"""What roots tell to anybody: never more than was asked, and understood by all versions."""

from __future__ import annotations

import msgspec
import pytest

from labc.discovery.datagrams import Datagram, encode, network_digest
from labc.discovery.description import (
    ANY_NETWORK,
    Description,
    asks_who_is_there,
    asks_who_you_are,
    described,
    description_in,
    who_are_you,
    who_is_there,
)

TOKEN = b"a token!"
ABOUT = Description(
    protocol=1,
    digest=network_digest("lab1"),
    root_id="1abc",
    port=55555,
    time=1.5,
    keyed=False,
    host="bench",
    network="lab1",
    version="0.1.0",
    methods=["scan"],
)


def test_there_and_back() -> None:
    assert asks_who_is_there(who_is_there(TOKEN)) == TOKEN
    assert asks_who_you_are(who_are_you(TOKEN)) == TOKEN
    assert description_in(described(TOKEN, ABOUT), TOKEN) == ABOUT


def test_what_is_something_else() -> None:
    ask = encode(Datagram(False, network_digest("lab1"), 55555, TOKEN, "00" * 16))
    assert asks_who_is_there(ask) is None
    assert asks_who_is_there(encode(Datagram(True, ANY_NETWORK, 55555, TOKEN, "00" * 16))) is None
    assert asks_who_you_are(ask) is None
    assert asks_who_you_are(who_are_you(TOKEN)[:-1]) is None, "what is shorter than the answer gets none"
    assert asks_who_you_are(described(TOKEN, ABOUT).ljust(900)) is None
    assert description_in(described(b"another!", ABOUT), TOKEN) is None


@pytest.mark.parametrize("content", [b"", b"\x80", b"\xff", b"\xa2\x00\x80", b"\x81\xa4host\xa2\x00\x80"])
def test_an_answer_that_is_garbage(content: bytes) -> None:
    head = described(TOKEN, ABOUT)[:14]
    assert description_in(head + content, TOKEN) is None


def test_a_later_version_is_understood() -> None:
    told = msgspec.msgpack.encode({**msgspec.to_builtins(ABOUT), "digest": ABOUT.digest, "protocol": 7, "new": [1]})
    data = bytearray(described(TOKEN, ABOUT)[:14] + told)
    data[4] = 9  # the version of datagrams
    found = description_in(bytes(data), TOKEN)
    assert found is not None
    assert found.protocol == 7


def test_the_answer_is_never_longer_than_the_ask() -> None:
    name = "ж" * 127
    methods = ["multicast", "remembered", "hosts", "scan"]
    long = msgspec.structs.replace(ABOUT, host=name, network=name, methods=methods, root_id="1abc" * 8)
    assert len(described(TOKEN, long)) <= len(who_are_you(TOKEN))
    longest = msgspec.structs.replace(long, host="ж" * 5000)
    assert len(described(TOKEN, longest)) <= len(who_are_you(TOKEN))
