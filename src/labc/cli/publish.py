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
Retain = Annotated[
    bool, typer.Option("--retain", help="Keep it for who subscribes later, and for `labc last`.", show_default=False)
]


def publish(
    topic: Topic,
    values: Values = None,
    as_json: Json = False,
    network: Network = None,
    timeout: PublishTimeout = None,
    retain: Retain = False,
) -> None:
    """Publish a message.

    [bold]Examples[/bold]
      labc publish print "Hello World!"
      labc publish lab/temperature 21.5 --unit C
      labc publish --retain lab/door closed

    A retained value is kept by this computer's root, as long as there is one:
    some labc program must go on running here.
    It prints nothing; with --json, the message.
    """
    args, kwargs = arguments_from(values)
    with joined(network, as_json=as_json):
        labc.at(timeout=timeout).publish(topic, *args, retain=retain, **kwargs)
    if as_json:
        print_json({"topic": topic, "args": args, "kwargs": kwargs})
