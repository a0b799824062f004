"""Which files of a folder are meant: those that a glob takes, or those of a list of paths."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from labc.errors import FilesError
from labc.files.folder import Folder, problem_of
from labc.files.patterns import by_glob, fixed_part
from labc.files.pieces import Entry, Missing

How = Literal["glob", "paths"]


def was_chosen(how: How, what: str | Sequence[str]) -> Callable[[str], bool]:
    """Tells of a path whether it can be one of these: who has the files may say anything."""
    if how == "glob":
        selections = [by_glob(pattern) for pattern in ([what] if isinstance(what, str) else what)]
        return lambda path: any(selection.takes(path) for selection in selections)
    paths = frozenset(what)

    def is_below(path: str) -> bool:
        while path and path not in paths:
            path = path.rpartition("/")[0]
        return path in paths

    return is_below


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
