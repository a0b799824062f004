"""``labc publish``: a message to all who subscribed to its topic."""

from __future__ import annotations

from typing import Annotated

import typer

import labc
from labc.cli.arguments import arguments_from
from labc.cli.joining import joined
from labc.cli.options import Json, Network, PublishTimeout, before_words, words
from labc.cli.output import print_json

Topic = Annotated[
    str, typer.Argument(metavar="TOPIC", callback=before_words, help="Levels between slashes.", show_default=False)
]
Values = Annotated[list[str] | None, words("VALUE")]


def publish(
    topic: Topic,
    values: Values = None,
    as_json: Json = False,
    network: Network = None,
    timeout: PublishTimeout = None,
) -> None:
    """Publish a message.

    [bold]Examples[/bold]
      labc publish print "Hello World!"
      labc publish lab/temperature 21.5 --unit C

    It prints nothing; with --json, the message.
    """
    args, kwargs = arguments_from(values)
    with joined(network, as_json=as_json):
        labc.at(timeout=timeout).publish(topic, *args, **kwargs)
    if as_json:
        print_json({"topic": topic, "args": args, "kwargs": kwargs})
