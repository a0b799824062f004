"""``labc last``: the value of a topic that was retained."""

from __future__ import annotations

from typing import Annotated

import typer

import labc
from labc.cli.joining import joined
from labc.cli.options import Json, Network, Timeout
from labc.cli.subscribe import json_line, line

Topic = Annotated[str, typer.Argument(metavar="TOPIC", help="Levels between slashes.", show_default=False)]


def last(topic: Topic, as_json: Json = False, network: Network = None, timeout: Timeout = None) -> None:
    """Print the last value of a topic that was published with --retain.

    [bold]Examples[/bold]
      labc last lab/door
      labc last lab/door --json

    It prints time, topic, values, sender; with --json, an object.
    The exit code is 1 if no value is retained.
    """
    with joined(network, as_json=as_json):
        message = labc.at(timeout=timeout).last(topic)
    print(json_line(message) if as_json else line(message), flush=True)
