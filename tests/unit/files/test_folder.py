"""What can be reached in the folder of a share, and that nothing else can."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from labc.errors import FilesError
from labc.files import folder as folder_module
from labc.files.folder import Folder, Near
from labc.files.patterns import by_glob
from labc.files.pieces import Entry, Missing

pytestmark = pytest.mark.skipif(os.name == "nt", reason="links and pipes")


@pytest.fixture(params=["by folder", "by path"])
def share(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A share's folder, opened in both ways that there are."""
    if request.param == "by path":
        monkeypatch.setattr(folder_module, "_BY_FOLDER", False)
    return make_share(tmp_path)


def make_share(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("secret")
    root = tmp_path / "share"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "deep.log").write_text("deep")
    (root / "a" / "x.log").write_text("x")
    (root / "top.log").write_text("top!")
    (root / "empty").mkdir()
    return root


def read(share: Path, path: str) -> str:
    descriptor = Folder(share).open_file(path)
    with open(descriptor, encoding="utf-8") as file:
        return file.read()


def paths(share: Path, glob: str = "", below: str = "") -> list[str]:
    return [each.path for each in Folder(share).entries(by_glob(glob), below) if isinstance(each, Entry)]


def left_out(share: Path) -> list[str]:
    """What can't be read, as the sentences begin that say so."""
    return [each.text.split(":")[0] for each in Folder(share).entries(by_glob("")) if isinstance(each, Missing)]


def test_files_are_opened_and_listed(share: Path) -> None:
    assert read(share, "a/b/deep.log") == "deep"
    assert paths(share) == ["a/b/deep.log", "a/x.log", "empty/", "top.log"]
    assert paths(share, "*.log") == ["top.log"]
    assert paths(share, "a/**", below="a") == ["a/b/deep.log", "a/x.log"]
    assert paths(share, "a/x.log", below="a/x.log") == ["a/x.log"]
    assert Folder(share).usage() == (3, 9)
    assert Folder(share).usage("a/b") == (1, 4)


def test_what_an_entry_tells(share: Path) -> None:
    file = share / "top.log"
    os.utime(file, ns=(1, 1_234_567_890_123_456_789))
    file.chmod(0o755)
    assert Folder(share).entry("top.log") == ("top.log", 4, 1_234_567_890_123_456_789, True)
    file.chmod(0o644)
    assert not Folder(share).entry("top.log").executable


def test_names_of_any_letters(share: Path) -> None:
    names = ["ä ö", "日本.txt", "a\nb", "a\\b", "C:", "nul", "*", "~", "-x", os.fsdecode(b"\xff\xfe")]
    for name in names:
        (share / "empty" / name).write_text(name, errors="surrogateescape")
    assert sorted(paths(share, "empty")) == sorted(f"empty/{name}" for name in names)
    assert [read(share, f"empty/{name}") for name in names[:-1]] == names[:-1]


@pytest.mark.parametrize("path", ["../secret", "a/../../secret", "/etc/passwd", "a//x.log", ".", ""])
def test_ways_out_are_refused(share: Path, path: str) -> None:
    with pytest.raises(FilesError):
        Folder(share).open_file(path)
    if path:
        with pytest.raises(FilesError):
            list(Folder(share).entries(by_glob(""), path))


@pytest.mark.parametrize(
    "target",
    [
        lambda root: root.parent / "secret",
        lambda root: "../../secret",
        lambda root: "../../share/b/../../secret",
        lambda root: "/etc/passwd",
        lambda root: root.parent,
        lambda root: str(root) + "x",
    ],
)
def test_links_out_are_refused_and_not_shown(share: Path, target: Callable[[Path], str]) -> None:
    (share.parent / "sharex").write_text("a name that begins like the share's")
    (share / "a" / "link").symlink_to(target(share))
    with pytest.raises(FilesError, match="a/link"):
        read(share, "a/link")
    with pytest.raises((FilesError, NotADirectoryError)):
        read(share, "a/link/secret")
    assert paths(share) == ["a/b/deep.log", "a/x.log", "empty/", "top.log"]
    assert [each.split(" is ")[0] for each in left_out(share)] == ["'a/link'"]


def test_links_within_are_followed(share: Path) -> None:
    (share / "to file").symlink_to("a/x.log")
    (share / "empty" / "up").symlink_to("../a")
    (share / "absolute").symlink_to(share / "a" / "b")
    (share / "chain").symlink_to("to file")
    assert read(share, "to file") == read(share, "chain") == read(share, "empty/up/x.log") == "x"
    assert read(share, "absolute/deep.log") == "deep"
    assert paths(share) == ["a/b/deep.log", "a/x.log", "chain", "to file", "top.log"]
    assert left_out(share) == [
        f"{name} is a folder, or a link to one, and no plain file" for name in ("'absolute'", "'empty/up'")
    ]


def test_links_in_a_circle(share: Path) -> None:
    (share / "one").symlink_to("two")
    (share / "two").symlink_to("one")
    (share / "a" / "self").symlink_to(".")
    with pytest.raises((FilesError, OSError)):
        read(share, "one")
    assert read(share, "a/self/self/x.log") == "x"
    assert paths(share) == ["a/b/deep.log", "a/x.log", "empty/", "top.log"]
    assert [each.split()[0].rstrip(":") for each in left_out(share)] == ["'a/self'", "'one'", "'two'"]


def test_a_link_that_leads_nowhere(share: Path) -> None:
    (share / "nowhere").symlink_to("nothing")
    with pytest.raises(FileNotFoundError):
        read(share, "nowhere")
    assert "nowhere" not in paths(share)


def test_what_is_no_plain_file(share: Path) -> None:
    os.mkfifo(share / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(share)  # its path may be too long for a socket's
        try:
            listener.bind("socket")
        finally:
            os.chdir(here)
        for name in ("pipe", "a", "socket"):
            with pytest.raises(FilesError, match="no plain file"):
                read(share, name)
        assert paths(share) == ["a/b/deep.log", "a/x.log", "empty/", "top.log"]


def test_a_pipe_does_not_notice_that_it_was_asked_for(share: Path) -> None:
    os.mkfifo(share / "pipe")
    with pytest.raises(FilesError):
        read(share, "pipe")
    with pytest.raises(OSError, match="No such device"):  # nobody reads, nor did
        os.open(share / "pipe", os.O_WRONLY | os.O_NONBLOCK)
    opened: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        kept = os.open
        patch.setattr(os, "open", lambda path, *args, **more: opened.append(str(path)) or kept(path, *args, **more))
        with pytest.raises(FilesError):
            read(share, "pipe")
    assert not any(path.endswith("pipe") for path in opened)


def test_when_no_more_files_can_be_opened_nothing_is_left_out(share: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Near, path: str) -> int:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(Near, "open_file", full)
    with pytest.raises(OSError, match="too many"):
        paths(share)


def test_what_is_not_there(share: Path) -> None:
    for path in ("nothing", "a/nothing", "top.log/x"):
        with pytest.raises(OSError):
            read(share, path)
    with pytest.raises(FileNotFoundError):
        paths(share, below="nothing")
    with pytest.raises(FileNotFoundError):
        paths(share.parent / "no share")


def test_folders_that_lie_deep(share: Path) -> None:
    """Deeper than calls may be nested, and than descriptors may be open; each beside a file."""
    depth = 350
    names, above = ["d"] * depth, os.open(share / "empty", os.O_RDONLY)
    try:
        for name in names:
            os.close(os.open("f", os.O_WRONLY | os.O_CREAT, dir_fd=above))
            os.mkdir(name, dir_fd=above)
            below = os.open(name, os.O_RDONLY, dir_fd=above)
            os.close(above)
            above = below
    finally:
        os.close(above)
    recursion, descriptors = sys.getrecursionlimit(), resource.getrlimit(resource.RLIMIT_NOFILE)
    sys.setrecursionlimit(300)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, descriptors[1]))
    try:
        found = paths(share, "empty")
    finally:
        sys.setrecursionlimit(recursion)
        resource.setrlimit(resource.RLIMIT_NOFILE, descriptors)
    assert found[0] == "empty/" + "d/" * depth
    assert sorted(found[1:], key=len) == ["empty/" + "d/" * above + "f" for above in range(depth)]


def test_a_folder_with_more_names_than_are_held_in_memory(share: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module, "_AT_A_TIME", 7)
    for number in range(30):
        (share / "empty" / f"{number:02}").write_text("")
        (share / "empty" / f"{number:02}d").mkdir()
    expected = [f"empty/{number:02}{end}" for number in range(30) for end in ("", "d/")]
    assert paths(share, "empty") == expected


def test_a_folder_that_can_not_be_looked_into_is_told(share: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: int | str, after: str) -> object:
        about = os.stat(folder)
        if about.st_ino == (share / "a" / "b").stat().st_ino:
            raise PermissionError(errno.EACCES, "Permission denied")
        return children(folder, after)

    children = folder_module._children
    monkeypatch.setattr(folder_module, "_children", refuse)
    assert next(Folder(share).entries(by_glob("a"))) == Missing("a/b/", "'a/b': permission denied")
    assert paths(share) == ["a/x.log", "empty/", "top.log"]


@pytest.mark.skipif(not folder_module._BY_FOLDER, reason="who can do that could lead it out there")
def test_a_folder_that_becomes_a_link_meanwhile_leads_nowhere_else(tmp_path: Path) -> None:
    """It is a folder and a link out in turns, as fast as it goes, while a file in it is read."""
    share = make_share(tmp_path)
    outside = share.parent / "outside"
    outside.mkdir()
    (outside / "x.log").write_text("secret")
    over = threading.Event()

    def swap() -> None:
        while not over.is_set():
            (share / "a").rename(share / "kept")
            (share / "a").symlink_to(outside)
            (share / "a").unlink()
            (share / "kept").rename(share / "a")

    swapping = threading.Thread(target=swap)
    swapping.start()
    seen: Counter[str] = Counter()
    deadline = time.monotonic() + 30
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        while seen.total() < 3000 or "x" not in seen or len(seen) < 2:
            assert time.monotonic() < deadline, f"only {seen}: the test shows nothing"
            try:
                seen[read(share, "a/x.log")] += 1
            except (OSError, FilesError) as error:
                seen[type(error).__name__] += 1
    finally:
        sys.setswitchinterval(interval)
        over.set()
        swapping.join()
    assert "secret" not in seen


def test_descriptors_are_closed(share: Path) -> None:
    (share / "a" / "link").symlink_to("../../secret")
    before = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
    for path in ("a/link", "a/nothing", "a", "../x", "a/x.log"):
        try:
            os.close(Folder(share).open_file(path))
        except (OSError, FilesError):
            continue
    walking = Folder(share).entries(by_glob(""))
    next(walking)
    walking.close()
    if before:
        assert len(os.listdir("/proc/self/fd")) == before


def test_files_near_each_other_are_the_same_as_by_themselves(share: Path, tmp_path: Path) -> None:
    """Whichever was opened before."""
    (share / "in").symlink_to("a/b")
    (share / "a" / "link").symlink_to("x.log")
    (share / "a" / "out").symlink_to("../../secret")
    (share / "out").symlink_to("..")
    os.mkfifo(share / "a" / "pipe")

    def outcome(open_file: Callable[[str], int], path: str) -> str:
        try:
            with open(open_file(path), encoding="utf-8") as file:
                return file.read()
        except (OSError, FilesError) as error:
            return f"{type(error).__name__} {error}".partition("[Errno")[0]

    names = ["x.log", "link", "out", "pipe", "b", "nothing", "b/deep.log", "../x.log", "x.log/y", ""]
    every = ["", "top.log", "in/deep.log", "out/secret", "nothing/x", *(f"a/{name}" for name in names)]
    whole = Folder(share)
    expected = {path: outcome(whole.open_file, path) for path in every}
    assert len(set(expected.values())) > 8
    before = len(os.listdir("/proc/self/fd"))
    for first in every:
        for second in every:
            with whole.near() as near:
                assert [outcome(near.open_file, path) for path in (first, second)] == [
                    expected[first],
                    expected[second],
                ]
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_folder_that_is_another_one_by_now(share: Path) -> None:
    with Folder(share).near() as near:
        assert near.entry("a/x.log").size == 1
        shutil.rmtree(share / "a")
        with pytest.raises(FileNotFoundError):
            near.entry("a/x.log")
        (share / "a").mkdir()
        (share / "a" / "x.log").write_text("another one")
        assert near.entry("a/x.log").size == 11
        shutil.rmtree(share / "a")
        (share / "a").mkdir()
        (share / "a" / "x.log").write_text("one more")
        assert near.entry("a/x.log").size == 8
