"""``labc call``: a function that somebody in the network offers."""

from __future__ import annotations

from typing import Annotated, Any

import typer

import labc
from labc.cli.arguments import arguments_from
from labc.cli.completion import complete_function
from labc.cli.joining import joined
from labc.cli.options import (
    CallTimeout,
    FindTimeout,
    Host,
    Json,
    Network,
    Node,
    Perspective,
    Scope,
    before_words,
    name_or_port,
    words,
)
from labc.cli.output import one_line, print_json, print_value

Name = Annotated[
    str,
    typer.Argument(metavar="NAME", callback=before_words, help="The function.", autocompletion=complete_function),
]
Arguments = Annotated[list[str] | None, words("ARGUMENT")]
All = Annotated[bool, typer.Option("--all", help="Call it at every node that offers it.", show_default=False)]


def call(
    name: Name,
    arguments: Arguments = None,
    as_json: Json = False,
    network: Network = None,
    timeout: CallTimeout = None,
    find_timeout: FindTimeout = None,
    host: Host = None,
    node: Node = None,
    scope: Scope = None,
    perspective: Perspective = None,
    everywhere: All = False,
) -> None:
    """Call a function and print its result.

    Arguments are JSON where they parse, else text: [bold]3[/bold] is a number, [bold]hello[/bold] a text.
    [bold]--key value[/bold] and [bold]--key=value[/bold] are its keywords, [bold]--flag[/bold] alone is true.
    What follows a bare [bold]--[/bold] is the function's, even where labc has such an option.

    [bold]Examples[/bold]
      labc call echo "Hello World!"
      labc call camera.record --fps 25 --host robot1 -- --timeout 30
      labc call camera.record --scope host
      labc call camera.record --scope host --perspective robot1

    The last two take a camera of this computer, and one of robot1.

    It prints text as it is, nothing for None, bytes as they are when they go
    to a file, and anything else as JSON. With --json, always one JSON document.
    """
    args, kwargs = arguments_from(arguments)
    with joined(network, as_json=as_json):
        verbs = labc.at(
            timeout=timeout,
            find_timeout=find_timeout,
            host=host,
            node=name_or_port(node),
            scope=scope,
            perspective=perspective,
        )
        if everywhere:
            _print_outcomes(verbs.call_all(name, *args, **kwargs), as_json)
        elif as_json:
            print_json(verbs.call(name, *args, **kwargs))
        else:
            print_value(verbs.call(name, *args, **kwargs))


def _print_outcomes(outcomes: list[labc.Outcome], as_json: bool) -> None:
    """A line for each node. Raises typer.Exit if it failed at one of them."""
    if as_json:
        print_json([_outcome_form(outcome) for outcome in outcomes])
    else:
        for outcome in outcomes:
            shown = outcome.error if outcome.error is not None else one_line(outcome.value)
            print(f"{outcome.node} on {outcome.host}: {shown}")
    if any(outcome.error is not None for outcome in outcomes):
        raise typer.Exit(1)


def _outcome_form(outcome: labc.Outcome) -> dict[str, Any]:
    where = {"node": outcome.node, "host": outcome.host}
    if outcome.error is None:
        return {**where, "value": outcome.value}
    return {**where, "error": {"type": type(outcome.error).__name__, "message": str(outcome.error)}}
