"""From one folder to another, over connections that are function calls."""

from __future__ import annotations

import errno
import itertools
import os
import random
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from labc.errors import ProtocolError
from labc.files import arrival as arrival_module
from labc.files import fetching as fetching_module
from labc.files import rawio
from labc.files.chunks import CHUNK, digest_of
from labc.files.fetching import Connection, Fetching
from labc.files.folder import Folder
from labc.files.paths import unfinished
from labc.files.patterns import by_glob
from labc.files.pieces import (
    MAX_SIZE,
    Chunk,
    Entry,
    Failed,
    Sent,
    Whole,
    packed,
    packed_entries,
    unpacked,
    unpacked_entries,
)
from labc.files.sending import Digests, Sending, _Identity, checksum

TIME = 1_700_000_000_123_456_789


class Rig:
    """A folder there, a folder here, and connections between them."""

    def __init__(self, root: Path) -> None:
        self.there, self.here = root / "there", root / "here"
        self.there.mkdir()
        self.here.mkdir()
        self.digests = Digests()
        self.fetched: list[tuple[str, int]] = []
        """Path and chunk of all that was sent."""
        self.before_piece: Callable[[Any], Any] = lambda piece: piece
        self.after = 10**9
        """Pieces after which a connection breaks."""

    def put(self, path: str, size: int, seed: int = 0, modified: int = TIME) -> bytes:
        file = self.there / path
        file.parent.mkdir(parents=True, exist_ok=True)
        data = random.Random(f"{path} {seed}").randbytes(size)
        file.write_bytes(data)
        os.utime(file, ns=(modified, modified))
        return data

    def entries(self) -> list[Entry]:
        return list(Folder(self.there).entries(by_glob("")))

    def fetch(self, connections: int = 1, entries: list[Entry] | None = None) -> Fetching:
        """What a program does that fetches all."""
        fetching = Fetching(Folder(self.here), lambda path: path)
        listed = self.entries() if entries is None else entries
        rows = packed_entries(listed)
        planning = threading.Thread(target=fetching.plan, args=([unpacked_entries(rows)],))
        threads = [threading.Thread(target=self._connect, args=(fetching,)) for _ in range(connections)]
        for thread in (planning, *threads):
            thread.start()
        for thread in (*threads,):
            thread.join(30)
            assert not thread.is_alive()
        if not fetching.is_over:
            fetching.give_up("all connections are lost")
        fetching.wait()
        planning.join(30)
        return fetching

    def _connect(self, fetching: Fetching) -> None:
        connection = Connection()
        fetching.ready(connection)
        paths: dict[int, str] = {}

        def wanted() -> Iterator[Any]:
            for tasks in fetching.tasks(connection):
                paths.update((task.number, task.path) for task in tasks)
                yield unpacked(packed(tasks))

        came = 0
        try:
            for pieces in Sending(Folder(self.there), self.digests).answers(wanted()):
                answers = []
                for piece in pieces[: self.after - came]:
                    answers.append(changed := self.before_piece(piece))
                    if isinstance(changed, Chunk | Whole):
                        self.fetched.append((paths[changed.number], getattr(changed, "chunk", 0)))
                fetching.came(connection, unpacked(packed(answers)))  # type: ignore[arg-type]
                if (came := came + len(pieces)) >= self.after:
                    break
        finally:
            fetching.lost(connection)

    def same(self) -> bool:
        def all_of(root: Path) -> dict[str, tuple[bytes, int, int]]:
            return {
                str(path.relative_to(root)): (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_mode)
                for path in root.rglob("*")
                if path.is_file()
            }

        return all_of(self.there) == all_of(self.here)


def planning(rig: Rig, *entries: Entry) -> Fetching:
    """These are listed, and their tasks wait."""
    fetching = Fetching(Folder(rig.here), lambda path: path)
    threading.Thread(target=fetching.plan, args=([entries],), daemon=True).start()
    deadline = time.monotonic() + 10
    while not fetching.status().listed:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    return fetching


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


@pytest.mark.parametrize("connections", [1, 4])
def test_files_arrive_as_they_were(rig: Rig, connections: int) -> None:
    sizes = {"empty": 0, "one": 1, "a/chunk": CHUNK, "a/more": CHUNK + 1, "a/b/large": 10 * CHUNK + 77}
    for path, size in sizes.items():
        rig.put(path, size)
    (rig.there / "one").chmod(0o755)
    fetching = rig.fetch(connections)
    assert fetching.summary.failed == {}
    assert rig.same()
    assert (fetching.summary.files, fetching.summary.bytes) == (5, sum(sizes.values()))


def test_many_small_files(rig: Rig) -> None:
    for number in range(400):
        rig.put(f"{number % 20}/{number}", number % 300)
    assert rig.fetch(4).summary.files == 400
    assert rig.same()


def test_a_large_file_is_striped_over_the_connections(rig: Rig) -> None:
    rig.put("large", 40 * CHUNK)
    working = set()

    def note(piece: Any) -> Any:
        working.add(threading.get_ident())
        time.sleep(0.005)  # so that it takes longer than a thread to begin
        return piece

    rig.before_piece = note
    rig.fetch(4)
    assert rig.same()
    assert len(working) == 4
    assert sorted(rig.fetched) == [("large", chunk) for chunk in range(40)], "each chunk once"


def test_what_is_there_is_not_fetched_again(rig: Rig) -> None:
    rig.put("a", 10)
    rig.put("b", 3 * CHUNK)
    rig.fetch()
    rig.put("c", 5)
    rig.put("a", 10, seed=1, modified=TIME + 1)
    rig.fetched.clear()
    again = rig.fetch()
    assert rig.fetched == [("a", 0), ("c", 0)]
    assert (again.summary.files, again.summary.skipped) == (2, 1)
    assert rig.same()


@pytest.mark.parametrize("after", [1, 5, 14])
def test_it_goes_on_where_it_stopped(rig: Rig, after: int) -> None:
    rig.put("a", 10)
    rig.put("large", 12 * CHUNK + 1)
    rig.put("small", 100)
    rig.after = after
    stopped = rig.fetch()
    assert stopped.summary.failed
    first = list(rig.fetched)
    rig.after = 10**9
    rig.fetched.clear()
    assert rig.fetch().summary.failed == {}
    assert rig.same()
    large = [each for each in first + rig.fetched if each[0] == "large"]
    assert sorted(large) == [("large", chunk) for chunk in range(13)], "each chunk once, in the two runs together"


def test_a_connection_that_breaks_leaves_its_tasks_to_others(rig: Rig) -> None:
    for number in range(50):
        rig.put(f"s{number}", 100)
    rig.put("large", 20 * CHUNK)
    lock = threading.Lock()
    broken: list[int] = []

    def break_one(piece: Any) -> Any:
        with lock:
            if not broken and len(rig.fetched) > 10:
                broken.append(threading.get_ident())
        if threading.get_ident() in broken:
            raise BrokenPipeError
        return piece

    rig.before_piece = break_one
    threading.excepthook, kept = lambda args: None, threading.excepthook
    try:
        fetching = rig.fetch(3)
    finally:
        threading.excepthook = kept
    assert broken
    assert fetching.summary.failed == {}
    assert rig.same()


def test_a_chunk_that_is_spoiled_is_told(rig: Rig) -> None:
    rig.put("a", 10)
    rig.put("bad", 3 * CHUNK)
    rig.put("c", 10)

    def spoil(piece: Any) -> Any:
        if isinstance(piece, Chunk) and len(piece.data) == CHUNK and piece.chunk == 1:
            return piece._replace(data=b"x" + piece.data[1:])
        return piece

    rig.before_piece = spoil
    fetching = rig.fetch()
    assert list(fetching.summary.failed) == ["bad"]
    assert "did not arrive as it was sent" in fetching.summary.failed["bad"]
    assert fetching.summary.files == 2
    assert not (rig.here / "bad").exists()
    rig.before_piece = lambda piece: piece
    assert rig.fetch().summary.failed == {}
    assert rig.same()


def test_a_file_that_is_changed_meanwhile_is_begun_again(rig: Rig) -> None:
    rig.put("f", 10 * CHUNK)
    changed = []

    def change(piece: Any) -> Any:
        if isinstance(piece, Chunk) and piece.chunk == 4 and not changed:
            changed.append(1)
            rig.put("f", 9 * CHUNK, seed=1, modified=TIME + 1)
        return piece

    rig.before_piece = change
    assert rig.fetch().summary.failed == {}
    assert changed
    assert rig.same()


def test_a_file_that_is_always_changed_is_told(rig: Rig) -> None:
    rig.put("f", 4 * CHUNK)
    rig.put("g", 4)
    versions = iter(range(1, 100))

    def change(piece: Any) -> Any:
        if isinstance(piece, Chunk) and piece.chunk == 2:
            version = next(versions)
            rig.put("f", 4 * CHUNK, seed=version, modified=TIME + version)
        return piece

    rig.before_piece = change
    fetching = rig.fetch()
    assert list(fetching.summary.failed) == ["f"]
    assert "changed" in fetching.summary.failed["f"]
    assert (rig.here / "g").exists()
    assert not (rig.here / "f").exists()
    assert next(versions) <= 5


def test_a_file_that_is_gone_is_told(rig: Rig) -> None:
    rig.put("a", 1)
    rig.put("b", 1)
    entries = rig.entries()
    (rig.there / "a").unlink()
    fetching = rig.fetch(entries=entries)
    assert list(fetching.summary.failed) == ["a"]
    assert "no such file" in fetching.summary.failed["a"]
    assert (rig.here / "b").exists()


def test_a_full_disk_is_told_and_others_go_on(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b", "c"):
        rig.put(name, 2 * CHUNK)
    write = arrival_module.rawio.write_at
    full: list[int] = []

    def full_for_one(file: int, data: Any, offset: int) -> None:
        if not full:
            full.append(file)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(file, data, offset)

    monkeypatch.setattr(arrival_module.rawio, "write_at", full_for_one)
    fetching = rig.fetch()
    assert len(fetching.summary.failed) == 1
    assert "no space left" in next(iter(fetching.summary.failed.values()))
    assert fetching.summary.files == 2


@pytest.mark.parametrize("path", ["../out", "/etc/x", "a/../../b"])
def test_a_path_that_leads_out_of_the_folder_here_is_refused(rig: Rig, path: str) -> None:
    rig.put("good", 5)
    fetching = rig.fetch(entries=[Entry(path, 3, TIME, False), *rig.entries()])
    assert list(fetching.summary.failed) == [path]
    assert fetching.summary.files == 1
    assert sorted(os.listdir(rig.here.parent)) == ["here", "there"]


def test_a_file_where_a_folder_should_be(rig: Rig) -> None:
    rig.put("a/b", 5)
    rig.put("c", 5)
    (rig.here / "a").write_text("a file")
    fetching = rig.fetch()
    assert list(fetching.summary.failed) == ["a/b"]
    assert fetching.summary.files == 1


@pytest.mark.parametrize(
    "bad",
    [
        ["bad", 1 << 63, TIME, False],
        ["bad", -1, TIME, False],
        ["bad", 5, 1 << 63, False],
        ["bad"],
        "bad",
        ["b", "5", 1, 0],
    ],
)
def test_a_list_that_makes_no_sense_is_told(rig: Rig, bad: Any) -> None:
    rig.put("good", 5)
    fetching = Fetching(Folder(rig.here), lambda path: path)
    fetching.plan([unpacked_entries([bad, *packed_entries(rig.entries())])])
    fetching.wait()
    assert "no sense" in fetching.summary.stopped


def test_a_target_that_cannot_be_told_is_a_failure_of_that_file(rig: Rig) -> None:
    fetching = Fetching(Folder(rig.here), lambda path: str(1 // (path != "bad")))
    fetching.plan([[Entry("bad", 1, TIME, False)]])
    assert list(fetching.summary.failed) == ["bad"]
    assert not fetching.summary.stopped


@pytest.mark.parametrize(
    "answer",
    [
        Whole(999, b"x", b""),
        Whole(1, b"x", b""),
        Sent(0, None),
        Chunk(0, 0, b"", b""),
        Chunk(999, 0, b"", b""),
        Failed(1, "another one"),
    ],
)
def test_answers_to_what_is_not_asked_are_refused(rig: Rig, answer: Any) -> None:
    fetching = planning(rig, Entry("a", 1, TIME, False), Entry("b", 1, TIME, False))
    connection = Connection()
    fetching.ready(connection)
    next(fetching.tasks(connection))
    with pytest.raises(ProtocolError):
        fetching.came(connection, [answer])
    fetching.lost(connection)
    other = Connection()
    fetching.ready(other)
    assert [task.path for task in next(fetching.tasks(other))] == ["a", "b"]


def test_a_connection_that_is_lost_leaves_nothing_of_what_has_ended(rig: Rig) -> None:
    """Or the order would never be over: there may be no other connection."""
    fetching = planning(rig, Entry("large", 8 * CHUNK, TIME, False))
    first, second = Connection(), Connection()
    for connection in (first, second):
        fetching.ready(connection)
        next(fetching.tasks(connection))
    fetching.came(second, [Failed(0, "it is gone")])
    assert fetching.wait(10)
    fetching.lost(first)
    assert fetching.is_over


def test_a_file_is_begun_again_when_nobody_is_at_it_any_more(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching_module, "_PATIENCE", 0)
    fetching = planning(rig, Entry("large", 8 * CHUNK, TIME, False))
    first, second = Connection(), Connection()
    for connection in (first, second):
        fetching.ready(connection)
        next(fetching.tasks(connection))
    inside, go = threading.Event(), threading.Event()

    def slowly(file: int, data: Any, offset: int) -> None:
        inside.set()
        assert go.wait(10)
        write_at(file, data, offset)

    write_at = rawio.write_at
    monkeypatch.setattr(rawio, "write_at", slowly)
    data = b"x" * CHUNK
    writing = threading.Thread(target=fetching.came, args=(first, [Chunk(0, 0, digest_of(data), data)]))
    writing.start()
    assert inside.wait(10)
    fetching.came(second, [Failed(0, "it is changed", (8 * CHUNK, TIME + 1, False))])
    go.set()
    writing.join(10)
    (task,) = next(fetching.tasks(second))
    assert (task.number, task.modified) == (1, TIME + 1)
    assert fetching.summary.failed == {}
    fetching.give_up("enough")


@pytest.mark.parametrize("size", [10, 3 * CHUNK])
@pytest.mark.parametrize("patience", [10.0, 0.2])
def test_one_that_another_order_writes_is_waited_for(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, size: int, patience: float
) -> None:
    monkeypatch.setattr(fetching_module, "_PATIENCE", patience)
    rig.put("a", size)
    rig.put("b", size)
    with ExitStack() as opened:
        spot = opened.enter_context(Folder(rig.here).spot("a"))
        other = spot.open_alone(unfinished("a", "part"))
        assert other is not None
        opened.callback(os.close, other)
        another = opened.pop_all()
    if patience > 1:
        threading.Timer(0.3, another.close).start()
    fetching = rig.fetch()
    if patience > 1:
        assert fetching.summary.failed == {}
        assert rig.same()
    else:
        assert fetching.summary.failed == {"a": "'a' is being written by another program, or thread"}
        assert fetching.summary.files == 1
        another.close()


def test_several_orders_of_the_same_small_files(rig: Rig) -> None:
    """At the same time: each waits for what another one writes."""
    for number in range(400):
        rig.put(f"{number % 20}/{number}", number % 300)
    entries, done = rig.entries(), []
    threads = [threading.Thread(target=lambda: done.append(rig.fetch(4, entries))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [fetching.summary.failed for fetching in done] == [{}] * 3
    assert all(fetching.summary.files + fetching.summary.skipped == 400 for fetching in done)
    assert rig.same()


def test_a_huge_file_with_holes(rig: Rig) -> None:
    """Over 4 GiB, with some bytes here and there; cut off in the middle."""
    size, rng = (5 << 30) + 7, random.Random(5)
    places = {0: rng.randbytes(10), (4 << 30) + CHUNK - 5: rng.randbytes(10), size - 3: rng.randbytes(3)}
    with open(rig.there / "huge", "wb") as file:
        file.truncate(size)
        for place, data in places.items():
            file.seek(place)
            file.write(data)
    rig.after = 3000
    assert rig.fetch(1).summary.stopped
    rig.after = 10**9
    assert len(rig.fetched) > 2000
    fetching = rig.fetch(3)
    assert fetching.summary.failed == {}
    assert sorted(rig.fetched) == [("huge", chunk) for chunk in range(5121)], "each of them once"
    about = (rig.here / "huge").stat()
    assert about.st_size == size
    assert about.st_blocks * 512 < 64 * CHUNK
    with open(rig.here / "huge", "rb") as file:
        for place, data in places.items():
            file.seek(place)
            assert file.read(len(data)) == data
    assert checksum(rig.here / "huge") == checksum(rig.there / "huge")


def test_memory_does_not_grow_with_the_size_of_a_file(rig: Rig) -> None:
    tracemalloc.start()
    try:
        fetching = Fetching(Folder(rig.here), lambda path: path)
        entry = Entry("huge", MAX_SIZE, TIME, False)
        threading.Thread(target=fetching.plan, args=([[entry]],), daemon=True).start()
        connection = Connection()
        fetching.ready(connection)
        assert [task.first for (task,) in itertools.islice(fetching.tasks(connection), 2)] == [0, 4]
        digests = Digests()
        for chunk in range(100_000):
            digests.put(_Identity(1, 2, 1 << 40, TIME), chunk, b"d" * 16)
        assert digests.get(_Identity(1, 2, 1 << 40, TIME), 99_999) == b"d" * 16
        assert tracemalloc.get_traced_memory()[1] < 40 << 20
        fetching.give_up("enough")
    finally:
        tracemalloc.stop()


def test_giving_up_leaves_nothing_open(rig: Rig) -> None:
    entries = [Entry(f"f{number}", 2 * CHUNK, TIME, False) for number in range(30)]
    for _ in range(2):
        fetching = Fetching(Folder(rig.here), lambda path: path)
        planning = threading.Thread(target=fetching.plan, args=([entries],))
        planning.start()
        deadline = time.monotonic() + 10
        while fetching._large < 16:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        fetching.give_up("enough")
        planning.join(10)
        assert not planning.is_alive()
        assert fetching.summary.failed == {path: f"{path!r}: enough" for path in fetching.summary.failed} != {}


def test_giving_up_ends_all(rig: Rig) -> None:
    fetching = Fetching(Folder(rig.here), lambda path: path)
    endless = (Entry(f"f{number}", 1, TIME, False) for number in itertools.count())
    planning = threading.Thread(target=fetching.plan, args=([endless],))
    planning.start()
    connection = Connection()
    fetching.ready(connection)
    next(fetching.tasks(connection))
    fetching.give_up("enough")
    planning.join(10)
    assert not planning.is_alive()
    assert list(fetching.tasks(Connection())) == []
    fetching.wait()
    assert fetching.summary.failed == {path: f"{path!r}: enough" for path in fetching.summary.failed} != {}
