from typing import Any

import msgspec
import pytest

from labc.errors import ProtocolError
from labc.wire.greeting import Greeting, check


def greeting(node: str, **changes: Any) -> Greeting:
    fields = {
        "network": "labc",
        "node_id": f"id-{node}",
        "node_name": node,
        "host_id": "h1",
        "host_name": "pc1",
        "labc_version": "0.1",
        "max_message_bytes": 1000,
    }
    return Greeting(**(fields | changes))


def test_it_round_trips_and_ignores_what_it_does_not_know() -> None:
    mine = greeting("a", target="id-b", features=["x"])
    assert Greeting.decode(mine.encode()) == mine
    fields = msgspec.msgpack.decode(mine.encode())
    assert Greeting.decode(msgspec.msgpack.encode(fields | {"later": [1]})) == mine


@pytest.mark.parametrize("change", [{"max_message_bytes": 0}, {"network": None}, {"features": [1]}])
def test_a_malformed_greeting_is_a_protocol_error(change: dict[str, Any]) -> None:
    fields = msgspec.msgpack.decode(greeting("a").encode())
    with pytest.raises(ProtocolError, match="the greeting can't be read"):
        Greeting.decode(msgspec.msgpack.encode(fields | change))


@pytest.mark.parametrize(
    ("caller", "callee", "words"),
    [
        (greeting("a"), greeting("b"), None),
        (greeting("a", target="id-b"), greeting("b"), None),
        (greeting("a", target="id-a"), greeting("a"), None),
        (greeting("a"), greeting("b", target="id-z"), None),
        (
            greeting("a", network="x"),
            greeting("b"),
            "a on pc1 is in the network 'x' and b on pc1 is in the network 'labc'",
        ),
        (greeting("a", target="id-z"), greeting("b"), "a on pc1 asked for node id-z, and this is node id-b: b on pc1"),
    ],
)
def test_both_sides_come_to_the_same_sentence(caller: Greeting, callee: Greeting, words: str | None) -> None:
    assert check(caller, callee, initiator=True) == words
    assert check(callee, caller, initiator=False) == words
