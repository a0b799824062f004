"""What labc's loggers say on stderr."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from labc.cli.logs import show_logs, show_tracebacks

logger = logging.getLogger("labc.somewhere")


@pytest.fixture(autouse=True)
def _loggers_as_in_a_new_program() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("labc")
    before = root.handlers, ours.handlers, ours.level
    root.handlers = []
    yield
    root.handlers, ours.handlers = before[:2]
    ours.setLevel(before[2])


def warn() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError as error:
        logger.warning("it raised %s", error, exc_info=error)


def test_a_warning_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    show_logs(0)
    warn()
    logger.info("not shown")
    assert capsys.readouterr().err == "labc: it raised two lines\n"


def test_tracebacks_where_they_are_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    show_logs(0)
    show_tracebacks()
    warn()
    assert 'raise ValueError("two\\nlines")' in capsys.readouterr().err


@pytest.mark.parametrize(("verbosity", "lines"), [(0, 0), (1, 1), (2, 2), (9, 2)])
def test_more_with_v(verbosity: int, lines: int, capsys: pytest.CaptureFixture[str]) -> None:
    show_logs(verbosity)
    logger.info("done")
    logger.debug("seen")
    assert capsys.readouterr().err.count("\n") == lines


def test_a_served_program_that_logs_by_itself_gets_no_line_twice(capsys: pytest.CaptureFixture[str]) -> None:
    show_logs(0)
    logging.getLogger().handlers = [logging.NullHandler()]
    warn()
    assert capsys.readouterr().err == ""
