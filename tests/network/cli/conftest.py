"""Fixtures for the tests of the command line."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from network.cli.runs import LABC, SERVER, SERVES, SILENT, Begin, Run

from labc.testing import Program


@pytest.fixture(autouse=True)
def _programs_take_ctrl_c() -> Iterator[None]:
    """Even if these tests run in the background of a shell, which lets programs ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def run(network: str) -> Run:
    def run(*arguments: object, code: int = 0, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [LABC, *map(str, arguments)], capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL, cwd=cwd
        )
        assert done.returncode == code, done
        assert "src/labc" not in done.stderr, done.stderr
        return done

    return run


@pytest.fixture
def begin(network: str) -> Iterator[Begin]:
    with contextlib.ExitStack() as programs:

        def begin(*arguments: object, cwd: Path | None = None) -> Program:
            return programs.enter_context(Program([LABC, *map(str, arguments)], cwd=cwd))

        yield begin


@pytest.fixture
def server(begin: Begin, tmp_path: Path) -> Program:
    """``labc serve server.py``, ready."""
    return _served(begin, tmp_path / "server.py", SERVER)


@pytest.fixture
def silent(begin: Begin, tmp_path: Path) -> Program:
    """A node that prints "asked" when it is asked for its details, and gives none."""
    return _served(begin, tmp_path / "silent.py", SILENT)


def _served(begin: Begin, file: Path, source: str) -> Program:
    file.write_text(source)
    program = begin("serve", file)
    program.expect(SERVES, stream="stderr")
    return program
