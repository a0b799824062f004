"""``labc ls``: the files of a share."""

from __future__ import annotations

import json

from labc.cli.joining import joined
from labc.cli.options import Json, Network
from labc.cli.output import print_json, print_table
from labc.cli.places import Matching, Place, files_of, size_text, target


def ls(place: Place, as_json: Json = False, network: Network = None, matching: Matching = None) -> None:
    """List the files of a share, and all below a folder of it.

    [bold]Examples[/bold]
      labc ls nas:logs/2026
      labc ls 'nas:logs/**/*.log' --json

    Size, time of the last change (UTC), and path. With --json, a list of objects:
    size in bytes, time in seconds since 1970.
    """
    host, where = target(place)
    with joined(network, as_json=as_json):
        found = files_of(host).list(where, matching=matching)
    if as_json:
        print_json([info._asdict() for info in found])
        return
    rows = []
    for info in found:
        _, _, path = info.path.partition(":")
        is_folder = path.endswith("/")
        when = "" if is_folder else f"{info.time:%Y-%m-%d %H:%M:%S}"
        rows.append([when, "" if is_folder else size_text(info.size), path if path.isprintable() else json.dumps(path)])
    if rows:
        print_table(["CHANGED (UTC)", "SIZE", "PATH"], rows)
