"""``labc shares``: the folders that others offer."""

from __future__ import annotations

from typing import Annotated

import typer

import labc
from labc.cli.completion import complete_host
from labc.cli.joining import joined
from labc.cli.options import Json, Network, Timeout, not_empty
from labc.cli.output import print_json, print_table

HostName = Annotated[
    str | None,
    typer.Argument(
        metavar="[HOST]", callback=not_empty, help="Only those there.", autocompletion=complete_host, show_default=False
    ),
]


def shares(host: HostName = None, as_json: Json = False, network: Network = None, timeout: Timeout = None) -> None:
    """List the shares that this computer may read or write.

    [bold]Examples[/bold]
      labc shares
      labc shares nas --json

    A host offers a folder by its setting [bold]shares[/bold]; on a network without
    a key other hosts see it only with open = true.
    """
    with joined(network, as_json=as_json):
        found = labc.at(host=host, timeout=timeout).files.shares()
    if as_json:
        print_json([share._asdict() for share in found])
    elif found:
        rows = [[f"{s.host}:{s.name}", "yes" if s.read else "no", "yes" if s.write else "no", s.node] for s in found]
        print_table(["SHARE", "READ", "WRITE", "NODE"], rows)
    else:
        print("no shares that this computer may use (a host offers them by its setting `shares`)")
