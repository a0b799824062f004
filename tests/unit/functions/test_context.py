"""What a running function can know of its call."""

from __future__ import annotations

import contextvars
import time

import pytest

from labc.errors import OutsideError
from labc.functions import CallContext, current_call, find_current_call
from labc.functions.context import set_current_call


def test_outside() -> None:
    with pytest.raises(OutsideError):
        current_call()
    assert find_current_call() is None


def test_the_deadline() -> None:
    before = time.monotonic()
    context = CallContext("f", "host", "node", "id", 5.0)
    assert before + 5.0 <= context.deadline <= time.monotonic() + 5.0
    assert 4.0 < context.remaining <= 5.0
    assert not context.cancelled


def test_without_a_deadline() -> None:
    context = CallContext("f", "host", "node", "id", None)
    assert context.deadline is None
    assert context.remaining is None
    assert not context.cancelled
    context.cancel()
    assert context.cancelled


def test_a_deadline_that_has_passed() -> None:
    context = CallContext("f", "host", "node", "id", 0.0)
    assert context.remaining == 0.0
    assert context.cancelled


def test_what_is_finished_binds_nobody() -> None:
    def within() -> None:
        context = CallContext("f", "host", "node", "id", 5.0)
        set_current_call(context)
        assert find_current_call() is context
        context.finished = True
        assert find_current_call() is None
        assert current_call() is context

    contextvars.copy_context().run(within)
