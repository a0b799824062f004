"""Files that are sent to a share, over streams that are generators of this process, and break."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from trees import contents

from labc.errors import FilesError, NotFoundError, PeerLostError
from labc.files import order as order_module
from labc.files.chunks import CHUNK
from labc.files.pieces import Opened, Status, unpacked
from labc.files.upload import RECEIVE, WRITE, Source, Upload, sources

from .test_download import There
from .test_serving import Caller


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(order_module, "_WAIT", 0.01)
    root = tmp_path / "here"
    (root / "a" / "empty").mkdir(parents=True)
    (tmp_path / "there").mkdir()
    for number in range(40):
        (root / "a" / f"s{number}.log").write_bytes(random.Random(number).randbytes(100 * number))
    (root / "large.bin").write_bytes(random.Random(99).randbytes(20 * CHUNK + 3))
    (root / "a" / "run").touch(mode=0o755)
    return root


@pytest.fixture
def there(here: Path, tmp_path: Path) -> There:
    return There(tmp_path / "there")


def upload(there: There, here: Path, to: str = "", connections: int = 3) -> Upload:
    (source,) = sources([f"{here}/"])
    return Upload(there, "logs", to, source, connections)


@pytest.mark.parametrize("connections", [1, 3])
def test_all_files_arrive_as_they_are(there: There, here: Path, tmp_path: Path, connections: int) -> None:
    summary = upload(there, here, "in/box", connections).run()
    assert (summary.files, summary.skipped, summary.failed, summary.stopped) == (42, 0, {}, "")
    assert contents(tmp_path / "there" / "in" / "box") == contents(here)
    again = upload(there, here, "in/box", connections)
    assert (again.run().skipped, again.status().listed) == (42, True)
    assert there.opened.count(WRITE) >= connections


def test_connections_that_break_are_made_again(there: There, here: Path, tmp_path: Path) -> None:
    lock, left = threading.Lock(), [5]

    def break_now_and_then(name: str, value: Any) -> Any:
        with lock:
            if name == WRITE and left[0]:
                left[0] -= 1
                raise PeerLostError("nas", "the cable", ran="maybe")
        return value

    there.each = break_now_and_then
    assert upload(there, here).run().failed == {}
    assert contents(tmp_path / "there") == contents(here)
    assert left == [0]


def test_when_the_other_end_is_lost_the_order_is_given_again(there: There, here: Path, tmp_path: Path) -> None:
    begun: list[str] = []

    def lose_it_once(name: str, value: Any) -> Any:
        if name == RECEIVE and value[0][0] == "status" and value[0][2] and not begun:
            begun.append(name)
            raise PeerLostError("nas", "it was killed", ran="maybe")
        return value

    there.each = lose_it_once
    summary = upload(there, here).run()
    assert (summary.failed, summary.stopped) == ({}, "")
    assert summary.files + summary.skipped == 42
    assert begun
    assert there.opened.count(RECEIVE) == 2
    assert contents(tmp_path / "there") == contents(here)


@pytest.mark.parametrize("ends", ["", "/"])
def test_two_files_that_would_get_one_place_are_refused(tmp_path: Path, ends: str) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "run").mkdir(parents=True)
        (tmp_path / name / "run" / "x.log").touch()
    one, two = tmp_path / "one" / "run", tmp_path / "two" / "run"
    if ends:  # what is in them: not known before it is looked for
        assert len(sources([f"{one}/", f"{two}/"])) == 2
        return
    with pytest.raises(FilesError, match="would both become 'run' there"):
        sources([one, two])
    assert sources([one, one]) == [Source(str(tmp_path / "one"), "paths", ["run"])]


def test_when_nobody_takes_it_that_is_raised(there: There, here: Path) -> None:
    def gone(name: str, value: Any) -> Any:
        raise NotFoundError("core.files.receive")

    there.each = gone
    with pytest.raises(NotFoundError):
        upload(there, here).run()
    assert there.opened.count(RECEIVE) == 3


def test_what_is_refused_is_raised_at_once(there: There, here: Path) -> None:
    (source,) = sources([f"{here}/"])
    with pytest.raises(FilesError, match="no share 'other'"):
        Upload(there, "other", "", source, 2).run()
    with pytest.raises(FilesError, match=r"'\.\.' in it"):
        Upload(there, "logs", "../x", source, 2).run()
    assert there.opened.count(RECEIVE) == 2


def test_a_file_that_can_not_be_written_fails_alone(there: There, here: Path, tmp_path: Path) -> None:
    (tmp_path / "there" / "large.bin").mkdir()
    summary = upload(there, here).run()
    assert list(summary.failed) == ["large.bin"]
    assert "'large.bin'" in summary.failed["large.bin"]
    assert summary.files == 41
    assert (tmp_path / "there" / "a" / "s7.log").read_bytes() == (here / "a" / "s7.log").read_bytes()


def test_a_file_that_is_gone_meanwhile_fails_alone(there: There, here: Path) -> None:
    summary = Upload(there, "logs", "", Source(str(here), "paths", ["large.bin", "nothing", "a/s3.log"]), 2).run()
    assert list(summary.failed) == ["nothing"]
    assert summary.files == 2


def test_what_can_not_be_read_here_is_told(there: There, here: Path, tmp_path: Path) -> None:
    (here / "a" / "out").symlink_to(tmp_path)
    summary = upload(there, here).run()
    assert list(summary.failed) == ["a/out"]
    assert "leads out" in summary.failed["a/out"]
    assert summary.files == 42


def test_it_ends_when_its_sender_is_gone_and_nothing_moves(there: There, tmp_path: Path) -> None:
    serving = there.serving
    caller = Caller()
    serving._caller = lambda: caller
    never = threading.Event()

    def rows() -> Iterator[list[Any]]:
        yield [["x.bin", 20 * CHUNK, 5, False]]
        never.wait()  # as of a cable that was pulled

    told = serving.receive("logs", "1", "", rows())
    try:
        for values in told:
            if unpacked(values) in ([Opened()], [Status()]):
                continue
            break
        assert list((tmp_path / "there").glob(".labc-part-*.part"))
        caller.cancelled = True
        began = time.monotonic()
        list(told)
        assert time.monotonic() - began < 2
    finally:
        never.set()
    caller.cancelled = False
    again = serving.receive("logs", "2", "", iter([[["x.bin", 20 * CHUNK, 5, False]]]))
    statuses = (piece for (piece,) in map(unpacked, again) if isinstance(piece, Status))
    status = next(status for status in statuses if status.under_way or status.failed)
    assert (status.under_way, status.failed) == (1, 0), "nobody holds the file any more"
    again.close()


def test_it_can_be_stopped_and_goes_on_later(there: There, here: Path, tmp_path: Path) -> None:
    begun = threading.Event()

    def slowly(name: str, value: Any) -> Any:
        if name == WRITE:
            begun.set()
            time.sleep(0.05)
        return value

    there.each = slowly
    order = upload(there, here)
    threading.Thread(target=lambda: begun.wait(5) and order.stop("that is enough")).start()
    began = time.monotonic()
    summary = order.run()
    assert time.monotonic() - began < 3
    assert summary.stopped == "that is enough"
    there.each = lambda name, value: value
    assert upload(there, here).run().failed == {}
    assert contents(tmp_path / "there") == contents(here)


def test_what_paths_of_this_computer_mean(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(here)
    assert sources(["a"]) == [Source(str(here), "paths", ["a"])]
    assert sources(["a/", "large.bin"]) == [
        Source(str(here / "a"), "paths", [""]),
        Source(str(here), "paths", ["large.bin"]),
    ]
    assert sources(["."]) == [Source(str(here), "paths", [""])]
    assert sources(["a/*.log", here / "large.bin"]) == [
        Source(f"{here}/a", "glob", ["*.log"]),
        Source(str(here), "paths", ["large.bin"]),
    ]
    with pytest.raises(FilesError, match="'nothing'"):
        sources(["nothing"])


def test_a_name_that_looks_like_a_pattern(there: There, here: Path, tmp_path: Path) -> None:
    (here / "a[1].txt").write_text("x")
    (source,) = sources([here / "a[1].txt"])
    assert Upload(there, "logs", "", source, 1).run().files == 1
    assert os.listdir(tmp_path / "there") == ["a[1].txt"]
