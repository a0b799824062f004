"""Programs that are no labc nodes, on the same topics: plain Zenoh."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
import zenoh

import labc
from labc import fabric

pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture
def session(network: str):
    """A plain Zenoh client of this host's root."""
    labc.nodes()
    config = zenoh.Config()
    config.insert_json5("mode", '"client"')
    endpoints = [f"tcp/127.0.0.1:{port}" for port in fabric.ports.root_ports(network)]
    config.insert_json5("connect/endpoints", json.dumps(endpoints))
    config.insert_json5("scouting/multicast/enabled", "false")
    session = zenoh.open(config)
    yield session
    session.close()


def put(session: zenoh.Session, network: str, topic: str, payload: bytes | str, **options: object) -> None:
    session.put(f"labc/{network}/network/topic/{topic}", payload, **options)


PAYLOADS: list[tuple[Any, Any, Any]] = [
    ("text", zenoh.Encoding.TEXT_PLAIN, "text"),
    ("größe", zenoh.Encoding.ZENOH_STRING, "größe"),
    ('{"a": [1, 2.5, null]}', zenoh.Encoding.APPLICATION_JSON, {"a": [1, 2.5, None]}),
    ("[1", zenoh.Encoding.APPLICATION_JSON, b"[1"),
    ("[" * 5000, zenoh.Encoding.APPLICATION_JSON, b"[" * 5000),
    (b"\xff\xfe", zenoh.Encoding.TEXT_PLAIN, b"\xff\xfe"),
    (b"\x00\x01", zenoh.Encoding.ZENOH_BYTES, b"\x00\x01"),
    (b"", zenoh.Encoding.ZENOH_BYTES, b""),
    (msgspec.msgpack.encode({"a": (1, b"2")}), "application/msgpack", {"a": [1, b"2"]}),
    (b"\xc1", "application/msgpack", b"\xc1"),
]


def test_by_their_encoding(session, network, until) -> None:
    got: list[Any] = []
    labc.subscribe(lambda *args: got.append((args, labc.current_message())), topic="a/*")
    labc.nodes()
    for payload, encoding, value in PAYLOADS:
        put(session, network, "a/b", payload, encoding=zenoh.Encoding(str(encoding)))
        until(lambda: got)
        args, message = got.pop()
        assert args == (value,)
        assert type(args[0]) is type(value)
        assert message.topic == "a/b"
        assert (message.sender.node, message.time) == ("", None)
        assert str(message.sender) == "not a labc node"


def test_what_can_not_be_understood_harms_nobody(session, network, until, caplog) -> None:
    got: list[object] = []
    labc.subscribe(got.append, topic="a")
    labc.nodes()
    origin = msgspec.msgpack.encode(["host", "node", "id", 0.0, [3]])
    put(session, network, "a", b"", attachment=origin)  # its parts do not add up
    put(session, network, "a", b"\xc1\xc1\xc1", attachment=origin)
    put(session, network, "a", b"\x93\x01\x02"[:3], attachment=origin)
    put(session, network, "a", b"good")
    until(lambda: got == [b"good"])
    assert sum("can't be understood" in r.getMessage() for r in caplog.records) == 3


def test_a_plain_subscriber_hears_a_flood_of_ours(session, network, until) -> None:
    """Messages in quick succession come together, and the encoding says so."""
    got: list[tuple[str, bytes]] = []
    subscriber = session.declare_subscriber(
        f"labc/{network}/network/topic/x", lambda s: got.append((str(s.encoding), s.payload.to_bytes()))
    )

    def numbers() -> list[int]:
        found = [(encoding, msgspec.msgpack.decode(payload)) for encoding, payload in got]
        each = [message for encoding, value in found for message in (value if encoding.endswith("batch") else [value])]
        return [args[0] for args, kwargs in each]

    labc.nodes()
    until(lambda: labc.publish("x", -1) or got)
    for number in range(1000):
        labc.publish("x", number)
    until(lambda: 999 in numbers())
    assert [number for number in numbers() if number >= 0] == list(range(1000))
    assert {encoding for encoding, _ in got} == {"application/msgpack", "application/msgpack;batch"}
    subscriber.undeclare()


def test_a_plain_subscriber_understands_json_of_us(session, network, until) -> None:
    """What labc publishes can at least be seen and counted; its encoding says what it is."""
    got = []
    subscriber = session.declare_subscriber(f"labc/{network}/network/topic/**", lambda s: got.append(s))
    labc.nodes()
    until(lambda: labc.publish("x/y", 1) or got)
    assert str(got[0].encoding) == "application/msgpack"
    assert msgspec.msgpack.decode(got[0].payload.to_bytes()) == [[1], {}]
    subscriber.undeclare()


def test_what_is_on_no_single_topic_is_on_none(session, network, until) -> None:
    got: list[Any] = []
    for topic in ("ticks", "exam/*"):
        labc.subscribe(lambda text: got.append((labc.current_message().topic, text)), topic=topic)
    labc.nodes()
    for key in ("tick$*", "*", "**", "exam/x%2Fy", "exam/*"):
        put(session, network, key, key, encoding=zenoh.Encoding.ZENOH_STRING)
    session.put("labc/*/network/topic/ticks", "any network", encoding=zenoh.Encoding.ZENOH_STRING)
    for key in ("ticks", "exam/x%20y"):
        put(session, network, key, "end", encoding=zenoh.Encoding.ZENOH_STRING)
    until(lambda: len(got) >= 2)
    assert sorted(got) == [("exam/x y", "end"), ("ticks", "end")]
    assert labc.here.call("core.stats")["topics"]["undecodable"] >= 5
