"""``labc sync``: what has changed in a folder, to another one."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from labc.cli.completion import complete_place
from labc.cli.joining import joined
from labc.cli.options import Json, Network
from labc.cli.places import EXPECTED, Connections, Matching, Quiet, files_of, target, transfer

End = Annotated[
    str,
    typer.Argument(
        metavar="FOLDER|HOST:SHARE[/FOLDER]", help="A folder.", autocompletion=complete_place, show_default=False
    ),
]


def sync(
    source: End,
    goal: End,
    as_json: Json = False,
    network: Network = None,
    connections: Connections = 4,
    matching: Matching = None,
    quiet: Quiet = False,
) -> None:
    """Bring what is new or changed in a folder to another one; one of them is of a share.

    [bold]Examples[/bold]
      labc sync nas:logs/2026 backup
      labc sync results nas:inbox/results

    Unlike get and put it always means what is in the folder, with or without / at
    its end. Nothing is deleted. The exit code is 1 if a file did not arrive.
    """
    fetches = _is_place(source)
    if fetches == _is_place(goal):
        raise typer.BadParameter(f"one of the two folders has to be of a share: {EXPECTED}")
    host, where = target(source if fetches else goal)
    options: dict[str, Any] = {"connections": connections, "matching": matching}

    def begin(progress: bool) -> Any:
        files = files_of(host)
        if fetches:
            return files.download(f"{where.rstrip('/')}/", to=goal, progress=progress, **options)
        return files.upload(f"{source.rstrip('/')}/", to=where, progress=progress, **options)

    with joined(network, as_json=as_json):
        transfer(begin, as_json=as_json, quiet=quiet)


def _is_place(text: str) -> bool:
    """``C:/`` is a folder of Windows."""
    host, colon, _ = text.partition(":")
    return bool(colon) and len(host) > 1 and "/" not in host
