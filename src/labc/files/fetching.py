"""Files from another place to this one, over any number of connections that all work on whatever is left.

One thread looks at what is there and what is wanted, and puts *tasks* together: a small file, or some chunks of a large
one. Each connection takes the next tasks whenever it has less under way than keeps it busy, and brings what comes to
the files that it is for. So many small files are spread over the connections, and a large one is striped over them.
Small files are asked for, sent and written some dozens at a time.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from labc.errors import FilesError, LabcError, ProtocolError
from labc.files.arrival import Arrival, BeingWrittenError
from labc.files.batch import Small, put_together
from labc.files.chunks import CHUNK, count_chunks, is_small, length_of, parts_of
from labc.files.folder import Folder, Near, problem_of
from labc.files.paths import shown
from labc.files.pieces import Answer, Chunk, Entry, Failed, Missing, Sent, Status, Wanted, Whole

_PART = 4
"""Chunks of a large file that are asked for together."""
_UNDER_WAY = 256
"""Tasks that one connection has, at most, and their bytes: enough to be busy while the network carries them, and little
enough to leave others their part of a large file."""
_UNDER_WAY_BYTES = 8 << 20
_TOGETHER = 32
"""Tasks that a connection takes at once, at most, if they are of a chunk's bytes together."""
_READY = 1024
"""Tasks that wait."""
_LARGE_OPEN = 16
"""Files of several chunks that are written at the same time."""
_TRIES = 3
"""How often a file is begun that is changed again and again."""
_PATIENCE = 10.0
"""Seconds that one order waits, in all, for files that another one writes: mostly an earlier one whose sender is gone,
which is not noticed yet."""
_LOOK_EVERY = 0.1
"""Seconds."""


@dataclass
class Summary:
    """What became of the files."""

    files: int = 0
    """That have come."""
    bytes: int = 0
    """That have come, of these and of others that failed later."""
    skipped: int = 0
    """Files that were there already, of the same size and time."""
    failed: dict[str, str] = field(default_factory=dict)
    """Why, by their path."""
    stopped: str = ""
    """Why it ended before its time: there may be files of which nothing is said here."""

    def plus(self, other: Summary) -> Summary:
        """Both together."""
        return Summary(
            self.files + other.files,
            self.bytes + other.bytes,
            self.skipped + other.skipped,
            self.failed | other.failed,
            self.stopped or other.stopped,
        )


class _File:
    """One that is fetched."""

    def __init__(self, entry: Entry, target: str, tries: int) -> None:
        self.entry = entry
        self.target = target
        self.tries = tries
        self.arrival: Arrival | None = None
        """Of a large one."""
        self.parts = 0
        """That are asked for, or will be, and have not come."""
        self.all_planned = False
        """Whether there are no more than these."""
        self.bytes_to_come = 0
        self.over = False
        """Whether it is there, or has failed."""

    @property
    def is_large(self) -> bool:
        return not is_small(self.entry.size)

    def leave(self) -> None:
        """No more is brought to it; leaving twice is harmless."""
        if self.arrival is not None:
            self.arrival.__exit__(None, None, None)


class Connection:
    """What one connection has under way."""

    def __init__(self) -> None:
        self.tasks: deque[Wanted] = deque()
        self.bytes = 0
        self.ready = False
        """Whether it is served. Before, it takes no tasks: others would wait for what it does not do."""
        self.waits = False
        """Whether it waits for its turn to be."""
        self.ended = False


class Fetching:
    """All files of one order. From any thread."""

    def __init__(self, folder: Folder, target_of: Callable[[str], str]) -> None:
        """``target_of`` the path at the other end is the path in the folder here."""
        self.summary = Summary()
        self._folder = folder
        self._target_of = target_of
        self._changed = threading.Condition()
        self._tasks: deque[Wanted] = deque()
        self._small: list[_File] = []
        """Of which tasks are still to be made: in the planning thread."""
        self._files: dict[int, _File] = {}
        self._numbers = 0
        self._bytes_to_come = 0
        self._large = 0
        self._connections: set[Connection] = set()
        self._again: deque[tuple[_File, Entry]] = deque()
        """Files that are to be begun again, as they were changed, and what they are now."""
        self._listing = True
        self._planning = True
        """Whether files are begun, or can be."""
        self._patience = _PATIENCE
        self._given_up: str | None = None

    # What is wanted.

    def plan(self, lists: Iterable[Iterable[Entry | Missing]]) -> None:
        """Put the tasks together; returns when all is over. In a thread of its own.

        When ``lists`` raises, those that it has told are fetched still.
        """
        try:
            for entries in lists:
                with self._folder.near() as near:
                    for entry in entries:
                        if self._given_up is not None:
                            break
                        self._take_up(entry, near)
                self._ask_for_small()
                while self._again:
                    self._begin_again(*self._again.popleft())
                if self._given_up is not None:
                    break
        except Exception as error:  # whatever it is, what is not listed must not be taken for done
            with self._changed:
                self.summary.stopped = self.summary.stopped or f"the list of files ended: {error}"
        self._ask_for_small()
        with self._changed:
            self._listing = False
        while (again := self._next_again()) is not None:
            self._begin_again(*again)
        with self._changed:
            self._planning = False
            self._changed.notify_all()

    def _next_again(self) -> tuple[_File, Entry] | None:
        """None: nothing will be begun again."""
        with self._changed:
            self._changed.wait_for(lambda: self._again or not self._files or self._given_up is not None)
            return self._again.popleft() if self._again and self._given_up is None else None

    def _take_up(self, entry: Entry | Missing, near: Near) -> None:
        if isinstance(entry, Missing):
            self._note(entry.path, entry.text)
        elif entry.is_folder:
            self._make_folder(entry.path.removesuffix("/"))
        else:
            self._begin(entry, near, tries=1)

    def _begin_again(self, before: _File, entry: Entry) -> None:
        if before.arrival is not None:
            before.arrival.wait_until_closed()
        with self._folder.near() as near:
            self._begin(entry, near, before.tries + 1)
        self._ask_for_small()

    def _make_folder(self, path: str) -> None:
        try:
            self._folder.make(self._target_of(path))
        except (OSError, LabcError) as error:
            self._note(path, error)

    def _begin(self, entry: Entry, near: Near, tries: int) -> None:
        try:
            file = _File(entry, self._target_of(entry.path), tries)
            if self._is_there(file, near):
                with self._changed:
                    self.summary.skipped += 1
                return
            if file.is_large:
                self._ask_for_small()
                self._ask_for_large(file, self._open(file))
                return
        except Exception as error:  # whatever it is, the others go on
            self._note(entry.path, error)
            return
        self._small.append(file)
        if len(self._small) == _TOGETHER:
            self._ask_for_small()

    def _ask_for_small(self) -> None:
        """When there is room for more tasks."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._tasks) < _READY or self._given_up is not None)
            for file in self._small:
                if (number := self._numbered(file)) is not None:
                    self._tasks.append(self._wanted(number, file, 0, count_chunks(file.entry.size), whole=True))
            self._small.clear()
            self._changed.notify_all()

    def _ask_for_large(self, file: _File, arrival: Arrival) -> None:
        """Part by part, whenever there is room for one more task."""
        with self._changed:
            number = self._numbered(file)
        if number is None:
            return
        for part in parts_of(arrival.missing, _PART):
            with self._changed:
                self._changed.wait_for(lambda: len(self._tasks) < _READY or file.over)
                if file.over:
                    return
                file.parts += 1
                self._tasks.append(self._wanted(number, file, part.first, part.length, whole=False))
                self._changed.notify_all()
        with self._changed:
            file.all_planned = True
            self._look_whether_all_parts_came(number, file)

    def _numbered(self, file: _File) -> int | None:
        """It is one of those that are fetched from now on. None: it has failed already, as all has."""
        number = self._numbers
        self._numbers += 1
        self._files[number] = file
        file.bytes_to_come = file.arrival.bytes_to_come if file.arrival is not None else file.entry.size
        self._bytes_to_come += file.bytes_to_come
        if self._given_up is not None:
            self._end(number, file, self._given_up)
            return None
        return number

    def _open(self, file: _File) -> Arrival:
        """A large one. Raises what an arrival does."""
        with self._changed:
            self._changed.wait_for(lambda: self._large < _LARGE_OPEN or self._given_up is not None)
            self._large += 1
        try:
            arrival = Arrival(self._folder, file.target, file.entry, self._may_wait)
            arrival.__enter__()
        except BaseException:
            with self._changed:
                self._large -= 1
                self._changed.notify_all()
            raise
        file.arrival = arrival
        return arrival

    def _look_whether_all_parts_came(self, number: int, file: _File) -> None:
        """Then its digest is asked for."""
        if file.all_planned and not file.parts and not file.over:
            file.parts = 1
            self._tasks.appendleft(self._wanted(number, file, 0, 0, whole=True))
            self._changed.notify_all()

    def _is_there(self, file: _File, near: Near) -> bool:
        try:
            there = near.entry(file.target)
        except (OSError, FilesError):
            return False
        return (there.size, there.modified) == (file.entry.size, file.entry.modified)

    def _wanted(self, number: int, file: _File, first: int, length: int, *, whole: bool) -> Wanted:
        entry = file.entry
        return Wanted(number, entry.path, entry.size, entry.modified, first, length, whole)

    # One connection.

    def tasks(self, connection: Connection) -> Iterator[list[Wanted]]:
        """What it is to ask for, whenever it may; until there is no more. In a thread of its own."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._may_take(connection) or self.is_over or connection.ended)
                some = self._taken(connection)
            if not some:
                return
            yield some

    def _taken(self, connection: Connection) -> list[Wanted]:
        some: list[Wanted] = []
        size = 0
        while len(some) < _TOGETHER and size < CHUNK and not connection.ended and self._may_take(connection):
            task = self._tasks.popleft()
            some.append(task)
            connection.tasks.append(task)
            connection.bytes += self._bytes_of(task)
            size += self._bytes_of(task)
        if some:
            self._changed.notify_all()
        return some

    def waits(self, connection: Connection) -> None:
        """It is not served yet."""
        with self._changed:
            self._connections.add(connection)
            connection.waits = True

    def ready(self, connection: Connection) -> None:
        """It is served from now on."""
        with self._changed:
            self._connections.add(connection)
            connection.ready, connection.waits = True, False
            self._changed.notify_all()

    def came(self, connection: Connection, pieces: Iterable[Answer]) -> None:
        """Answers have. In the connection's thread.

        Raises:
            ProtocolError: one is none to what is asked; those before it count.
        """
        small: list[tuple[Whole, _File]] = []
        try:
            for piece in pieces:
                if (file := self._file_of(connection, piece)) is None:
                    continue
                if isinstance(piece, Whole):
                    small.append((piece, file))
                else:
                    self._came(piece, file)
        finally:
            self._small_came(small)

    def _file_of(self, connection: Connection, piece: Answer) -> _File | None:
        """None: it is not to come any more. Raises ProtocolError."""
        with self._changed:
            if connection.ended:  # others do what it had to do
                return None
            _check(connection, piece)
            if not isinstance(piece, Chunk):  # the last answer to its oldest task
                connection.bytes -= self._bytes_of(connection.tasks.popleft())
                self._changed.notify_all()
            return self._files.get(piece.number)

    def _came(self, piece: Chunk | Sent | Failed, file: _File) -> None:
        try:
            if isinstance(piece, Failed):
                self._failed(piece, file)
            elif isinstance(piece, Sent):
                self._sent(piece, file)
            elif file.arrival is not None:
                file.arrival.put(piece.chunk, piece.data, piece.digest)
                with self._changed:
                    self._count(file, length_of(piece.chunk, file.entry.size))
        except Exception as error:  # whatever it is, the others go on
            self._end(piece.number, file, problem_of(error, file.entry.path))

    def _small_came(self, those: list[tuple[Whole, _File]]) -> None:
        if not those:
            return
        files = [Small(file.target, file.entry, piece.digest, piece.data) for piece, file in those]
        problems: dict[int, Exception | None] = dict.fromkeys(range(len(files)))
        try:
            left = list(problems)
            while left:
                problems.update(zip(left, put_together(self._folder, [files[place] for place in left]), strict=True))
                left = [place for place in left if isinstance(problems[place], BeingWrittenError)]
                if left and not self._may_wait():
                    break
        except Exception as error:  # whatever it is, the others go on
            problems.update(dict.fromkeys(left, error))
        for place, (piece, file) in enumerate(those):
            problem = problems[place]
            with self._changed:
                if problem is None and not file.over:
                    self._count(file, file.entry.size)
                    self.summary.files += 1
                self._end(piece.number, file, None if problem is None else problem_of(problem, file.entry.path))

    def lost(self, connection: Connection) -> None:
        """It brings no more: others take what it had under way."""
        with self._changed:
            connection.ended = True
            self._connections.discard(connection)
            self._tasks.extendleft(task for task in reversed(connection.tasks) if task.number in self._files)
            connection.tasks.clear()
            self._changed.notify_all()

    def give_up(self, why: str) -> None:
        """There is no connection any more, or nobody waits: what is left has failed."""
        with self._changed:
            self._given_up = self.summary.stopped = why
            for number, file in list(self._files.items()):
                if not file.over:
                    self._note(file.entry.path, why)
                    self._end(number, file)
            self._tasks.clear()
            self._changed.notify_all()

    def wait(self, timeout: float | None = None) -> bool:
        """Whether all is done; returns then, or after so many seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self.is_over, timeout)

    # How far it is.

    def status(self) -> Status:
        """At this moment."""
        with self._changed:
            summary, files = self.summary, self._files.values()
            return Status(
                files=summary.files,
                bytes=summary.bytes,
                skipped=summary.skipped,
                failed=len(summary.failed),
                under_way=len(files),
                bytes_to_come=self._bytes_to_come,
                listed=not self._listing,
                large=[(f.entry.path, f.entry.size - f.bytes_to_come, f.entry.size) for f in files if f.is_large],
                waiting=sum(connection.waits for connection in self._connections),
            )

    def failures(self, after: int) -> list[tuple[str, str]]:
        """Those files that have failed, with the reasons, but for so many that failed first."""
        with self._changed:
            return list(itertools.islice(self.summary.failed.items(), after, None))

    # Within.

    @property
    def is_over(self) -> bool:
        return self._given_up is not None or not (self._planning or self._again or self._files or self._tasks)

    def _may_take(self, connection: Connection) -> bool:
        if not (connection.ready and self._tasks) or self._given_up is not None:
            return False
        return not connection.tasks or (
            len(connection.tasks) < _UNDER_WAY and connection.bytes + self._bytes_of(self._tasks[0]) <= _UNDER_WAY_BYTES
        )

    def _bytes_of(self, task: Wanted) -> int:
        return min(task.size, (task.first + task.length) * CHUNK) - task.first * CHUNK

    def _count(self, file: _File, length: int) -> None:
        """So many bytes have come. A chunk may come twice, when a connection was lost after it."""
        self.summary.bytes += length
        if not file.over:
            come = min(length, file.bytes_to_come)
            file.bytes_to_come -= come
            self._bytes_to_come -= come

    def _may_wait(self) -> bool:
        """After a moment, whether another one that writes the same file is still waited for."""
        with self._changed:
            if self._given_up is not None or self._patience <= 0:
                return False
            self._patience -= _LOOK_EVERY
        time.sleep(_LOOK_EVERY)
        return True

    def _sent(self, piece: Sent, file: _File) -> None:
        if piece.digest is not None and file.arrival is not None:
            file.arrival.finish(piece.digest)
            with self._changed:  # before the end of the last one, which is the end of all
                self.summary.files += 1
            self._end(piece.number, file)
            return
        with self._changed:
            file.parts -= 1
            self._look_whether_all_parts_came(piece.number, file)

    def _failed(self, piece: Failed, file: _File) -> None:
        if piece.now is None or file.tries >= _TRIES:
            self._end(piece.number, file, piece.text)
            return
        with self._changed:
            if not file.over:
                again = file, Entry(file.entry.path, *piece.now)
                self._again.append(again)  # before the end, which can be that of all
                self._end(piece.number, file)

    def _end(self, number: int, file: _File, problem: str | None = None) -> bool:
        """False: it had ended already."""
        with self._changed:
            if file.over:
                return False
            if problem is not None:  # before the end of the last one, which is the end of all
                self._note(file.entry.path, problem)
            file.over = True
            self._bytes_to_come -= file.bytes_to_come
            self._files.pop(number, None)
            if file.is_large:  # others have one task, which is what ends them
                self._tasks = deque(task for task in self._tasks if task.number != number)
                self._large -= 1
            self._changed.notify_all()
        file.leave()
        return True

    def _note(self, path: str, problem: Exception | str) -> None:
        text = problem if isinstance(problem, str) else problem_of(problem, path)
        with self._changed:
            self.summary.failed[path] = text if shown(path) in text else f"{shown(path)}: {text}"
            self._changed.notify_all()


def _check(connection: Connection, piece: Answer) -> None:
    """Answers come in the order of what is asked. Raises ProtocolError."""
    task = connection.tasks[0] if connection.tasks else None
    if task is None or piece.number != task.number:
        raise ProtocolError(f"an answer to {piece.number}, which is not asked for now")
    if is_small(task.size) is not isinstance(piece, Whole) and not isinstance(piece, Failed):
        raise ProtocolError(f"a {type(piece).__name__} of {shown(task.path)}, which has {task.size} bytes")
    if isinstance(piece, Chunk):
        if not task.first <= piece.chunk < task.first + task.length:
            raise ProtocolError(f"chunk {piece.chunk} of {shown(task.path)}, which is not asked for now")
    elif isinstance(piece, Sent) and (piece.digest is not None) is not task.whole:
        raise ProtocolError(f"{shown(task.path)} was sent without its digest, or with one that nobody asked for")
