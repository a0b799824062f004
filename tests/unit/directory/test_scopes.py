"""How far one place is from another, and what reaches how far."""

from __future__ import annotations

import itertools

import pytest

from labc.directory import (
    SCOPES,
    WIDEST,
    NodeRecord,
    Scope,
    check_function_name,
    check_name,
    check_scope,
    distance,
    is_narrow,
    reaches,
)
from labc.errors import NameInvalidError

HERE = NodeRecord("here", "host", "h", "me", "team")
MATE = NodeRecord("mate", "host", "h", "mate", "team")
OTHER_GROUP = NodeRecord("other", "host", "h", "other", "band")
NO_GROUP = NodeRecord("none", "host", "h", "none")
FAR = NodeRecord("far", "elsewhere", "h", "me", "team")
"""On another host of the same name, with the same group."""
AWAY = NodeRecord("away", "abroad", "h", "me", "team", away=True)
"""At another site."""

REACHED: dict[Scope, list[NodeRecord]] = {
    "node": [HERE],
    "group": [HERE, MATE],
    "host": [HERE, MATE, OTHER_GROUP, NO_GROUP],
    "network": [HERE, MATE, OTHER_GROUP, NO_GROUP, FAR],
    "wan": [HERE, MATE, OTHER_GROUP, NO_GROUP, FAR, AWAY],
}


def test_scopes_go_from_the_narrowest_to_the_widest() -> None:
    assert SCOPES == ("node", "group", "host", "network", "wan")
    assert SCOPES[-1] == WIDEST
    assert [is_narrow(scope) for scope in SCOPES] == [True, True, True, False, False]


@pytest.mark.parametrize("scope", SCOPES)
def test_whom_a_scope_reaches(scope: Scope) -> None:
    everybody = REACHED["wan"]
    assert [node for node in everybody if reaches(scope, HERE, node)] == REACHED[scope]


def test_what_reaches_one_way_reaches_the_other() -> None:
    for scope, (one, other) in itertools.product(SCOPES, itertools.permutations(REACHED["wan"], 2)):
        assert reaches(scope, one, other) == reaches(scope, other, one)


def test_a_wider_scope_reaches_all_that_a_narrower_one_does() -> None:
    for one, other in itertools.product(REACHED["wan"], repeat=2):
        reached = [reaches(scope, one, other) for scope in SCOPES]
        assert reached == sorted(reached)
        assert distance(one, other) == reached.index(True)


def test_nodes_without_a_group_are_in_no_group_together() -> None:
    assert not reaches("group", NO_GROUP, NodeRecord("x", "host", "h", "x"))
    assert reaches("group", NO_GROUP, NO_GROUP)  # itself


def test_who_is_not_believed_is_far_from_all() -> None:
    stranger = NodeRecord("", "", "h", "me")
    assert not any(reaches(scope, HERE, stranger) for scope in ("node", "group", "host"))
    assert reaches("network", HERE, stranger)
    assert not reaches("network", HERE, NodeRecord("", "", "h", "me", away=True))


def test_a_host_as_a_place_is_none_of_its_nodes() -> None:
    place = NodeRecord("", "host", "h", "")
    assert [distance(place, node) for node in (HERE, MATE, NO_GROUP, FAR, AWAY)] == [2, 2, 2, 3, 4]


@pytest.mark.parametrize("wrong", ["", "world", "HOST", " host", None, 1, ["host"], {"host"}])
def test_no_scopes(wrong: object) -> None:
    with pytest.raises(ValueError, match=r"register\(scope=.*\): expected 'node', 'group', 'host', 'network' or 'wan'"):
        check_scope(wrong, "register")


def test_names_of_the_core_are_taken() -> None:
    for name in ("core.ping", "core.", "core.x.y"):
        with pytest.raises(NameInvalidError, match="offered by every node itself"):
            check_function_name(name)
        assert check_name(name) == name  # it can be called
    for name in ("core", "score.x", "Core.x", "coreX"):
        assert check_function_name(name) == name
