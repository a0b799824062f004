"""Who may do what, by the lines of the setting: patterns, which line decides, and who is meant."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from labc.directory import Access, Here, Who
from labc.settings import VERBS, Verb

OPEN = Here("computer1")
KEYED = Here("computer1", "bench1", 0)
PLACE = "labc.toml, line 4"


def access(
    lines: Mapping[str, str], here: Here = OPEN, aliases: Mapping[str, str] | None = None, place: str = PLACE
) -> Access:
    made = Access(lines, dict.fromkeys(lines, place), aliases or {}, here)
    made.learn({"bench1": ["10.0.0.5"], "bench2": ["10.0.0.6", "fd00::6"]}, ["10.0.0.1", "192.168.7.1"])
    return made


def may(made: Access, verb: Verb, name: str, who: Who) -> bool:
    return made.rule_against(verb, name, who) is None


STRANGER = Who(address="10.0.0.66")
BENCH1 = Who(address="10.0.0.5")
LOCAL = Who(within_host=True)


@pytest.mark.parametrize("verb", VERBS)
def test_without_lines_everybody_may_everything(verb: Verb) -> None:
    assert may(access({}), verb, "lights.on", Who())
    assert not access({})


@pytest.mark.parametrize(
    ("pattern", "name", "takes"),
    [
        ("lights.on", "lights.on", True),
        ("lights.on", "lights.onward", False),
        ("lights.on", "lightsXon", False),
        ("lights.*", "lights.on", True),
        ("lights.*", "lights.hall.on", True),
        ("lights.*", "lights.", True),
        ("lights.*", "lights", False),
        ("lights.*", "lights.on/off", False),
        ("lights*", "lights/on", False),
        ("*.on", "lights.on", True),
        ("l*s.*n", "lights.on", True),
        ("lights/*", "lights/on", True),
        ("lights/*", "lights/hall/on", False),
        ("lights/**", "lights", True),
        ("lights/**", "lights/hall/on", True),
        ("lights/**", "lightshow/on", False),
        ("**/on", "on", True),
        ("**/on", "lights/hall/on", True),
        ("a/**/b", "a/b", True),
        ("a/**/b", "a/x/y/b", True),
        ("a/**/**/b", "a/x/b", True),
        ("a/**/b", "a/xb", False),
        ("**", "anything", True),
        ("**", "any/thing at.all", True),
        ("a?[b]", "a?[b]", True),
        ("a?[b]", "axb", False),
        ("größe", "größe", True),
    ],
)
def test_patterns(pattern: str, name: str, takes: bool) -> None:
    assert may(access({pattern: "nobody"}), "call", name, STRANGER) is not takes


def test_each_verb_apart() -> None:
    made = access({"call a": "nobody", "publish b": "nobody", "subscribe c": "nobody", "d": "nobody"})
    refused = {(verb, name) for verb in VERBS for name in "abcd" if not may(made, verb, name, BENCH1)}
    assert refused == {("call", "a"), ("publish", "b"), ("subscribe", "c"), *((verb, "d") for verb in VERBS)}


@pytest.mark.parametrize(
    ("lines", "allowed"),
    [
        ({"**": "nobody", "lights.*": "bench1"}, True),
        ({"lights.*": "bench1", "**": "nobody"}, True),
        ({"lights.*": "nobody", "lights.on": "bench1"}, True),
        ({"lights.*": "bench1", "lights.on": "nobody"}, False),
        ({"call **": "nobody", "lights.*": "bench1"}, True),
        ({"lights.on": "nobody", "call lights.on": "bench1"}, True),
        ({"lights.on": "bench1", "call lights.on": "nobody"}, False),
        ({"lights.on": "bench1", "publish lights.on": "nobody"}, True),
        # As many letters, as exact in the verb: both have to allow it.
        ({"lights.o*": "bench1", "*ights.on": "nobody"}, False),
        ({"lights.o*": "bench1", "*lights.o": "nobody"}, True),
        ({"*ights.on": "bench1", "lights.o*": "bench1, localhost"}, True),
    ],
)
def test_which_line_decides(lines: dict[str, str], allowed: bool) -> None:
    assert may(access(lines), "call", "lights.on", BENCH1) is allowed


@pytest.mark.parametrize(
    ("people", "who", "allowed"),
    [
        ("everybody", Who(), True),
        ("nobody", LOCAL, False),
        ("localhost", LOCAL, True),
        ("localhost", BENCH1, False),
        ("127.0.0.1", LOCAL, True),
        ("127.0.0.1", Who(address="127.0.0.1"), True),
        ("10.0.0.5", BENCH1, True),
        ("10.0.0.5", Who(address="::ffff:10.0.0.5"), True),
        ("10.0.0.5", Who(address="10.0.0.50"), False),
        ("10.0.0.5", Who(), False),
        ("::ffff:10.0.0.5", BENCH1, True),
        ("::ffff:10.0.0.0/120", STRANGER, True),
        ("::ffff:10.0.1.0/120", STRANGER, False),
        ("10.0.0.0/24", STRANGER, True),
        ("10.0.0.9/24", STRANGER, True),
        ("10.0.1.0/24", STRANGER, False),
        ("10.0.0.0/24", LOCAL, True),
        ("10.0.1.0/24", LOCAL, False),
        ("fd00::/64", Who(address="fd00::6%eth0"), True),
        ("fd00::/64", STRANGER, False),
        ("bench1", BENCH1, True),
        ("Bench1", BENCH1, True),
        ("bench1", STRANGER, False),
        ("bench1", Who(), False),
        ("bench1", LOCAL, False),
        ("bench1", Who(address="10.0.0.66", certificate="bench1"), False),
        ("bench2", Who(address="fd00::6"), True),
        ("unknown", Who(), False),
        ("computer1", LOCAL, True),
        ("computer1", STRANGER, False),
        ("door", Who(address="10.0.0.9"), True),
        ("desk", BENCH1, True),
        ("me", LOCAL, True),
        ("bench2, 10.0.0.66", STRANGER, True),
        ("seat 0", LOCAL, False),
    ],
)
def test_who_is_meant_on_an_open_network(people: str, who: Who, allowed: bool) -> None:
    aliases = {"Door": "10.0.0.9", "desk": "bench1", "me": "localhost"}
    assert may(access({"echo": people}, OPEN, aliases), "call", "echo", who) is allowed


@pytest.mark.parametrize(
    ("people", "who", "allowed"),
    [
        ("bench2", Who(address="10.0.0.66", certificate="bench2", seat=3), True),
        ("Bench2", Who(address="10.0.0.66", certificate="bench2", seat=3), True),
        ("bench2", Who(address="10.0.0.6", certificate="bench3", seat=4), False),
        ("bench2", Who(), False),
        ("seat 3", Who(address="10.0.0.66", certificate="bench2", seat=3), True),
        ("seat 3", Who(address="10.0.0.66", certificate="bench2", seat=4), False),
        ("seat 3", Who(), False),
        ("10.0.0.66", Who(address="10.0.0.66", certificate="bench2", seat=4), True),
        ("bench1", LOCAL, True),
        ("seat 0", LOCAL, True),
        # Another user of this computer, with a membership of his own.
        ("bench1", Who(within_host=True, certificate="guest", seat=7), False),
        ("localhost", Who(within_host=True, certificate="guest", seat=7), True),
        ("computer1", LOCAL, False),
    ],
)
def test_who_is_meant_on_a_keyed_network(people: str, who: Who, allowed: bool) -> None:
    assert may(access({"echo": people}, KEYED), "call", "echo", who) is allowed


def test_whose_addresses_have_to_be_looked_up() -> None:
    lines = {"a": "everybody", "b": "localhost, Bench1, 10.0.0.0/8, seat 4", "c": "door, desk", "d": "nobody"}
    aliases = {"door": "10.0.0.9", "desk": "bench2"}
    assert access(lines, OPEN, aliases).names == {"bench1", "bench2"}
    assert access(lines, KEYED, aliases).names == set()


def test_the_rule_is_named_with_its_place() -> None:
    rule = access({"call lights.*": "bench1"}).rule_against("call", "lights.on", STRANGER)
    assert rule is not None
    assert '"call lights.*"' in rule
    assert PLACE in rule


def test_what_is_limited() -> None:
    made = access({"publish a/**": "bench1", "subscribe b/**": "everybody", "a/free": "everybody"})
    assert made.limits("publish", "a/x")
    assert not made.limits("subscribe", "a/x")
    assert not made.limits("subscribe", "b/x")
    assert not made.limits("publish", "a/free")
    assert not made.limits("publish", "c")


@pytest.mark.parametrize(
    ("lines", "who", "allowed"),
    [
        ({}, STRANGER, False),
        ({}, Who(), False),
        ({}, LOCAL, True),
        ({"**": "everybody"}, STRANGER, False),
        ({"call **": "everybody"}, STRANGER, False),
        ({"core.host.*": "bench1"}, BENCH1, True),
        ({"core.host.*": "bench1"}, STRANGER, False),
        ({"core.host.*": "bench1"}, LOCAL, False),
        ({"core.*": "everybody"}, STRANGER, True),
        ({"other.*": "everybody"}, STRANGER, False),
    ],
)
def test_what_can_harm_the_computer_on_an_open_network(lines: dict[str, str], who: Who, allowed: bool) -> None:
    rule = access(lines).rule_against("call", "core.host.stop", who, dangerous=True)
    assert (rule is None) is allowed


def test_what_can_harm_the_computer_on_a_keyed_network() -> None:
    member = Who(address="10.0.0.66", certificate="bench2", seat=3)
    assert access({}, KEYED).rule_against("call", "core.host.stop", member, dangerous=True) is None
    limited = access({"core.host.*": "bench1"}, KEYED)
    assert limited.rule_against("call", "core.host.stop", member, dangerous=True) is not None


def test_who_is_told_apart_in_the_log() -> None:
    assert str(LOCAL) == "this computer"
    assert str(STRANGER) == "10.0.0.66"
    assert str(Who(address="10.0.0.6", certificate="bench2", seat=3)) == "bench2 (10.0.0.6)"
    assert "can't be identified" in str(Who())


def test_names_made_up_without_end_take_no_memory_without_end() -> None:
    made = access({"**": "bench1"})
    for number in range(10_000):
        assert not may(made, "call", f"name{number}", STRANGER)
    assert len(made._decided) <= 4096
