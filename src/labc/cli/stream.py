"""``labc stream``: what a generator of the network yields, as it comes."""

from __future__ import annotations

from typing import Annotated

import typer

import labc
from labc.cli.arguments import arguments_from
from labc.cli.completion import complete_function
from labc.cli.joining import joined
from labc.cli.lasting import close_when
from labc.cli.options import (
    FindTimeout,
    Host,
    Json,
    Network,
    Node,
    Perspective,
    Scope,
    StreamTimeout,
    before_words,
    name_or_port,
    whole_number,
    words,
)
from labc.cli.output import json_text, one_line

Name = Annotated[
    str,
    typer.Argument(metavar="NAME", callback=before_words, help="The generator.", autocompletion=complete_function),
]
Arguments = Annotated[list[str] | None, words("ARGUMENT")]
Count = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        parser=whole_number(1),
        help=r"Leave after so many values. \[default: when there are no more]",
        show_default=False,
    ),
]
Latest = Annotated[
    bool, typer.Option("--latest", help="Skip what comes faster than it is printed.", show_default=False)
]


def stream(
    name: Name,
    arguments: Arguments = None,
    as_json: Json = False,
    network: Network = None,
    timeout: StreamTimeout = None,
    find_timeout: FindTimeout = None,
    host: Host = None,
    node: Node = None,
    scope: Scope = None,
    perspective: Perspective = None,
    count: Count = None,
    latest: Latest = False,
) -> None:
    """Print what a generator yields, a line for each value.

    Arguments are those of [bold]labc call[/bold]: JSON where they parse, else text, and [bold]--key value[/bold].

    [bold]Examples[/bold]
      labc stream temperature
      labc stream camera.spots --fps 5 --count 10 --json
      labc stream temperature --latest -- --timeout 30

    The generator is slowed down to what is read here, and closed when this
    ends. With --json, a JSON document a line.
    """
    args, kwargs = arguments_from(arguments)
    show = json_text if as_json else one_line
    with joined(network, as_json=as_json):
        verbs = labc.at(
            timeout=timeout,
            find_timeout=find_timeout,
            host=host,
            node=name_or_port(node),
            scope=scope,
            perspective=perspective,
        )
        with verbs.stream(name, *args, latest=latest, **kwargs) as values:
            close_when(values.close, None)
            for came, value in enumerate(values, 1):
                print(show(value), flush=True)
                if came == count:
                    break
