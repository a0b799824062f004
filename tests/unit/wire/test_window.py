import pytest

from labc.wire.window import Window


def test_it_is_closed_until_credit_comes() -> None:
    window = Window()
    assert not window.is_open
    window.grant(2, 100)
    assert window.is_open


def test_items_run_out() -> None:
    window = Window(2, 100)
    window.spend(10)
    window.spend(10)
    assert not window.is_open
    window.grant(1, 0)
    assert window.is_open


def test_an_item_may_overdraw_the_bytes_once() -> None:
    window = Window(5, 100)
    window.spend(1000)
    assert not window.is_open
    window.grant(0, 900)
    assert not window.is_open
    window.grant(0, 1)
    assert window.is_open


def test_spending_from_a_closed_window_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="closed: 0 items and 5 bytes"):
        Window(0, 5).spend(1)
