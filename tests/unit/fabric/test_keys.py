from __future__ import annotations

import zenoh
from hypothesis import given
from hypothesis import strategies as st

from labc.directory import NodeRecord, matches
from labc.fabric import Keys
from labc.fabric.keys import escape, unescape

names = st.text(st.characters(exclude_categories=["C", "Z"]) | st.sampled_from("/*?#$@% "), min_size=1, max_size=40)
record = NodeRecord("0123456789abcdef", "fedcba9876543210", "lab 1/2", "naïve*node")
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
    assert keys.parse_function(keys.function(name, record)) == (name, record.host_id, record.id)
    assert keys.parse_hold(keys.hold(record.id, name)) == (record.id, name)
    assert keys.parse_goodbye(keys.goodbye(record.id)) == record.id
    assert keys.parse_relay(keys.relay("to", "from", "lane")) == ("from", "lane")


@given(names, names)
def test_networks_do_not_see_each_other(first: str, second: str) -> None:
    if first == second:
        return
    everything = zenoh.KeyExpr(f"{Keys(first).base}/**")
    assert not everything.intersects(zenoh.KeyExpr(Keys(second).node(record)))


def test_keys_of_others_are_not_taken_for_ours() -> None:
    keys = Keys("lab")
    for key in ("labc/lab/network/node/short", "other/key", "labc/lab/network/node/a/b/c/d/e"):
        assert keys.parse_node(key) is None
    assert keys.parse_function("labc/lab/network/function/a") is None
    assert keys.parse_goodbye("labc/lab/network/goodbye/a/b") is None


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
