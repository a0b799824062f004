"""Places of the command line, ``nas:logs/2026``: share and path of a host; and files on their way, as they are told."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import typer

import labc
from labc.cli.completion import complete_place
from labc.cli.options import whole_number
from labc.cli.output import complain, one_line, print_json
from labc.errors import FilesError

EXPECTED = "expected HOST:SHARE/PATH, like nas:logs/2026"

Place = Annotated[
    str,
    typer.Argument(
        metavar="HOST:SHARE[/PATH]",
        help="A file, a folder, what is in one (with / at the end), or a quoted glob: 'nas:logs/**/*.log'.",
        autocompletion=complete_place,
        show_default=False,
    ),
]
Connections = Annotated[
    int,
    typer.Option(
        "--connections",
        "-c",
        metavar="N",
        parser=whole_number(1),
        help="How many work on it at a time.",
        show_default="4",
    ),
]
Matching = Annotated[
    str | None,
    typer.Option(
        metavar="REGEX",
        help="Only files whose whole path within the share (of put: within the folder) this matches.",
        show_default=False,
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars, and no summary.", show_default=False)]


class Target(NamedTuple):
    """A place of another host."""

    host: str
    where: str
    """As the verbs of :mod:`labc` take it: ``logs:2026``."""


def target(text: str) -> Target:
    """Raises typer.BadParameter."""
    host, colon, rest = text.partition(":")
    share, _, path = rest.partition("/")
    if not (host and colon and share) or "/" in host:
        raise typer.BadParameter(f"{text!r}: {EXPECTED}")
    return Target(host, f"{share}:{path}")


def files_of(host: str) -> Any:
    """Its shares."""
    return labc.get_host(host).files


def transfer(begin: Callable[[bool], Any], *, as_json: bool, quiet: bool) -> None:
    """``begin(progress)`` moves files. Print what became of them; the program ends with 1, if not all arrived."""
    began = time.monotonic()
    failed: dict[str, str] = {}
    try:
        summary = begin(not (as_json or quiet) and sys.stderr.isatty())
    except FilesError as error:
        if error.summary is None:
            raise
        summary, failed = error.summary, error.failed
        if not as_json:
            for problem in failed.values():
                complain(one_line(problem))
            if summary.stopped:
                complain(one_line(f"it ended before its time: {summary.stopped}"))
    seconds = time.monotonic() - began
    if as_json:
        numbers = {"files": summary.files, "bytes": summary.bytes, "skipped": summary.skipped}
        print_json({**numbers, "seconds": round(seconds, 3), "failed": failed, "stopped": summary.stopped})
    elif not quiet:
        print(_summary_line(summary, len(failed), seconds))
    if failed or summary.stopped:
        raise typer.Exit(1)


def size_text(size: float) -> str:
    """``3.2 MB``; powers of ten."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def _summary_line(summary: Any, failed: int, seconds: float) -> str:
    told = f"{_count(summary.files)}, {size_text(summary.bytes)} in {seconds:.1f} s"
    if summary.skipped:
        told += f"; {_count(summary.skipped)} were there already"
    if failed:
        told += f"; {_count(failed)} failed"
    return told


def _count(number: int) -> str:
    return "1 file" if number == 1 else f"{number} files"
