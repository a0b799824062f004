"""Files from here to a share elsewhere. The other end asks for them, and writes: it knows what is there already.

An order begins with a stream on which this end says which files there are, and the other end how far it is. Then the
connections are opened: on each of them the other end asks for parts of files, and gets them as the values of an
``outgoing`` of the same stream.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from labc.errors import FilesError, NotFoundError, PeerLostError, ProtocolError
from labc.files.choosing import How, chosen, without_nested
from labc.files.fetching import Summary
from labc.files.folder import Folder
from labc.files.order import Order, Remote
from labc.files.patterns import fixed_part, is_pattern
from labc.files.pieces import (
    Failures,
    Missing,
    Opened,
    Over,
    Ready,
    Status,
    Waiting,
    Wanted,
    packed,
    packed_entries,
    questions,
    together,
    unpacked,
    unpacked_path,
)
from labc.files.sending import Digests, Sending

logger = logging.getLogger("labc.files")

RECEIVE, WRITE = "core.files.receive", "core.files.write"


class Source(NamedTuple):
    """Files of this computer: some of a folder's."""

    root: str
    """The folder."""
    how: How
    what: str | Sequence[str]


def sources(paths: Sequence[str | os.PathLike[str]]) -> list[Source]:
    """What these mean: a file, a folder, what is in a folder (with a slash at the end), or a glob.

    Files keep their path from where their folder, or the first name of a glob that is a pattern, is.

    Raises:
        FilesError: there is no such file; or two would get the same place.
    """
    found: dict[tuple[str, How], list[str]] = {}
    names: dict[str, str] = {}
    for path in paths:
        text = os.fspath(path)
        full = os.path.abspath(text)
        if os.path.lexists(text):
            if os.path.basename(text) in ("", ".", ".."):  # what is inside
                found.setdefault((full, "paths"), []).append("")
                continue
            name = os.path.basename(full)
            if (other := names.setdefault(name, full)) != full:
                raise FilesError(f"{other!r} and {full!r} would both become {name!r} there")
            found.setdefault((os.path.dirname(full), "paths"), []).append(name)
        elif is_pattern(text):
            pattern = Path(full).as_posix()
            root = fixed_part(pattern)
            found.setdefault((root or "/", "glob"), []).append(pattern[len(root) :].lstrip("/"))
        else:
            raise FilesError(f"{text!r}: there is no such file or folder here")
    return [Source(root, how, without_nested(what) if how == "paths" else what) for (root, how), what in found.items()]


class Upload(Order):
    """``to`` is the path of a folder in the share; empty: the share itself."""

    def __init__(
        self,
        remote: Remote,
        share: str,
        to: str,
        source: Source,
        connections: int,
        wanted: Callable[[str], bool] = lambda path: True,
    ) -> None:
        super().__init__(remote, connections)
        self._share = share
        self._to = to
        self._source = source
        self._folder = Folder(source.root)
        self._wanted = wanted
        self._digests = Digests()
        self._changed = threading.Condition()
        self._ended = False
        self._number = ""
        """Of the order, while connections can be opened for it."""
        self._before = Status()
        """What had come when the other end was lost."""
        self._status = Status()
        self._failures: dict[str, str] = {}
        self._stopped = ""

    def status(self) -> Status:
        now, before = self._status, self._before
        return now._replace(
            files=before.files + now.files,
            bytes=before.bytes + now.bytes,
            skipped=max(0, now.skipped - before.files),  # what had come before is there now
        )

    # Leading.

    def _lead(self) -> None:
        problem = self._again_and_again(self._offer)
        if problem is not None:
            raise problem

    def _offer(self, came: Callable[[], None]) -> None:
        """All files, once."""
        number = uuid.uuid4().hex
        self._failures = {}
        try:
            rows = self.remote.outgoing(self._rows())
            for values in self._opened(RECEIVE, self._share, number, self._to, rows):
                match unpacked(values):
                    case [Opened()]:
                        self._begin(number)
                    case [Status() as status]:
                        if status.bytes > self._status.bytes:
                            came()
                        self._status = status
                    case [Failures(rows)]:
                        self._failures.update((unpacked_path(path), text) for path, text in rows)
                    case [Over(stopped)]:
                        self._end(stopped)
                        return
                    case _:
                        raise ProtocolError("something else where it is told how far files are")
            raise ProtocolError("it was not told what became of the files")
        except (PeerLostError, NotFoundError):
            self._begin("")
            self._before, self._status = self.status()._replace(under_way=0, bytes_to_come=0), Status()
            raise

    def _rows(self) -> Iterator[list[list[Any]]]:
        meant = (
            entry
            for entry in chosen(self._folder, self._source.how, self._source.what)
            if (isinstance(entry, Missing) and entry.is_folder) or self._wanted(entry.path.removesuffix("/"))
        )
        return map(packed_entries, together(meant))

    # One connection.

    def _connect(self, came: Callable[[], None]) -> None:
        done = ""
        while number := self._next_order(done):
            try:
                self._answer(number, came)
            except FilesError as error:  # that order has ended there, of which it is told elsewhere
                logger.debug("a connection for files: %s", error)
            done = number

    def _next_order(self, done: str) -> str:
        """The number of the order that is open now, when it is another one; empty: there will be no more."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_over or self._number not in ("", done))
            return "" if self._is_over else self._number

    def _answer(self, number: str, came: Callable[[], None]) -> None:
        wanted: queue.SimpleQueue[list[Wanted] | None] = queue.SimpleQueue()
        answers = map(packed, Sending(self._folder, self._digests).answers(iter(wanted.get, None)))
        try:
            for values in self._opened(WRITE, number, self.remote.outgoing(answers)):
                match unpacked(values):
                    case [Waiting() | Ready()]:
                        pass  # it is in the status
                    case pieces:
                        wanted.put(questions(pieces))
                        came()
        finally:
            wanted.put(None)

    def _begin(self, number: str) -> None:
        with self._changed:
            self._number = number
            self._changed.notify_all()

    # The end.

    @property
    def _is_over(self) -> bool:
        return self._ended

    def _wait(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._ended)

    def _give_up(self, why: str) -> None:
        self._end(why)

    def _end(self, stopped: str) -> None:
        with self._changed:
            if not self._ended:
                self._stopped = stopped
                self._ended = True
            self._changed.notify_all()

    def _summary(self) -> Summary:
        status = self.status()
        return Summary(status.files, status.bytes, status.skipped, self._failures, self._stopped)
