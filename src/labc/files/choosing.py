"""Which files of a folder are meant: those that a glob takes, or those of a list of paths."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from labc.errors import FilesError
from labc.files.folder import Folder, problem_of
from labc.files.patterns import by_glob, fixed_part
from labc.files.pieces import Entry, Missing

How = Literal["glob", "paths"]


Rank = tuple[int, list[str]]
"""Where in the list of those that are meant a path comes: they are in rising order."""


def ranking(how: How, what: str | Sequence[str]) -> Callable[[str], Rank | None]:
    """Tells the rank of a path; None: it is none of those that are meant, whatever says who has the files."""
    if how == "glob":
        selections = [by_glob(pattern) for pattern in ([what] if isinstance(what, str) else what)]
        return lambda path: next(
            ((number, path.split("/")) for number, each in enumerate(selections) if each.takes(path)), None
        )
    numbers = {path: number for number, path in enumerate(what)}

    def rank(path: str) -> Rank | None:
        above = path
        while above and above not in numbers:
            above = above.rpartition("/")[0]
        return (numbers[above], path.split("/")) if above in numbers else None

    return rank


def without_nested(paths: Sequence[str]) -> list[str]:
    """These, but for those that are named again, or are in a folder of another one."""
    every = frozenset(paths)

    def is_nested(path: str) -> bool:
        while path:
            path = path.rpartition("/")[0]
            if path in every:
                return True
        return False

    return [path for path in dict.fromkeys(paths) if not is_nested(path)]


def chosen(folder: Folder, how: How, what: str | Sequence[str]) -> Iterator[Entry | Missing]:
    """A path of a folder stands for all that is below it.

    Raises:
        FilesError: the glob can't be one; the folder where it begins is not there, or can't be read.
    """
    if how == "glob":
        for pattern in [what] if isinstance(what, str) else what:
            below = fixed_part(pattern)
            try:
                yield from folder.entries(by_glob(pattern), below)
            except OSError as error:
                raise FilesError(problem_of(error, below)) from None
    else:
        for path in what:
            try:
                yield from folder.entries(_ALL, path)
            except (OSError, FilesError) as error:
                yield Missing(path, problem_of(error, path))


_ALL = by_glob("")
