"""What labc's loggers say on stderr."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from labc.cli.logs import show_logs, show_tracebacks

logger = logging.getLogger("labc.somewhere")


@pytest.fixture(autouse=True)
def _labcs_logger_stays_as_it_is() -> Iterator[None]:
    ours = logging.getLogger("labc")
    before = ours.handlers, ours.level
    yield
    ours.handlers = before[0]
    ours.setLevel(before[1])


@pytest.fixture
def root_handlers(monkeypatch: pytest.MonkeyPatch) -> list[logging.Handler]:
    """Those of the root logger; none, as in a new program. Pytest puts its own there after the fixtures are made."""
    handlers: list[logging.Handler] = []
    monkeypatch.setattr(logging.getLogger(), "handlers", handlers)
    monkeypatch.setattr(logging.getLogger(), "addHandler", lambda _: None)
    return handlers


def warn() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError as error:
        logger.warning("it raised %s", error, exc_info=error)


def test_a_warning_is_one_line(root_handlers: list[logging.Handler], capsys: pytest.CaptureFixture[str]) -> None:
    show_logs(0)
    warn()
    logger.info("not shown")
    assert capsys.readouterr().err == "labc: it raised two lines\n"


def test_tracebacks_where_they_are_wanted(
    root_handlers: list[logging.Handler], capsys: pytest.CaptureFixture[str]
) -> None:
    show_logs(0)
    show_tracebacks()
    warn()
    assert 'raise ValueError("two\\nlines")' in capsys.readouterr().err


@pytest.mark.parametrize(("verbosity", "lines"), [(0, 0), (1, 1), (2, 2), (9, 2)])
def test_more_with_v(
    verbosity: int, lines: int, root_handlers: list[logging.Handler], capsys: pytest.CaptureFixture[str]
) -> None:
    show_logs(verbosity)
    logger.info("done")
    logger.debug("seen")
    assert capsys.readouterr().err.count("\n") == lines


def test_a_served_program_that_logs_by_itself_gets_no_line_twice(
    root_handlers: list[logging.Handler], capsys: pytest.CaptureFixture[str]
) -> None:
    show_logs(0)
    root_handlers.append(logging.NullHandler())
    warn()
    assert capsys.readouterr().err == ""
