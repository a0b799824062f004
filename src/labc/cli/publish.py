"""``labc publish``: a message to all who subscribed to its topic."""

from __future__ import annotations

from typing import Annotated

import typer

import labc
from labc.cli.call import parsed
from labc.cli.joining import joined
from labc.cli.options import Json, Network, Timeout, Words
from labc.cli.output import print_json

Topic = Annotated[str, typer.Argument(metavar="TOPIC", help="Levels between slashes.", show_default=False)]


def publish(
    topic: Topic, values: Words = None, as_json: Json = False, network: Network = None, timeout: Timeout = None
) -> None:
    """Publish a message.

    [bold]Examples[/bold]
      labc publish print "Hello World!"
      labc publish lab/temperature 21.5 --unit C

    It prints nothing; with --json, the message.
    """
    args, kwargs = parsed(topic, values)
    with joined(network, as_json=as_json):
        labc.at(timeout=timeout).publish(topic, *args, **kwargs)
    if as_json:
        print_json({"topic": topic, "args": args, "kwargs": kwargs})
