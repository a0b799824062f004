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
    assert Options() == Options(timeout=None, find_timeout=None, host=None, node=None, retry=0)


@pytest.mark.parametrize("key", ["timeout", "find_timeout"])
@pytest.mark.parametrize("value", [0, 0.0, 1, 2.5, math.inf])
def test_seconds(key: str, value: float) -> None:
    assert getattr(Options().but(**{key: value}), key) == value


@pytest.mark.parametrize("key", ["timeout", "find_timeout"])
@pytest.mark.parametrize("value", [-1, -0.1, math.nan, "2", True, [1]])
def test_no_seconds(key: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"at\({key}=.*\): expected seconds"):
        Options().but(**{key: value})


@pytest.mark.parametrize("key", ["host", "node"])
@pytest.mark.parametrize("value", ["", 5, b"a"])
def test_no_names(key: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"expected the name of a {key}"):
        Options().but(**{key: value})


@pytest.mark.parametrize("value", [-1, 1.0, "1", True])
def test_no_number_of_tries(value: object) -> None:
    with pytest.raises(ValueError, match="expected a whole number"):
        Options().but(retry=value)
