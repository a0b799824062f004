"""Small files on their way in: each whole or not at all, and none in the way of another."""

from __future__ import annotations

import errno
import os
import random
import threading
from pathlib import Path
from typing import Any

import pytest

from labc.errors import FilesError
from labc.files import rawio
from labc.files.arrival import BeingWrittenError, SpoiledError
from labc.files.batch import MOST, Small, put_together
from labc.files.chunks import CHUNK, digest_of, digest_of_all
from labc.files.folder import Folder, Spot
from labc.files.paths import unfinished
from labc.files.pieces import Entry

TIME = 1_700_000_000_123_456_789


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    (tmp_path / "share").mkdir()
    return Folder(tmp_path / "share")


def small(path: str, size: int = 100, *, executable: bool = False) -> Small:
    data = random.Random(path).randbytes(size)
    digest = digest_of_all([digest_of(data)] if data else [])
    return Small(path, Entry(f"from/{path}", size, TIME, executable), digest, data)


def contents(tmp_path: Path) -> dict[str, bytes]:
    root = tmp_path / "share"
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def kinds(problems: list[Exception | None]) -> list[type]:
    return [type(problem) for problem in problems]


def test_all_are_in_their_places(folder: Folder, tmp_path: Path) -> None:
    sizes = {"a": 0, "b": 1, "c/d/e": CHUNK - 1, "c/d/f": CHUNK, "c/g": 4096}
    files = [small(path, size) for path, size in sizes.items()]
    assert put_together(folder, files) == [None] * 5
    assert contents(tmp_path) == {each.path: each.data for each in files}
    assert {path.stat().st_mtime_ns for path in (tmp_path / "share").rglob("*") if path.is_file()} == {TIME}


def test_a_hole_takes_no_bytes(folder: Folder, tmp_path: Path) -> None:
    digest = digest_of_all([digest_of(bytes(CHUNK))])
    (tmp_path / "share" / unfinished("f", "part")).write_bytes(b"of an earlier try" * CHUNK)
    assert put_together(folder, [Small("f", Entry("f", CHUNK, TIME, False), digest, b"")]) == [None]
    assert contents(tmp_path) == {"f": bytes(CHUNK)}
    assert (tmp_path / "share" / "f").stat().st_blocks == 0


@pytest.mark.parametrize("executable", [True, False])
@pytest.mark.parametrize("left", [None, 0o600, 0o700])
def test_who_may_read_it_may_execute_it(folder: Folder, tmp_path: Path, executable: bool, left: int | None) -> None:
    """Also where an earlier try has left something."""
    if left is not None:
        part = tmp_path / "share" / unfinished("run", "part")
        part.write_bytes(b"more than there will be" * 100)
        part.chmod(left)
    assert put_together(folder, [small("run", executable=executable)]) == [None]
    assert contents(tmp_path) == {"run": small("run").data}
    mode = (tmp_path / "share" / "run").stat().st_mode
    assert (mode & 0o111) == ((mode & 0o444) >> 2 if executable else 0)


def test_what_is_spoiled_does_not_hold_up_the_others(folder: Folder, tmp_path: Path) -> None:
    good = small("good"), small("good too", 0)
    wrong = [
        small("a")._replace(data=b"x" * 100),
        small("b")._replace(data=small("b").data[:-1]),
        small("c")._replace(data=b""),
        small("d", CHUNK)._replace(data=b""),
        small("e", 0)._replace(data=b"x"),
        small("f")._replace(digest=b""),
    ]
    problems = put_together(folder, [good[0], *wrong, good[1]])
    assert kinds(problems) == [type(None), *[SpoiledError] * 6, type(None)]
    assert str(problems[1]) == "'a' did not arrive as it was sent"
    assert contents(tmp_path) == {each.path: each.data for each in good}


@pytest.mark.parametrize("path", ["../out", "a/../out", "/etc/x", "", "a/..", "a/", "..", ".labc-part-x"])
def test_a_path_that_leads_out_is_refused(folder: Folder, tmp_path: Path, path: str) -> None:
    """Also behind others of the same folder."""
    problems = put_together(folder, [small("a/b"), small("b"), small(path), small("c")])
    assert kinds(problems) == [type(None), type(None), FilesError, type(None)]
    assert sorted(contents(tmp_path)) == ["a/b", "b", "c"]
    assert os.listdir(tmp_path) == ["share"]


def test_a_link_in_its_place_is_replaced_and_not_followed(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("as it was")
    (tmp_path / "share" / "f").symlink_to("../outside")
    (tmp_path / "share" / "out").symlink_to("..")
    assert kinds(put_together(folder, [small("f"), small("out/f")])) == [type(None), FilesError]
    assert (tmp_path / "outside").read_text() == "as it was"
    assert sorted(os.listdir(tmp_path)) == ["outside", "share"]
    assert not (tmp_path / "share" / "f").is_symlink()


def test_one_that_is_written_elsewhere_is_left_alone(folder: Folder, tmp_path: Path) -> None:
    with folder.spot("b") as spot:
        other = spot.open_alone(unfinished("b", "part"))
        assert other is not None
        os.write(other, b"another's")
        assert kinds(put_together(folder, [small("a"), small("b"), small("c")])) == [
            type(None),
            BeingWrittenError,
            type(None),
        ]
        assert contents(tmp_path)[unfinished("b", "part")] == b"another's"
        os.close(other)
    assert put_together(folder, [small("b")]) == [None]
    assert sorted(contents(tmp_path)) == ["a", "b", "c"]


@pytest.mark.parametrize("of", ["write_at", "fsync"])
def test_what_the_disk_does_not_take_is_not_kept(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of: str
) -> None:
    (tmp_path / "share" / "b").write_text("as it was")
    module: Any = rawio if of == "write_at" else os
    kept, calls = getattr(module, of), []

    def second_fails(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return kept(*args)

    monkeypatch.setattr(module, of, second_fails)
    problems = put_together(folder, [small("a"), small("b"), small("c")])
    assert kinds(problems) == [type(None), OSError, type(None)]
    assert contents(tmp_path) == {"a": small("a").data, "b": b"as it was", "c": small("c").data}


def test_a_file_where_a_folder_should_be(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "share" / "a").write_text("a file")
    problems = put_together(folder, [small("a/b"), small("c")])
    assert isinstance(problems[0], OSError)
    assert problems[1] is None


def test_each_is_on_the_disk_before_it_takes_its_place(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And all are written before one is waited for; and the folders come last."""
    steps: list[tuple[str, int]] = []
    inode = lambda file: os.fstat(file).st_ino  # noqa: E731
    write, fsync, replace = rawio.write_at, os.fsync, Spot.replace

    def note_write(file: int, data: Any, offset: int) -> None:
        steps.append(("write", inode(file)))
        write(file, data, offset)

    def note_sync(file: int) -> None:
        steps.append(("sync", inode(file)))
        fsync(file)

    def note_replace(self: Spot, name: str) -> None:
        steps.append(("replace", self.stat(name).st_ino))
        replace(self, name)

    monkeypatch.setattr(rawio, "write_at", note_write)
    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(Spot, "replace", note_replace)
    assert put_together(folder, [small("x/a"), small("x/b"), small("c")]) == [None] * 3
    a, b, c, x, root = ((tmp_path / "share" / path).stat().st_ino for path in ("x/a", "x/b", "c", "x", ""))
    assert steps[:3] == [("write", a), ("write", b), ("write", c)]
    for file in (a, b, c):
        assert steps.index(("sync", file)) < steps.index(("replace", file))
    assert steps[-2:] == [("sync", x), ("sync", root)]
    assert len(steps) == 11


def test_an_interruption_leaves_each_as_it_was_or_as_it_is_to_be(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every call of the system that counts."""
    files = [small("a"), small("x/b"), small("c")]
    wanted = {each.path: each.data for each in files}
    for after in range(100):
        for path in ("a", "c"):
            (tmp_path / "share" / path).write_text("before")
        calls = iter(range(after))

        def counted(kept: Any, calls: Any = calls) -> Any:
            def call(*args: Any, **kwargs: Any) -> Any:
                if next(calls, None) is None:
                    raise KeyboardInterrupt
                return kept(*args, **kwargs)

            return call

        with monkeypatch.context() as patch:
            for name in ("open", "fsync", "replace", "utime", "pwrite"):
                patch.setattr(os, name, counted(getattr(os, name)))
            try:
                problems = put_together(folder, files)
            except KeyboardInterrupt:
                problems = None
        found = contents(tmp_path)
        assert {path: data for path, data in found.items() if data not in (b"before", wanted.get(path))} == {}
        if problems is not None:
            break
    assert problems == [None] * 3
    assert after > 15
    assert found == wanted


def test_many_at_the_same_time_write_the_same_files(folder: Folder, tmp_path: Path) -> None:
    """One of them gets each; nobody hangs, and no descriptor is left."""
    files = [small(f"{number % 3}/{number}") for number in range(MOST)]
    before = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
    outcomes: list[list[Exception | None]] = []
    rng = random.Random(1)
    threads = [
        threading.Thread(target=lambda order: outcomes.append(put_together(folder, order)), args=(order,))
        for order in (rng.sample(files, len(files)) for _ in range(8))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert len(outcomes) == 8
    assert {type(problem) for outcome in outcomes for problem in outcome} <= {type(None), BeingWrittenError}
    assert contents(tmp_path) == {each.path: each.data for each in files}
    if before:
        assert len(os.listdir("/proc/self/fd")) == before


def test_few_are_open_at_a_time(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many connections there are: descriptors are few on some systems."""
    most, lock, kept = [0], threading.Lock(), os.fsync

    def counted(file: int) -> None:
        with lock:
            most[0] = max(most[0], len(os.listdir("/proc/self/fd")))
        kept(file)

    if not os.path.exists("/proc/self/fd"):
        pytest.skip("no list of descriptors")
    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(os, "fsync", counted)
    threads = [
        threading.Thread(target=put_together, args=(folder, [small(f"{thread}-{number}/f") for number in range(MOST)]))
        for thread in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert MOST < most[0] - before <= 4 * 2 * MOST + 12
