"""``labc ping``: is it alive, and how far away."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer

import labc
from labc.cli.completion import complete_node
from labc.cli.joining import joined
from labc.cli.options import Json, Network, Timeout
from labc.cli.output import print_json
from labc.errors import LabcError, NotFoundError

INTERVAL = 0.5
"""Seconds from one round to the next."""

Target = Annotated[
    str | None,
    typer.Argument(metavar="[NODE|HOST]", help="Which; without it, every other node.", autocompletion=complete_node),
]
Count = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=0,
        help=r"How often; 0: until Ctrl-C. \[default: 4, or once without a name]",
        show_default=False,
    ),
]


def ping(
    target: Target = None, as_json: Json = False, network: Network = None, timeout: Timeout = None, count: Count = None
) -> None:
    """Ask nodes for a sign of life, and time it.

    [bold]Examples[/bold]
      labc ping
      labc ping robot1 --count 10

    It prints a line for each answer: node, host, milliseconds there and back. With --json, an object a line.
    The exit code is 1 if an answer is missing.
    """
    rounds = count if count is not None else 4 if target else 1
    missing = done = 0
    with joined(network, as_json=as_json):
        while True:
            started = time.monotonic()
            for node, answer in _ask(target, timeout).items():
                missing += isinstance(answer, LabcError)
                _print(node, answer, as_json)
            done += 1
            if done == rounds:
                break
            time.sleep(max(0.0, started + INTERVAL - time.monotonic()))
    if missing:
        raise typer.Exit(1)


def _ask(target: str | None, timeout: float | None) -> Mapping[Any, float | LabcError]:
    if target is None:
        return labc.at(timeout=timeout).ping()
    try:
        return labc.at(timeout=timeout, node=target).ping()
    except NotFoundError:
        return labc.at(timeout=timeout, host=target).ping()


def _print(node: Any, answer: float | LabcError, as_json: bool) -> None:
    where = {"node": node.name, "host": node.host, "id": node.id}
    if as_json:
        result = {"error": str(answer)} if isinstance(answer, LabcError) else {"ms": round(answer * 1000, 3)}
        print_json({**where, **result})
    else:
        shown = answer if isinstance(answer, LabcError) else f"{answer * 1000:.2f} ms"
        print(f"{node.name} on {node.host}: {shown}", flush=True)
