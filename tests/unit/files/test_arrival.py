"""A file on its way in: whole or not at all, and nothing twice."""

from __future__ import annotations

import errno
import os
import random
import threading
from pathlib import Path
from typing import Any

import pytest

from labc.errors import ClosedError
from labc.files import rawio
from labc.files.arrival import Arrival, BeingWrittenError, SpoiledError
from labc.files.chunks import CHUNK, count_chunks, digest_of, digest_of_all, length_of, parts_of
from labc.files.folder import Folder, Spot
from labc.files.patterns import by_glob
from labc.files.pieces import Entry

TIME = 1_700_000_000_123_456_789


class Source:
    """A file that is sent."""

    def __init__(self, size: int, seed: int = 1, modified: int = TIME, executable: bool = False) -> None:
        self.data = random.Random(seed).randbytes(size)
        self.entry = Entry("a/b.bin", size, modified, executable)

    def chunk(self, number: int) -> bytes:
        return self.data[number * CHUNK :][: length_of(number, len(self.data))]

    @property
    def digest(self) -> bytes:
        return digest_of_all(digest_of(self.chunk(number)) for number in range(count_chunks(len(self.data))))

    def bring(self, arrival: Arrival, *chunks: int) -> None:
        for number in chunks:
            arrival.put(number, self.chunk(number), digest_of(self.chunk(number)))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def listed(tmp_path: Path) -> list[str]:
    return sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())


@pytest.mark.parametrize("size", [CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 17])
def test_chunks_in_any_order_make_the_file(folder: Folder, tmp_path: Path, size: int) -> None:
    source = Source(size)
    with Arrival(folder, "x/y/new.bin", source.entry) as arrival:
        assert list(arrival.missing) == list(range(count_chunks(size)))
        source.bring(arrival, *reversed(list(arrival.missing)))
        assert not (tmp_path / "x/y/new.bin").exists()
        arrival.finish(source.digest)
    arrived = tmp_path / "x/y/new.bin"
    assert arrived.read_bytes() == source.data
    assert arrived.stat().st_mtime_ns == TIME
    assert listed(tmp_path) == ["x/y/new.bin"]


@pytest.mark.parametrize("executable", [True, False])
def test_who_may_read_it_may_execute_it(folder: Folder, tmp_path: Path, executable: bool) -> None:
    (tmp_path / "run").write_text("before")
    source = Source(CHUNK + 10, executable=executable)
    with Arrival(folder, "run", source.entry) as arrival:
        source.bring(arrival, 0, 1)
        arrival.finish(source.digest)
    mode = (tmp_path / "run").stat().st_mode
    assert (mode & 0o111) == ((mode & 0o444) >> 2 if executable else 0)


def test_what_has_come_counts_the_next_time(folder: Folder, tmp_path: Path) -> None:
    source = Source(4 * CHUNK + 5)
    with Arrival(folder, "f", source.entry) as arrival:
        source.bring(arrival, 3, 0)
    assert list(folder.entries(by_glob(""))) == [], "what is not finished is not shown"
    with Arrival(folder, "f", source.entry) as arrival:
        assert list(arrival.missing) == [1, 2, 4]
        source.bring(arrival, 1)
    with Arrival(folder, "f", source.entry) as arrival:
        assert list(arrival.missing) == [2, 4]
        source.bring(arrival, 2, 4)
        arrival.finish(source.digest)
    assert (tmp_path / "f").read_bytes() == source.data
    assert listed(tmp_path) == ["f"]


@pytest.mark.parametrize("other", [Source(4 * CHUNK, modified=TIME + 1), Source(5 * CHUNK), Source(2 * CHUNK)])
def test_of_another_version_nothing_counts(folder: Folder, tmp_path: Path, other: Source) -> None:
    source = Source(4 * CHUNK)
    with Arrival(folder, "f", source.entry) as arrival:
        source.bring(arrival, 0, 1)
    with Arrival(folder, "f", other.entry) as arrival:
        assert list(arrival.missing) == list(range(count_chunks(len(other.data))))
        other.bring(arrival, *arrival.missing)
        arrival.finish(other.digest)
    assert (tmp_path / "f").read_bytes() == other.data


@pytest.mark.parametrize("spoil", ["data", "journal", "journal's end", "journal's head", "the file is shorter"])
def test_what_was_spoiled_meanwhile_does_not_count(folder: Folder, tmp_path: Path, spoil: str) -> None:
    source = Source(4 * CHUNK)
    with Arrival(folder, "f", source.entry) as arrival:
        source.bring(arrival, 0, 1, 2)
    (part,) = tmp_path.glob("*.part")
    (journal,) = tmp_path.glob("*.journal")
    data, notes = bytearray(part.read_bytes()), bytearray(journal.read_bytes())
    expected = [3]
    match spoil:
        case "data":
            data[CHUNK + 7] ^= 1
            expected = [1, 3]
        case "journal":
            notes[-30] ^= 1  # the digest of chunk 1
            expected = [1, 3]
        case "journal's end":
            del notes[-3:]
            expected = [2, 3]
        case "journal's head":
            notes[20] ^= 1
            expected = [0, 1, 2, 3]
        case "the file is shorter":
            del data[2 * CHUNK + 9 :]
            expected = [2, 3]
    part.write_bytes(data)
    journal.write_bytes(notes)
    with Arrival(folder, "f", source.entry) as arrival:
        assert list(arrival.missing) == expected
        source.bring(arrival, *expected)
        arrival.finish(source.digest)
    assert (tmp_path / "f").read_bytes() == source.data


def test_a_hole_is_one_even_where_something_was_written_before(folder: Folder, tmp_path: Path) -> None:
    source = Source(4 * CHUNK)
    source.data = source.data[:CHUNK] + bytes(2 * CHUNK) + source.data[3 * CHUNK :]
    with Arrival(folder, "f", source.entry) as arrival:
        source.bring(arrival, 0)
    (part,) = tmp_path.glob("*.part")
    with open(part, "ab") as file:
        file.write(b"what was killed while it was written" * 1000)
    with Arrival(folder, "f", source.entry) as arrival:
        assert list(arrival.missing) == [1, 2, 3]
        for chunk in (1, 2):
            with pytest.raises(SpoiledError):
                arrival.put(chunk, b"", digest_of(b""))
            arrival.put(chunk, b"", digest_of(bytes(CHUNK)))
        source.bring(arrival, 3)
        arrival.finish(source.digest)
    assert (tmp_path / "f").read_bytes() == source.data


def test_a_spoiled_chunk_is_refused(folder: Folder, tmp_path: Path) -> None:
    source = Source(CHUNK + 5)
    with Arrival(folder, "f", source.entry) as arrival:
        for data in (b"x" + source.chunk(1)[1:], source.chunk(1)[:-1], b""):
            with pytest.raises(SpoiledError, match="chunk 1 of 'f'"):
                arrival.put(1, data, digest_of(source.chunk(1)))
        assert list(arrival.missing) == [0, 1]


@pytest.mark.parametrize("wrong", ["a chunk is missing", "another digest"])
def test_what_is_not_whole_does_not_take_its_place(folder: Folder, tmp_path: Path, wrong: str) -> None:
    (tmp_path / "f").write_text("as it was")
    source = Source(3 * CHUNK)
    with Arrival(folder, "f", source.entry) as arrival:
        source.bring(arrival, 0, 2, *([1] if wrong == "another digest" else []))
        with pytest.raises(SpoiledError):
            arrival.finish(source.digest if wrong != "another digest" else Source(3 * CHUNK, seed=2).digest)
    assert (tmp_path / "f").read_text() == "as it was"
    assert listed(tmp_path) == ["f"]


def test_one_writes_a_file_at_a_time(folder: Folder, tmp_path: Path) -> None:
    source = Source(CHUNK * 2)
    with Arrival(folder, "f", source.entry) as arrival:
        with pytest.raises(BeingWrittenError, match="'f'"), Arrival(folder, "f", source.entry):
            pass
        with Arrival(folder, "g", source.entry):
            pass
        source.bring(arrival, 0, 1)
        arrival.finish(source.digest)
    with Arrival(folder, "f", source.entry) as arrival:
        assert list(arrival.missing) == [0, 1]
    assert (tmp_path / "f").read_bytes() == source.data, "it was not touched"


def test_who_is_at_it_when_it_is_left_does_not_write_elsewhere(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its descriptor stays open until then, and nobody else has the file."""
    source = Source(2 * CHUNK)
    write, inside, go_on = rawio.write_at, threading.Event(), threading.Event()

    def slowly(file: int, data: Any, offset: int) -> None:
        if offset == CHUNK:
            inside.set()
            assert go_on.wait(10)
        write(file, data, offset)

    monkeypatch.setattr(rawio, "write_at", slowly)
    arrival = Arrival(folder, "f", source.entry)
    with arrival:
        late = threading.Thread(target=source.bring, args=(arrival, 1))
        late.start()
        assert inside.wait(10)
    with pytest.raises(BeingWrittenError), Arrival(folder, "f", source.entry):
        pass
    with pytest.raises(ClosedError):
        source.bring(arrival, 0)
    go_on.set()
    late.join()
    with Arrival(folder, "f", source.entry) as again:
        assert list(again.missing) == [0]


def test_nobody_else_begins_it_anew_before_it_is_in_its_place(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, refused = Source(3 * CHUNK), []

    def with_another(of: str) -> None:
        kept = getattr(Spot, of)

        def method(self: Spot, *args: Any, **kwargs: Any) -> Any:
            try:
                with Arrival(folder, "f", source.entry):
                    pass
            except BeingWrittenError:
                refused.append(of)
            return kept(self, *args, **kwargs)

        monkeypatch.setattr(Spot, of, method)

    with Arrival(folder, "f", source.entry) as arrival:
        source.bring(arrival, 0, 1, 2)
        for step in ("describe", "replace"):
            with_another(step)
        arrival.finish(source.digest)
    assert refused == ["describe", "replace"]
    assert (tmp_path / "f").read_bytes() == source.data
    assert listed(tmp_path) == ["f"]


def test_what_the_disk_did_not_take_is_not_kept(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Source(3 * CHUNK)

    def broken(file: int) -> None:
        raise OSError(errno.EIO, "input/output error")

    with Arrival(folder, "f", source.entry) as arrival:
        source.bring(arrival, 0, 1, 2)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", broken)
            with pytest.raises(OSError, match="input/output"):
                arrival.finish(source.digest)
    assert listed(tmp_path) == []


def test_many_threads_bring_chunks(folder: Folder, tmp_path: Path) -> None:
    source = Source(40 * CHUNK)
    with Arrival(folder, "f", source.entry) as arrival:
        threads = [threading.Thread(target=source.bring, args=(arrival, *range(at, 40, 8))) for at in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        arrival.finish(source.digest)
    assert (tmp_path / "f").read_bytes() == source.data


def test_a_link_in_its_place_is_replaced_and_not_followed(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("as it was")
    (tmp_path / "share").mkdir()
    (tmp_path / "share" / "f").symlink_to("../outside")
    source = Source(2 * CHUNK)
    with Arrival(Folder(tmp_path / "share"), "f", source.entry) as arrival:
        source.bring(arrival, 0, 1)
        arrival.finish(source.digest)
    assert (tmp_path / "outside").read_text() == "as it was"
    assert not (tmp_path / "share" / "f").is_symlink()


def test_descriptors_are_closed(folder: Folder) -> None:
    if not os.path.exists("/proc/self/fd"):
        pytest.skip("no list of descriptors")
    before = len(os.listdir("/proc/self/fd"))
    source = Source(2 * CHUNK)
    for _ in range(2):
        with Arrival(folder, "f", source.entry) as arrival:
            source.bring(arrival, 0)
    with Arrival(folder, "f", source.entry) as arrival, pytest.raises(SpoiledError):
        arrival.finish(b"")
    assert len(os.listdir("/proc/self/fd")) == before


def test_parts() -> None:
    assert list(parts_of([], 3)) == []
    assert list(parts_of([0, 1, 2, 3, 5, 8, 9], 3)) == [(0, 3), (3, 1), (5, 1), (8, 2)]
