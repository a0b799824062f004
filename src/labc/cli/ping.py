"""``labc ping``: is it alive, and how far away."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

import labc
from labc.cli.completion import complete_node_or_host
from labc.cli.joining import KNOWN_ALREADY, fail, joined
from labc.cli.options import Json, Network, Timeout, name_or_port, not_empty, whole_number
from labc.cli.output import print_json
from labc.errors import LabcError, NotFoundError

INTERVAL = 0.5
"""Seconds from one round to the next."""

Target = Annotated[
    str | None,
    typer.Argument(
        metavar="NODE|HOST",
        callback=not_empty,
        help="A node or host; without it, every other node.",
        autocompletion=complete_node_or_host,
    ),
]
Count = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        parser=whole_number(0),
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

    It prints a line for each answer: node, host, milliseconds there and back.
    With --json, an object a line. The exit code is 1 if an answer is missing.
    """
    rounds = count if count is not None else 4 if target else 1
    with joined(network, as_json=as_json):
        missing = _ping(target, timeout, rounds, as_json)
    if missing:
        raise typer.Exit(1)


def _ping(target: str | None, timeout: float | None, rounds: int, as_json: bool) -> int:
    """How many answers were missing in all. 0 rounds are no end of them."""
    here = {info.id for info in labc.at(timeout=KNOWN_ALREADY).nodes() if info.here}
    missing = done = 0
    while True:
        started = time.monotonic()
        answers = {node: answer for node, answer in _answers(target, timeout).items() if node.id not in here}
        if not answers and target is None:
            fail("there is no other node in the network")
        if not answers:
            fail(f"{target!r} has no node but this command's own")
        for node, answer in sorted(answers.items(), key=lambda item: (item[0].host, item[0].name, item[0].id)):
            missing += isinstance(answer, LabcError)
            _print(node, answer, as_json)
        done += 1
        if done == rounds:
            return missing
        time.sleep(max(0.0, started + INTERVAL - time.monotonic()))


def _answers(target: str | None, timeout: float | None) -> dict[Any, float | LabcError]:
    """Of the nodes of that name or port, else of those on the host of that name. Raises NotFoundError."""
    if target is None:
        return labc.at(timeout=timeout).ping()
    try:
        return labc.at(timeout=timeout, node=name_or_port(target)).ping()
    except NotFoundError:
        return labc.at(timeout=timeout, host=target).ping()


def _print(node: Any, answer: float | LabcError, as_json: bool) -> None:
    if as_json:
        result = {"error": str(answer)} if isinstance(answer, LabcError) else {"ms": round(answer * 1000, 3)}
        print_json({"node": node.name, "host": node.host, "id": node.id, **result})
    else:
        shown = answer if isinstance(answer, LabcError) else f"{answer * 1000:.2f} ms"
        print(f"{node.name} on {node.host}: {shown}", flush=True)
