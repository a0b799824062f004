"""The datagrams of discovery, byte by byte."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labc.discovery.datagrams import Datagram, decode, encode, hello, is_scout, network_digest, opened, sealed

SECRET = bytes(range(32))
ID = "1abc00112233445566778899aabbccdd"


@pytest.mark.parametrize("answer", [False, True])
def test_what_is_encoded_is_decoded(answer: bool) -> None:
    datagram = Datagram(answer, network_digest("labc"), 55555, b"12345678", ID)
    data = encode(datagram)
    assert len(data) == 40
    assert data[:6] == b"labc" + bytes([1, 2 if answer else 1])
    assert data[14:16] == (55555).to_bytes(2, "big")
    assert decode(data) == datagram
    assert decode(data + b"of a later version") == datagram


def test_others_are_not_understood() -> None:
    good = encode(Datagram(False, network_digest("labc"), 55555, bytes(8), ID))
    for bad in (b"", good[:-1], b"LABC" + good[4:], good[:4] + b"\2" + good[5:], good[:5] + b"\3" + good[6:]):
        assert decode(bad) is None
    assert decode(good[:14] + b"\0\0" + good[16:]) is None, "port 0"


def test_what_a_member_seals_another_one_opens() -> None:
    data = encode(Datagram(False, network_digest("labc"), 55555, bytes(8), ID))
    whole = sealed(data, "10.0.0.5", SECRET)
    assert len(whole) == 60
    assert whole[:44] == data + bytes([10, 0, 0, 5])
    assert opened(whole, SECRET) == (data, "10.0.0.5")


def test_the_seal_is_that_of_blake2b() -> None:
    """So that other programs can make it."""
    tag = hashlib.blake2b(b"abc\x7f\0\0\1", digest_size=16, key=SECRET, person=b"labc discovery").digest()
    assert sealed(b"abc", "127.0.0.1", SECRET) == b"abc\x7f\0\0\1" + tag


def test_nobody_else_can_seal_or_change_it() -> None:
    data = encode(Datagram(False, network_digest("labc"), 55555, bytes(8), ID))
    whole = sealed(data, "10.0.0.5", SECRET)
    assert opened(sealed(data, "10.0.0.5", bytes(32)), SECRET) is None, "another secret"
    assert opened(data, SECRET) is None, "no seal"
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1
        assert opened(bytes(changed), SECRET) is None, place
    for length in range(len(whole)):
        assert opened(whole[:length], SECRET) is None, length
    assert opened(whole + b"\0", SECRET) is None


@given(st.binary(max_size=100))
def test_nothing_that_arrives_does_harm(data: bytes) -> None:
    decode(data)
    is_scout(data)
    decode(b"labc\1\1" + data)
    assert opened(data, SECRET) is None


def test_networks_have_digests_of_their_own() -> None:
    names = ["labc", "lab", "cbal", "", "réseau", *(f"lab{number}" for number in range(1000))]
    assert len({network_digest(name) for name in names}) == len(names)


def test_a_scout_of_the_engine_is_known() -> None:
    """As a router of Zenoh 1.10.2 sends it: SCOUT, version 9, looking for routers, without its id."""
    assert is_scout(bytes([0x01, 9, 0b001]))
    assert is_scout(bytes([0x01, 9, 0b111]))
    assert not is_scout(bytes([0x01, 9, 0b010])), "it looks for peers"
    assert not is_scout(bytes([0x01, 8, 0b001])), "another version"
    assert not is_scout(bytes([0x02, 9, 0b001])), "a Hello"
    assert not is_scout(b"\x01\x09")


def test_a_hello_is_written_as_the_engine_reads_it() -> None:
    data = hello("0102030405060708090a0b0c0d0e0f10", ["tcp/10.0.0.5:55555"])
    assert data[0] == 0x22, "HELLO with locators"
    assert data[1] == 9
    assert data[2] == 0xF0, "16 bytes of id, a router"
    assert data[3:19] == bytes(range(16, 0, -1)), "the engine's ids are little-endian"
    assert data[19:] == b"\x01\x12tcp/10.0.0.5:55555"


def test_a_hello_needs_few_short_locators() -> None:
    for locators in ([], ["tcp/1.2.3.4:5"] * 9, ["x" * 101], ["tcp/é:1"]):
        with pytest.raises(ValueError):
            hello(ID, locators)
