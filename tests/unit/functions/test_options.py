"""What ``at(...)`` takes."""

from __future__ import annotations

import math

import pytest

from labc.functions import Options


def test_options_are_added_to_others() -> None:
    options = Options().but(timeout=1.0, host="a").but(timeout=2.0, retry=3).but()
    assert options == Options(timeout=2.0, host="a", retry=3)
    assert options.but(retry=0) == Options(timeout=2.0, host="a")


def test_what_is_not_given_is_as_the_settings_say() -> None:
    assert Options() == Options(
        timeout=None,
        find_timeout=None,
        host=None,
        node=None,
        retry=0,
        scope=None,
        perspective=None,
        resolve=None,
        order=None,
    )


@pytest.mark.parametrize("key", ["timeout", "find_timeout"])
@pytest.mark.parametrize("value", [0, 0.0, 1, 2.5, math.inf])
def test_seconds(key: str, value: float) -> None:
    assert getattr(Options().but(**{key: value}), key) == value


@pytest.mark.parametrize("key", ["timeout", "find_timeout"])
@pytest.mark.parametrize("value", [-1, -0.1, math.nan, "2", True, [1]])
def test_no_seconds(key: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"at\({key}=.*\): expected seconds"):
        Options().but(**{key: value})


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("host", "the name, an alias or an address of a host"),
        ("node", "the name or the id of a node, or its port"),
        ("perspective", "the name of a host or of a node"),
    ],
)
@pytest.mark.parametrize("value", ["", b"a", 1.5, True, 0, 65536, -1])
def test_no_names(key: str, expected: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"at\({key}=.*\): expected {expected}"):
        Options().but(**{key: value})


@pytest.mark.parametrize("value", [1, 7447, 65535])
def test_a_port_is_for_nodes_alone(value: int) -> None:
    assert Options().but(node=value).node == value
    for key in ("host", "perspective"):
        with pytest.raises(ValueError, match=rf"at\({key}={value}\)"):
            Options().but(**{key: value})


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("scope", ["node", "group", "host", "network", "wan"]),
        ("resolve", ["nearest", "random", "round-robin"]),
        ("order", ["bottom-up", "top-down"]),
    ],
)
def test_choices(key: str, values: list[str]) -> None:
    for value in values:
        assert getattr(Options().but(**{key: value}), key) == value
    for wrong in ("", "world", "Host", 1, ["host"], b"host", True):
        with pytest.raises(ValueError, match=rf"at\({key}=.*\): expected .*{values[-1]!r}"):
            Options().but(**{key: wrong})


def test_the_route_is_all_on_which_it_depends_who_is_asked() -> None:
    options = Options(host="a", node=5, scope="host", perspective="b", resolve="random", order="top-down")
    assert options.route == ("a", 5, "host", "b", "random", "top-down")
    assert options.but(timeout=1.0, find_timeout=2.0, retry=3).route == options.route


def test_only_host_and_node_together_name_one() -> None:
    assert Options(host="a", node="b").names_one
    assert Options(host="a", node=5).names_one
    assert not Options(host="a").names_one
    assert not Options(node="b").names_one


@pytest.mark.parametrize("value", [-1, 1.0, "1", True])
def test_no_number_of_tries(value: object) -> None:
    with pytest.raises(ValueError, match="expected a whole number"):
        Options().but(retry=value)
