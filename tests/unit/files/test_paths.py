"""What is a path within a share, and what is refused."""

from __future__ import annotations

import ntpath
import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labc.errors import FilesError
from labc.files.paths import MAX_BYTES, checked, place


@pytest.mark.parametrize(
    ("text", "share", "path", "inside"),
    [
        ("logs:", "logs", "", True),
        ("logs:/", "logs", "", True),
        ("logs:a.log", "logs", "a.log", False),
        ("logs:/a/b/", "logs", "a/b", True),
        ("run-17.x:a:b", "run-17.x", "a:b", False),
        ("messwerte_ä:2026/**", "messwerte_ä", "2026/**", False),
    ],
)
def test_a_share_and_a_path(text: str, share: str, path: str, inside: bool) -> None:
    assert place(text) == (share, path, inside)


@pytest.mark.parametrize("text", ["", "logs", "logs/a", ":a", "a b:c", "../x:c", "-x:c", ".x:c", "x/y:z"])
def test_what_is_no_place_in_a_share(text: str) -> None:
    with pytest.raises(FilesError):
        place(text)


@pytest.mark.parametrize("path", ["..", "../a", "a/..", "a/../b", ".", "./a", "/a", "a//b", "a/", "a\0b"])
@pytest.mark.parametrize("windows", [False, True])
def test_ways_out_are_refused_everywhere(path: str, windows: bool) -> None:
    with pytest.raises(FilesError, match="refused"):
        checked(path, windows=windows)


@pytest.mark.parametrize(
    "path",
    [
        *("C:/a", "a\\b", "..\\b", "\\\\host\\x", "nul", "a/CON", "aux.txt", "com1", "LPT9.log", "com¹", "con .x"),
        *("a.", "a ", "a/b*", 'a"', "a\tb", "CONIN$"),
    ],
)
def test_what_windows_takes_for_something_else_is_refused_there(path: str) -> None:
    with pytest.raises(FilesError, match="refused"):
        checked(path, windows=True)
    assert checked(path, windows=False)


@pytest.mark.parametrize("path", ["a", "a/b.c", "…/ä ö/日本", ".hidden", "...", "console", "com10", "nul_", "a.b/nulx"])
def test_names_of_any_letters(path: str) -> None:
    for windows in (False, True):
        if path == "..." and windows:
            continue
        assert checked(path, windows=windows) == tuple(path.split("/"))


def test_the_share_itself() -> None:
    assert checked("", windows=True) == ()


def test_a_path_that_is_too_long() -> None:
    assert checked("a" * MAX_BYTES, windows=False)
    with pytest.raises(FilesError, match="longer"):
        checked("ä" * (MAX_BYTES // 2 + 1), windows=False)


@given(st.text(st.sampled_from("./\\:a~\0C"), max_size=12))
def test_no_path_leaves_its_share(path: str) -> None:
    for module, windows in ((posixpath, False), (ntpath, True)):
        root = module.normpath("/root/share") if not windows else "D:\\root\\share"
        try:
            names = checked(path, windows=windows)
        except FilesError:
            continue
        full = module.normpath(module.join(root, *names))
        assert full == root or full.startswith(root + module.sep)
        assert full[len(root) :].strip(module.sep).split(module.sep) == list(names or [""])
