"""``labc put``: files of this computer, to a share."""

from __future__ import annotations

from typing import Annotated

import typer

from labc.cli.joining import joined
from labc.cli.options import Json, Network
from labc.cli.places import EXPECTED, Connections, Matching, Quiet, files_of, target, transfer

Words = Annotated[
    list[str],
    typer.Argument(metavar="FILE... HOST:SHARE[/FOLDER]", help="What, and where to.", show_default=False),
]


def put(
    words: Words,
    as_json: Json = False,
    network: Network = None,
    connections: Connections = 4,
    matching: Matching = None,
    quiet: Quiet = False,
) -> None:
    """Send files to a share.

    [bold]Examples[/bold]
      labc put run.log nas:inbox
      labc put results nas:inbox              the folder results
      labc put results/ nas:inbox/run-17      what is in it, into the folder run-17

    What is there already (same size and time) is skipped, and what was begun goes
    on where it stopped: give the same command again. Files are checked, and take
    their place when they are complete. The exit code is 1 if one did not arrive.
    """
    *what, place = words
    if not what:
        raise typer.BadParameter(f"{place!r}: where to? {EXPECTED} as the last word")
    host, where = target(place)
    with joined(network, as_json=as_json):
        files = files_of(host)
        transfer(
            lambda progress: files.upload(
                what, to=where, connections=connections, matching=matching, progress=progress
            ),
            as_json=as_json,
            quiet=quiet,
        )
