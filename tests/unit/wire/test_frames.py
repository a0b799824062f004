"""The numbers on the wire. They are the protocol: changing one breaks every other node."""

from labc.wire.frames import CREDIT_PAYLOAD, HEADER, MULTI_KINDS, ORDERED, PREFACE, WHOLE_KINDS, Kind


def test_preface_is_eight_bytes_with_version_one() -> None:
    assert PREFACE == b"LABC\x01\x00\x00\x00"


def test_header_is_sixteen_bytes_big_endian() -> None:
    packed = HEADER.pack(0x01020304, 0x05, 0x06, 0x0708, 0x090A0B0C0D0E0F10)
    assert packed == bytes(range(1, 17))


def test_credit_is_items_and_bytes() -> None:
    assert CREDIT_PAYLOAD.pack(1, 2) == bytes([0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2])


def test_kinds_keep_their_numbers() -> None:
    names = "HELLO GOODBYE REQUEST REPLY FAILURE CANCEL ITEM END CREDIT PING PONG CHUNK REFUSAL"
    assert {kind.name: kind.value for kind in Kind} == {name: n for n, name in enumerate(names.split(), 1)}


def test_only_data_comes_in_several_segments_and_a_chunk_never_stands_alone() -> None:
    assert MULTI_KINDS < ORDERED < WHOLE_KINDS
    assert Kind.CHUNK not in WHOLE_KINDS
    assert not MULTI_KINDS & {Kind.HELLO, Kind.GOODBYE, Kind.CANCEL, Kind.CREDIT, Kind.PING, Kind.PONG}
