"""A bar on the terminal for work that many share: how much is done, at what rate, and by whom."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from rich.console import Console, Group
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

_SHOWN = 6
"""Nodes whose share is shown; of more, those that have done most. And files."""
_NAME = 40
"""Letters of a file's path that are shown."""


State = tuple[int, int, Mapping[str, int]]
"""How much is done, how much of it failed, and how much of it each node has done, by its name."""


class Files(Protocol):
    """How far an order of files has come: see :class:`labc.files.Status`."""

    @property
    def files(self) -> int: ...

    @property
    def bytes(self) -> int: ...

    @property
    def skipped(self) -> int: ...

    @property
    def failed(self) -> int: ...

    @property
    def under_way(self) -> int: ...

    @property
    def bytes_to_come(self) -> int: ...

    @property
    def listed(self) -> bool: ...

    @property
    def large(self) -> Sequence[tuple[str, int, int]]: ...

    @property
    def waiting(self) -> int: ...


class _Shown:
    """On stderr from :meth:`start` until :meth:`stop`, or the end of the program; where that is no terminal, its last
    state alone."""

    def __init__(self, rows: Progress) -> None:
        self._rows = rows
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._state = "new"

    def start(self) -> None:
        """Not after :meth:`stop`."""
        with self._lock:
            if self._state == "new":
                self._state = "shown"
                atexit.register(self.stop)  # who is interrupted may keep it, in a traceback for one
                self._rows.start()

    def stop(self) -> None:
        """Leave the last state there. Stopping twice is harmless, and so is stopping it in a forked child."""
        if os.getpid() != self._process:  # the terminal is the parent's, and the lock may be held there
            return
        with self._lock:
            if self._state == "shown":
                self._rows.stop()
                atexit.unregister(self.stop)
            self._state = "over"


class Bar(_Shown):
    """Of a map."""

    def __init__(self, title: str, total: int | None, look: Callable[[], State]) -> None:
        """``total``: None if nobody knows."""
        super().__init__(_Rows(title, total, look))


class FilesBar(_Shown):
    """Of an order of files: one for all, and one for each large file that is under way."""

    def __init__(self, title: str, look: Callable[[], Files]) -> None:
        super().__init__(_FileRows(title, look))


class _FileRows(Progress):
    def __init__(self, title: str, look: Callable[[], Files]) -> None:
        super().__init__(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TextColumn("{task.fields[told]}"),
            console=Console(stderr=True),
            redirect_stdout=_is_terminal(sys.stdout),
            redirect_stderr=_is_terminal(sys.stderr),
        )
        self._look = look
        self._all = self.add_task(title, total=None, told="")
        self._large = [self.add_task("", total=None, visible=False, told="") for _ in range(_SHOWN)]

    def get_renderables(self) -> Iterable[Any]:
        if not self.tasks:  # not made up yet
            return
        now = self._look()
        total = now.bytes + now.bytes_to_come if now.listed else None
        self.update(self._all, completed=now.bytes, total=total, told=_files_told(now))
        for number, row in enumerate(self._large):
            if number < len(now.large):
                path, come, size = now.large[number]
                self.update(row, description=_short(path), completed=come, total=size, visible=True)
            else:
                self.update(row, visible=False)
        yield self.make_tasks_table(self.tasks)


def _files_told(now: Files) -> str:
    """``12 of 30 files, 4 were there``."""
    count = now.files + now.failed + now.under_way
    told = [f"{now.files} of {count} files" if now.listed else f"{now.files} of {count}… files"]
    if now.skipped:
        told.append(f"{now.skipped} were there")
    if now.failed:
        told.append(f"{now.failed} failed")
    if now.waiting:
        told.append(f"{now.waiting} connections wait for their turn")
    return ", ".join(told)


def _short(path: str) -> str:
    name = "".join(letter if letter.isprintable() else "?" for letter in path)
    return name if len(name) <= _NAME else f"…{name[1 - _NAME :]}"


class _Rows(Progress):
    def __init__(self, title: str, total: int | None, look: Callable[[], State]) -> None:
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn() if total is None else TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("[red]{task.fields[failures]}"),
            console=Console(stderr=True),
            redirect_stdout=_is_terminal(sys.stdout),  # so that what the program prints goes above the bar
            redirect_stderr=_is_terminal(sys.stderr),
        )
        self._look = look
        self._shown = self.add_task(title, total=total, rate="", failures="", start=False)

    def start(self) -> None:
        self.start_task(self._shown)
        super().start()

    def get_renderables(self) -> Iterable[Any]:
        if not self.tasks:  # not made up yet
            return
        done, failed, shares = self._look()
        task = self.tasks[0]
        seconds = task.elapsed or 0.0
        rate = f"{done / seconds:.3g}/s" if done and seconds else ""
        self.update(self._shown, completed=done, rate=rate, failures=f"{failed} failed" if failed else "")
        yield Group(self.make_tasks_table(self.tasks), Text(_told(shares), style="dim", overflow="ellipsis"))


def _told(shares: Mapping[str, int]) -> str:
    """Who has done how much of it: ``node1 52 %  node2 48 %``."""
    total = sum(shares.values())
    first: Sequence[tuple[str, int]] = sorted(dict(shares).items(), key=lambda share: (-share[1], share[0]))
    told = [f"{name} {count / total:.0%}" for name, count in first[:_SHOWN]]
    if len(first) > _SHOWN:
        told.append(f"and {len(first) - _SHOWN} more")
    return "  ".join(told)


def _is_terminal(stream: Any) -> bool:
    """There may be none."""
    return stream is not None and stream.isatty()
