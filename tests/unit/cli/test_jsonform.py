"""Every value that labc carries has a JSON form."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import numpy
import pytest
from labels import label

from labc import Record
from labc.cli.jsonform import to_json


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


@dataclass
class Point:
    x: int
    y: Any


class Box(msgspec.Struct):
    content: bytes


FORMS = [
    (None, None),
    (True, True),
    (2**80, 2**80),
    (1.5, 1.5),
    (float("nan"), "nan"),
    (float("-inf"), "-inf"),
    ((1, [2, (3,)]), [1, [2, [3]]]),
    ({3, 1, 2}, [1, 2, 3]),
    (frozenset("a"), ["a"]),
    (range(3), [0, 1, 2]),
    ({1: "a", None: "b", (1, 2): 3}, {"1": "a", "None": "b", "[1, 2]": 3}),
    (b"\0\xff\n", "AP8K"),
    (bytearray(b"x"), "eA=="),
    (memoryview(b"x"), "eA=="),
    (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05+00:00"),
    (date(2026, 1, 2), "2026-01-02"),
    (time(3, 4), "03:04:00"),
    (timedelta(minutes=1, milliseconds=500), 60.5),
    (Decimal("1.10"), "1.10"),
    (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    (Path("/a/b"), "/a/b"),
    (1 + 2j, [1.0, 2.0]),
    (Colour.RED, "red"),
    (Level.HIGH, 3),
    (Point(1, (Point(2, None),)), {"x": 1, "y": [{"x": 2, "y": None}]}),
    (Box(b"x"), {"content": "eA=="}),
    (Record("m:C", {"a": {1}}), {"a": [1]}),
    (numpy.array([[1, 2], [3, 4]], numpy.uint8), [[1, 2], [3, 4]]),
    (numpy.array([1.0, numpy.nan]), [1.0, "nan"]),
    (numpy.array([1j]), [[0.0, 1.0]]),
    (numpy.float32(0.5), 0.5),
    (numpy.datetime64("2026-01-02"), "2026-01-02"),
    (slice(1, 2), "slice(1, 2, None)"),
    (print, "<built-in function print>"),
]


@pytest.mark.parametrize(("value", "form"), FORMS, ids=label)
def test_forms(value: Any, form: Any) -> None:
    made = to_json(value)
    assert made == form
    assert json.loads(json.dumps(made, allow_nan=False)) == made


def test_sets_that_can_not_be_sorted() -> None:
    assert sorted(to_json({1, "a"}), key=str) == [1, "a"]
