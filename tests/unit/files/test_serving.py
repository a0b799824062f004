"""What a node answers about its shares, and to whom."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from labc.errors import FilesError, LabcError, ProtocolError, RefusedError
from labc.files.chunks import CHUNK, digest_of, digest_of_all
from labc.files.pieces import Chunk, Failed, Ready, Sent, Waiting, Wanted, Whole, packed, unpacked, unpacked_entries
from labc.files.serving import Serving
from labc.files.turns import Turns


@dataclass
class Share:
    path: str
    read: bool = True
    write: bool = False
    open: bool = False


class Caller:
    node_id = "caller"
    cancelled = False


class Rights:
    """As they are asked for, and given."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, bool]] = []
        self.refused: set[str] = set()

    def __call__(self, right: str, dangerous: bool) -> None:
        self.asked.append((right, dangerous))
        if right in self.refused:
            raise RefusedError("call", right, "somebody", where="here", rule="no")


@pytest.fixture
def rights() -> Rights:
    return Rights()


@pytest.fixture
def serving(tmp_path: Path, rights: Rights) -> Serving:
    for name in ("logs", "inbox", "closed"):
        (tmp_path / name / "a").mkdir(parents=True)
        (tmp_path / name / "a" / "x.log").write_bytes(b"x" * 10)
        (tmp_path / name / "y.txt").write_bytes(b"y" * (CHUNK + 1))
    shares = {
        "logs": Share(str(tmp_path / "logs")),
        "inbox": Share(str(tmp_path / "inbox"), write=True, open=True),
        "closed": Share(str(tmp_path / "closed"), read=False),
    }
    return Serving(shares, rights, Caller, Turns(each=2, in_all=2))


def paths(rows: Iterator[list[list[Any]]]) -> list[str]:
    return [entry.path for row in rows for entry in unpacked_entries(row)]


def told(values: Iterator[list[Any]]) -> list[Any]:
    return [piece for value in values for piece in unpacked(value)]


def test_shares_are_those_that_may_be_used(serving: Serving, rights: Rights) -> None:
    assert [row[:3] for row in serving.shares()] == [["inbox", True, True], ["logs", True, False]]
    assert len({folder for *_, folder in serving.shares()}) == 2
    rights.refused = {"files/logs/read", "files/inbox/write"}
    assert [row[:3] for row in serving.shares()] == [["inbox", True, False]]


def test_only_an_open_share_is_no_danger(serving: Serving, rights: Rights) -> None:
    list(serving.entries("logs", "glob", ""))
    list(serving.entries("inbox", "glob", ""))
    list(serving.delete("inbox", []))
    assert rights.asked == [("files/logs/read", True), ("files/inbox/read", False), ("files/inbox/write", False)]


@pytest.mark.parametrize(
    ("how", "what", "expected"),
    [
        ("glob", "", ["a/x.log", "y.txt"]),
        ("glob", "**/*.log", ["a/x.log"]),
        ("glob", "a/*.log", ["a/x.log"]),
        ("paths", ["a/x.log", "nothing"], ["a/x.log", "nothing"]),
        ("paths", ["a", "**"], ["a/x.log", "**"]),
        ("paths", [b"y.txt"], ["y.txt"]),
    ],
)
def test_lists(serving: Serving, how: str, what: Any, expected: list[str]) -> None:
    assert paths(serving.entries("logs", how, what)) == expected


def test_many_entries_come_in_parts(serving: Serving, tmp_path: Path) -> None:
    for number in range(1200):
        (tmp_path / "logs" / "a" / str(number)).touch()
    rows = list(serving.entries("logs", "glob", "a/*"))
    assert [len(row) for row in rows] == [500, 500, 201]


def test_files_are_read(serving: Serving, tmp_path: Path) -> None:
    about = (tmp_path / "logs" / "y.txt").stat()
    wanted = Wanted(7, "y.txt", about.st_size, about.st_mtime_ns, 0, 2, True)
    ready, first, second, sent = told(serving.read("logs", [packed([wanted])]))
    assert ready == Ready()
    assert first == Chunk(7, 0, digest_of(b"y" * CHUNK), b"y" * CHUNK)
    assert second == Chunk(7, 1, digest_of(b"y"), b"y")
    assert sent == Sent(7, digest_of_all([digest_of(b"y" * CHUNK), digest_of(b"y")]))


def test_what_cannot_be_read_is_told_and_the_next_is_read(serving: Serving, tmp_path: Path) -> None:
    about = (tmp_path / "logs" / "a" / "x.log").stat()
    good = Wanted(1, "a/x.log", 10, about.st_mtime_ns, 0, 1, True)
    wanted = [good._replace(number=n, path=path) for n, path in enumerate(("../inbox/y.txt", "nothing", "a"))]
    answers = told(serving.read("logs", [packed([*wanted, good._replace(number=3)])]))
    assert [type(each) for each in answers] == [Ready, Failed, Failed, Failed, Whole]
    assert answers[-1] == Whole(3, digest_of_all([digest_of(b"x" * 10)]), b"x" * 10)
    assert not any(isinstance(each, Failed) and str(tmp_path) in each.text for each in answers)


def test_who_has_too_many_connections_is_told(serving: Serving) -> None:
    class Ends(Exception):
        pass

    def wanted() -> Iterator[Any]:
        yield packed([Wanted(0, "nothing", 0, 0, 0, 0, True)])
        raise Ends

    first, second, third = (serving.read("logs", wanted()) for _ in range(3))
    assert unpacked(next(first)) == unpacked(next(second)) == [Ready()]
    assert unpacked(next(third)) == [Waiting(0)]
    assert [type(piece) for piece in unpacked(next(first))] == [Failed]
    with pytest.raises(Ends):
        next(first)
    assert unpacked(next(third)) == [Ready()]
    second.close()
    third.close()
    assert unpacked(next(serving.read("logs", wanted()))) == [Ready()]


def test_usage_and_checksums(serving: Serving) -> None:
    files, size, free = serving.usage("logs", "")
    assert (files, size) == (2, CHUNK + 11)
    assert free > 0
    assert serving.usage("logs", "a")[:2] == [1, 10]
    expected = ["a/x.log", digest_of_all([digest_of(b"x" * 10)]), ""]
    assert list(serving.checksums("logs", "glob", "a")) == [expected]


def test_only_what_has_the_digest_is_deleted(serving: Serving, tmp_path: Path) -> None:
    digest = digest_of_all([digest_of(b"x" * 10)])
    inbox = tmp_path / "inbox"
    ((path, why),) = serving.delete("inbox", [["a/x.log", b"another"]])
    assert path == "a/x.log"
    assert "another digest" in why
    assert (inbox / "a" / "x.log").exists()
    assert list(serving.delete("inbox", [["a/x.log", digest]])) == [["a/x.log", ""]]
    assert not (inbox / "a" / "x.log").exists()
    (inbox / "link").symlink_to("../logs/y.txt")
    rows = list(serving.delete("inbox", [[each, None] for each in ("y.txt", "a", "../logs/y.txt", "nothing", "link")]))
    assert [not why for _, why in rows] == [True, False, False, False, True]
    assert os.listdir(inbox) == ["a"]
    assert (tmp_path / "logs" / "y.txt").exists()


def test_what_the_settings_do_not_allow(serving: Serving, rights: Rights) -> None:
    with pytest.raises(FilesError, match="read = false"):
        list(serving.entries("closed", "glob", ""))
    with pytest.raises(FilesError, match="write = false"):
        list(serving.delete("logs", [["y.txt", None]]))
    with pytest.raises(FilesError, match="no share 'other'"):
        serving.usage("other", "")
    rights.refused = {"files/logs/read"}
    for ask in (
        lambda: list(serving.entries("logs", "glob", "")),
        lambda: list(serving.read("logs", [])),
        lambda: serving.usage("logs", ""),
        lambda: list(serving.checksums("logs", "glob", "")),
    ):
        with pytest.raises(RefusedError):
            ask()


def test_a_folder_that_is_not_there_is_told(serving: Serving, tmp_path: Path) -> None:
    for ask in (lambda: list(serving.entries("logs", "glob", "b/*")), lambda: serving.usage("logs", "b")):
        with pytest.raises(FilesError, match="'b': no such file or directory"):
            ask()
    (tmp_path / "logs").rename(tmp_path / "elsewhere")
    with pytest.raises(FilesError, match="no such file"):
        list(serving.checksums("logs", "glob", ""))


@pytest.mark.parametrize("piece", [["whole", 1, b"", None], ["chunk", 1, 0, b"", "text"], ["whole", 1, b"", 5]])
def test_data_that_is_none_is_refused(piece: Any) -> None:
    with pytest.raises(ProtocolError, match="no sense"):
        unpacked([piece])


@pytest.mark.parametrize(
    "bad",
    [
        None,
        [],
        "want",
        ["want"],
        [["want"]],
        [["chunk", 1, 2, b"", b""]],
        [["want", 1, 2, 3, 4, 5, 6, 7]],
    ],
)
def test_what_makes_no_sense_is_refused(serving: Serving, bad: Any) -> None:
    with pytest.raises(ProtocolError):
        list(serving.read("logs", [bad]))
    with pytest.raises(ProtocolError):  # one that takes for ever would hold up the whole node
        list(serving.entries("logs", "regex", "(.*)*x"))
    with pytest.raises(LabcError):
        list(serving.delete("inbox", [bad]))
    with pytest.raises(LabcError):
        list(serving.entries("logs", "glob", bad if isinstance(bad, list) else None))
