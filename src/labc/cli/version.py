"""``labc version`` and ``labc --version``."""

from __future__ import annotations

import platform

import typer

import labc
from labc.cli.options import Json
from labc.cli.output import print_json


def version(as_json: Json = False) -> None:
    """Print the version of labc and of Python.

    [bold]Examples[/bold]
      labc version
      labc version --json

    It prints one line; with --json, an object.
    """
    if as_json:
        print_json({"labc": labc.__version__, "python": platform.python_version()})
    else:
        print(f"labc {labc.__version__} (Python {platform.python_version()})")


def when_asked(asked: bool) -> None:
    """For ``--version``."""
    if asked:
        version()
        raise typer.Exit
