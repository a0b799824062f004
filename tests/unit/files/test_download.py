"""An order of files, over streams that are generators of this process, and break."""

from __future__ import annotations

import os
import queue
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labc.errors import FilesError, PeerLostError, ProtocolError
from labc.files import order as order_module
from labc.files import pieces
from labc.files.choosing import How
from labc.files.chunks import CHUNK
from labc.files.download import LIST, READ, Download
from labc.files.folder import Folder
from labc.files.serving import Serving
from labc.files.turns import Turns
from labc.files.upload import RECEIVE, WRITE

from .test_serving import Caller, Rights, Share


class Stream:
    """Closed by any thread, it ends with its next value."""

    def __init__(self, values: Iterator[Any]) -> None:
        self._values = values
        self._closed = False

    def __iter__(self) -> Iterator[Any]:
        for value in self._values:
            if self._closed:
                return
            yield value

    def close(self) -> None:
        self._closed = True


class There:
    """The node that has the share."""

    def __init__(self, root: Path, connections: int = 9) -> None:
        shares = {"logs": Share(str(root), write=True)}
        self.serving = Serving(shares, Rights(), Caller, Turns(connections, connections))
        self.opened: list[str] = []
        self.each: Callable[[str, Any], Any] = lambda name, value: value

    def stream(self, name: str, *args: Any) -> Stream:
        self.opened.append(name)
        serving = self.serving
        function = {LIST: serving.entries, READ: serving.read, RECEIVE: serving.receive, WRITE: serving.write}[name]
        return Stream(self.each(name, value) for value in function(*args))

    def outgoing(self, values: Iterable[Any]) -> Iterator[Any]:
        """They are taken at once, as far as there are some, as over a lane."""
        taken: queue.SimpleQueue[Any] = queue.SimpleQueue()

        def take() -> None:
            for value in values:
                taken.put(value)
            taken.put(None)

        threading.Thread(target=take, daemon=True).start()
        return iter(taken.get, None)


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> There:
    monkeypatch.setattr(order_module, "_WAIT", 0.01)
    (tmp_path / "there").mkdir()
    (tmp_path / "here").mkdir()
    for number in range(40):
        (tmp_path / "there" / f"s{number}.log").write_bytes(random.Random(number).randbytes(100 * number))
    (tmp_path / "there" / "large.bin").write_bytes(random.Random(99).randbytes(20 * CHUNK + 3))
    return There(tmp_path / "there")


def order(there: There, tmp_path: Path, glob: str = "", connections: int = 3) -> Download:
    return Download(there, "logs", "glob", glob, Folder(tmp_path / "here"), lambda path: path, connections)


def same(tmp_path: Path) -> bool:
    there, here = ({path.name: path.read_bytes() for path in (tmp_path / at).iterdir()} for at in ("there", "here"))
    return there == here


@pytest.mark.parametrize("connections", [1, 3])
def test_all_that_is_meant_comes(there: There, tmp_path: Path, connections: int) -> None:
    summary = order(there, tmp_path, "*.log", connections).run()
    assert (summary.files, summary.failed, summary.stopped) == (40, {}, "")
    assert sorted(os.listdir(tmp_path / "here")) == sorted(f"s{number}.log" for number in range(40))
    assert order(there, tmp_path, "", connections).run().skipped == 40
    assert same(tmp_path)
    assert there.opened.count(READ) == 2 * connections


def test_connections_that_break_are_made_again(there: There, tmp_path: Path) -> None:
    lock, left = threading.Lock(), [5]

    def break_now_and_then(name: str, value: Any) -> Any:
        with lock:
            if name == READ and left[0]:
                left[0] -= 1
                raise PeerLostError("nas", "the cable", ran="maybe")
        return value

    there.each = break_now_and_then
    assert order(there, tmp_path).run().failed == {}
    assert same(tmp_path)
    assert left == [0]


def test_when_no_connection_can_be_made_all_that_is_left_is_told(there: There, tmp_path: Path) -> None:
    def broken(name: str, value: Any) -> Any:
        if name == READ:
            raise PeerLostError("nas", "the cable", ran="no")
        return value

    there.each = broken
    summary = order(there, tmp_path).run()
    assert summary.files == 0
    assert "s1.log" in summary.failed
    assert "the cable" in summary.stopped
    assert all("the cable" in why for why in summary.failed.values())
    assert there.opened.count(READ) == 9, "each of three connections three times"


class BreakingList:
    """It breaks after so many rows, as often as that is left."""

    def __init__(self, there: There, rows: int, times: int) -> None:
        self._there, self._rows, self.left = there, rows, times
        self._begun = self._told = 0

    def __call__(self, name: str, value: Any) -> Any:
        if name != LIST:
            return value
        if self._begun != (begun := self._there.opened.count(LIST)):
            self._begun, self._told = begun, 0
        self._told += 1
        if self._told > self._rows and self.left:
            self.left -= 1
            raise PeerLostError("nas", "the cable", ran="maybe")
        return value


@pytest.mark.parametrize(("how", "what"), [("glob", ""), ("paths", ["s1.log", "large.bin", "a", "s0.log"])])
def test_a_list_that_breaks_off_goes_on_where_it_was(
    there: There, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: How, what: Any
) -> None:
    monkeypatch.setattr(pieces, "_TOGETHER", 1)
    folder = tmp_path / "there" / "a"
    for name in ("a", "a.b", "a b"):  # in another order, if paths were compared letter by letter
        (folder / name).mkdir(parents=True)
        (folder / name / "x.log").write_text(name)
    there.each = breaking = BreakingList(there, 2, 2)
    download = Download(there, "logs", how, what, Folder(tmp_path / "here"), lambda path: path, 2)
    summary = download.run()
    assert (summary.failed, summary.stopped, summary.skipped) == ({}, "", 0)
    assert breaking.left == 0
    names = [path.relative_to(tmp_path / "there") for path in (tmp_path / "there").rglob("*") if path.is_file()]
    expected = sorted(names if how == "glob" else [name for name in names if str(name).split("/")[0] in what])
    here = [path.relative_to(tmp_path / "here") for path in (tmp_path / "here").rglob("*") if path.is_file()]
    assert sorted(here) == expected
    assert summary.files == len(expected)


def test_when_no_more_of_the_list_comes_what_was_listed_is_there(
    there: There, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "_TOGETHER", 7)
    there.each = BreakingList(there, 1, 1000)
    summary = order(there, tmp_path).run()
    assert summary.files == 7
    assert summary.stopped.startswith("the list of files ended")
    assert "the cable" in summary.stopped
    assert summary.failed == {}
    assert len(os.listdir(tmp_path / "here")) == 7
    assert there.opened.count(LIST) == 3


def test_what_can_not_be_read_there_is_told(there: There, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "there" / "out.log").symlink_to(tmp_path / "secret")
    summary = order(there, tmp_path, "*.log").run()
    assert summary.failed == {"out.log": "'out.log' is a link that leads out of its share"}
    assert summary.files == 40


def test_what_cannot_be_listed_is_raised(there: There, tmp_path: Path) -> None:
    with pytest.raises(FilesError, match="no such file"):
        order(there, tmp_path, "nothing/*").run()


def test_what_makes_no_sense_is_told(there: There, tmp_path: Path) -> None:
    there.each = lambda name, value: ["nonsense"] if name == READ else value
    summary = order(there, tmp_path).run()
    assert summary.files == 0
    assert any("no sense" in why for why in summary.failed.values())


@pytest.mark.parametrize(
    ("how", "what", "lie"),
    [
        ("glob", "s1.log", ".bashrc"),
        ("glob", "*.log", "x/s1.log"),
        ("glob", "a/**", ".bashrc"),
        ("paths", ["s1.log", "a"], "s1.logs"),
        ("paths", ["s1.log"], "a/s1.log"),
    ],
)
def test_files_that_nobody_has_asked_for_are_not_taken(
    there: There, tmp_path: Path, how: How, what: Any, lie: str
) -> None:
    there.serving.entries = lambda *_: iter([[[lie, 3, 5, False]]])  # type: ignore[method-assign]
    with pytest.raises(ProtocolError, match="for which nobody has asked"):
        Download(there, "logs", how, what, Folder(tmp_path / "here"), lambda path: path, 2).run()
    assert os.listdir(tmp_path / "here") == []


def test_it_can_be_stopped(there: There, tmp_path: Path) -> None:
    begun = threading.Event()

    def slowly(name: str, value: Any) -> Any:
        if name == READ:
            begun.set()
            time.sleep(0.05)
        return value

    there.each = slowly
    download = order(there, tmp_path)
    threading.Thread(target=lambda: begun.wait(5) and download.stop("that is enough")).start()
    began = time.monotonic()
    summary = download.run()
    assert time.monotonic() - began < 3
    assert summary.stopped == "that is enough"
    assert all(why == f"{path!r}: that is enough" for path, why in summary.failed.items())
    there.each = lambda name, value: value
    assert order(there, tmp_path).run().failed == {}
    assert same(tmp_path)


def test_files_that_are_changed_after_they_were_listed_are_begun_again(there: There, tmp_path: Path) -> None:
    for name in ("s39.log", "large.bin"):
        for round in range(5):
            file, changed = tmp_path / "there" / name, []

            def change(asked: str, value: Any, file: Path = file, changed: list[int] = changed) -> Any:
                if asked == READ and not changed:
                    changed.append(1)
                    os.utime(file)
                return value

            os.utime(file, ns=(round, round))
            there.each = change
            download = Download(there, "logs", "glob", name, Folder(tmp_path / "here"), lambda path: path, 2)
            summary = download.run()
            assert (summary.failed, summary.stopped, summary.files) == ({}, "", 1)
            assert (tmp_path / "here" / name).stat().st_mtime_ns == file.stat().st_mtime_ns


def test_more_connections_than_are_served_wait(there: There, tmp_path: Path) -> None:
    few = There(tmp_path / "there", connections=2)
    few.each = lambda name, value: time.sleep(0.001) or value
    assert order(few, tmp_path, connections=5).run().failed == {}
    assert same(tmp_path)
