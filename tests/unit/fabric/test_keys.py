from __future__ import annotations

from dataclasses import replace

import pytest
import zenoh
from hypothesis import given
from hypothesis import strategies as st

from labc.directory import NodeRecord, matches
from labc.fabric import Keys
from labc.fabric.keys import escape, unescape

names = st.text(st.characters(exclude_categories=["C", "Z"]) | st.sampled_from("/*?#$@% "), min_size=1, max_size=40)
record = NodeRecord("0123456789abcdef", "fedcba9876543210", "lab 1/2", "naïve*node")
member = NodeRecord("0123456789abcdef", "fedcba9876543210", "lab 1/2", "naïve*node", "8c1f")
"""The same in a group."""
levels = st.text(st.sampled_from("a*/ü$@"), min_size=1, max_size=3).filter(lambda t: "/" not in t and "*" not in t)


@given(names)
def test_any_name_is_one_level_of_a_key(name: str) -> None:
    assert "/" not in escape(name)
    assert unescape(escape(name)) == name
    zenoh.KeyExpr(f"labc/{escape(name)}/x")


@given(names, names)
def test_keys_tell_what_they_were_made_of(network: str, name: str) -> None:
    keys = Keys(network)
    assert keys.parse_node(keys.node(record)) == record
    assert keys.parse_node(keys.node(member)) == member
    assert keys.parse_function(keys.function(name, record)) == (name, record.host_id, record.id)
    assert keys.parse_narrow(keys.narrow("5d1e", record)) == (record.host_id, "5d1e", record.id)
    assert keys.parse_near(keys.near(record, 7)) == (record.id, record.host_id, "7")
    assert keys.parse_hold(keys.hold(record.id, name)) == (record.id, name)
    assert keys.parse_goodbye(keys.goodbye(record.id)) == record.id
    assert keys.parse_relay(keys.relay("to", "from", "lane")) == ("from", "lane")


@given(names)
def test_what_passes_routers_has_keys_of_its_own(network: str) -> None:
    """All of them, and nothing else, under one prefix, which a router is told to let pass."""
    inside, wide = Keys(network), Keys(network, "wan")
    passing = zenoh.KeyExpr(f"{wide.base}/**")
    for keys, passes in ((inside, False), (wide, True)):
        everything = [keys.node(record), keys.all_nodes, keys.topic("**"), keys.ask_all, keys.all_offers, keys.trust]
        for key in [*everything, keys.relays_to("x"), keys.all_takers, keys.all_goodbyes, keys.roots]:
            assert passing.includes(zenoh.KeyExpr(key)) == passes
            assert passing.intersects(zenoh.KeyExpr(key)) == passes
    parsed = wide.parse_node(wide.node(member))
    assert parsed is not None
    assert parsed.away
    assert parsed == replace(member, away=True)
    assert wide.parse_node(inside.node(member)) is None


@given(names, names)
def test_networks_do_not_see_each_other(first: str, second: str) -> None:
    if first == second:
        return
    everything = zenoh.KeyExpr(f"{Keys(first).base}/**")
    assert not everything.intersects(zenoh.KeyExpr(Keys(second).node(record)))


def test_keys_of_others_are_not_taken_for_ours() -> None:
    keys = Keys("lab")
    for key in ("labc/lab/network/node/short", "other/key", "labc/lab/network/node/a/b/c/d/e/f"):
        assert keys.parse_node(key) is None
    assert keys.parse_function("labc/lab/network/function/a") is None
    assert keys.parse_goodbye("labc/lab/network/goodbye/a/b") is None
    assert keys.parse_narrow("labc/lab/network/narrow/a/b") is None
    assert keys.parse_near("labc/lab/network/taker/near/a") is None
    assert keys.parse_near(keys.hold(record.id, "topic")) is None
    assert keys.parse_hold(keys.near(record, 1)) is None


def test_what_is_narrow_is_watched_for_one_host_and_one_digest_and_is_no_offer_to_the_network() -> None:
    keys = Keys("lab")
    token = zenoh.KeyExpr(keys.narrow("5d1e", record))
    assert zenoh.KeyExpr(keys.narrow_offers_of("5d1e", record.host_id)).includes(token)
    assert not zenoh.KeyExpr(keys.narrow_offers_of("0000", record.host_id)).intersects(token)
    assert not zenoh.KeyExpr(keys.narrow_offers_of("5d1e", "another")).intersects(token)
    assert not zenoh.KeyExpr(keys.all_offers).intersects(token)
    assert not zenoh.KeyExpr(keys.all_takers).intersects(token)


@pytest.mark.parametrize("key", ["a/*", "a/**", "a/b$*", "$*", "exam/x%2Fy", "exam/%2f"])
def test_keys_that_are_no_single_topic(key: str) -> None:
    """Subscribers of several topics would get what is put there, and nobody could say by which rights."""
    keys = Keys("lab")
    assert keys.parse_topic(f"{keys.base}/topic/{key}") is None


def test_keys_that_are_in_no_topic() -> None:
    keys = Keys("lab")
    for key in ("labc/*/network/topic/a", "labc/**", "labc/lab/network/*/a", "labc/lab/network/topic"):
        assert keys.parse_topic(key) is None
    assert keys.parse_topic(f"{keys.base}/topic/a@b/%78") == "a@b/x"


def test_who_takes_what_is_watched_at_once() -> None:
    keys = Keys("lab")
    for token in (keys.hold(record.id, "a/b"), keys.near(record, 1)):
        assert zenoh.KeyExpr(keys.all_takers).includes(zenoh.KeyExpr(token))


@given(
    st.lists(levels, min_size=1, max_size=3),
    st.lists(levels | st.just("*") | st.just("**"), min_size=1, max_size=3),
)
def test_the_engine_matches_topics_as_we_do(topic_levels: list[str], pattern_levels: list[str]) -> None:
    keys = Keys("lab")
    topic, pattern = "/".join(topic_levels), "/".join(pattern_levels)
    expression = zenoh.KeyExpr(keys.topic(pattern))  # which takes the canonical form only
    assert expression.intersects(zenoh.KeyExpr(keys.topic(topic))) == matches(pattern, topic)
    assert keys.parse_topic(keys.topic(topic)) == topic
