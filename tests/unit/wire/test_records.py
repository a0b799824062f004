import copy
import pickle

import pytest

from labc.wire.records import Record


def test_fields_are_attributes() -> None:
    record = Record("m:C", {"a": 1, "type_name": 2})
    assert record.a == 1
    assert record.type_name == "m:C"
    assert record.fields["type_name"] == 2
    assert "a" in dir(record)
    with pytest.raises(AttributeError, match="no attribute 'b'"):
        record.b  # noqa: B018


def test_equality_needs_the_same_type_and_fields() -> None:
    record = Record("m:C", {"a": 1})
    assert record == Record("m:C", {"a": 1})
    assert record != Record("m:D", {"a": 1})
    assert record != Record("m:C", {"a": 2})
    assert record != {"a": 1}
    assert len({record, Record("m:C", {"a": 1})}) == 1
    with pytest.raises(TypeError):
        hash(Record("m:C", {"a": []}))


def test_it_is_read_only() -> None:
    source = {"a": 1}
    record = Record("m:C", source)
    source["a"] = 2
    assert record.a == 1
    with pytest.raises(AttributeError):
        record.a = 3
    with pytest.raises(AttributeError):
        del record.a
    with pytest.raises(TypeError):
        record.fields["a"] = 3  # type: ignore[index]


def test_repr_shows_type_and_fields() -> None:
    assert repr(Record("m:C", {"a": 1, "b": "x"})) == "<Record m:C(a=1, b='x')>"


def test_copies_and_pickles_are_equal() -> None:
    record = Record("m:C", {"a": [1]})
    assert copy.copy(record) == copy.deepcopy(record) == pickle.loads(pickle.dumps(record)) == record
    assert not hasattr(Record.__new__(Record), "a")
