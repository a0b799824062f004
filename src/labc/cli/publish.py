"""``labc publish``: a message to all who subscribed to its topic."""

from __future__ import annotations

from typing import Annotated

import typer

import labc
from labc.cli.arguments import arguments_from
from labc.cli.joining import joined
from labc.cli.options import Host, Json, Network, Node, PublishScope, PublishTimeout, before_words, name_or_port, words
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
    host: Host = None,
    node: Node = None,
    scope: PublishScope = None,
) -> None:
    """Publish a message.

    [bold]Examples[/bold]
      labc publish print "Hello World!"
      labc publish lab/temperature 21.5 --unit C
      labc publish --retain lab/door closed
      labc publish --scope host print "Hello this computer!"

    A retained value is kept by this computer's root, as long as there is one:
    some labc program must go on running here.
    It prints nothing; with --json, the message.
    """
    if retain and (host or node or scope not in (None, "network")):
        raise typer.BadParameter("--retain is for the whole network, and not for a --host, --node or --scope")
    args, kwargs = arguments_from(values)
    with joined(network, as_json=as_json):
        labc.at(timeout=timeout, host=host, node=name_or_port(node), scope=scope).publish(
            topic, *args, retain=retain, **kwargs
        )
    if as_json:
        print_json({"topic": topic, "args": args, "kwargs": kwargs})
