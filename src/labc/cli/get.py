"""``labc get``: files of a share, to this computer."""

from __future__ import annotations

from typing import Annotated

import typer

from labc.cli.joining import joined
from labc.cli.options import Json, Network
from labc.cli.places import Connections, Matching, Place, Quiet, files_of, target, transfer

Folder = Annotated[str, typer.Argument(metavar="[FOLDER]", help="Where to.", show_default="here")]


def get(
    place: Place,
    folder: Folder = ".",
    as_json: Json = False,
    network: Network = None,
    connections: Connections = 4,
    matching: Matching = None,
    quiet: Quiet = False,
) -> None:
    """Fetch files of a share.

    [bold]Examples[/bold]
      labc get nas:logs/run.log
      labc get 'nas:logs/**/*.log' backup/ -c 8
      labc get nas:logs/2026 .          the folder 2026
      labc get nas:logs/2026/ may       what is in it, into the folder may

    What is there already (same size and time) is skipped, and what was begun goes
    on where it stopped: give the same command again. Files are checked, and take
    their place when they are complete. The exit code is 1 if one did not arrive.
    """
    host, where = target(place)
    with joined(network, as_json=as_json):
        files = files_of(host)
        transfer(
            lambda progress: files.download(
                where, to=folder, connections=connections, matching=matching, progress=progress
            ),
            as_json=as_json,
            quiet=quiet,
        )
