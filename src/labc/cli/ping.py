"""``labc ping``: is it alive, and how far away."""

from __future__ import annotations

import difflib
import time
from typing import Annotated, Any

import typer

import labc
from labc.cli.completion import complete_node
from labc.cli.joining import failed, joined
from labc.cli.options import Json, Network, Timeout
from labc.cli.output import print_json
from labc.errors import LabcError, NotFoundError

INTERVAL = 0.5
"""Seconds from one round to the next."""

_KNOWN_ALREADY = 0.01
"""No time to ask anybody: names and hosts of nodes are known without."""

Target = Annotated[
    str | None,
    typer.Argument(
        metavar="NODE|HOST", help="A node or host; without it, every other node.", autocompletion=complete_node
    ),
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
    verbs = _verbs(target, timeout)
    here = {info.id for info in labc.at(timeout=_KNOWN_ALREADY).nodes() if info.here}
    missing = done = 0
    while True:
        started = time.monotonic()
        try:
            answers = {node: answer for node, answer in verbs.ping().items() if node.id not in here}
        except NotFoundError:
            answers = {}
        if not answers:
            if target is None:
                raise failed("there is no other node in the network")
            raise failed(f"{target!r} is gone" if done else f"{target!r} has no node but this command's own")
        for node, answer in sorted(answers.items(), key=lambda item: (item[0].host, item[0].name, item[0].id)):
            missing += isinstance(answer, LabcError)
            _print(node, answer, as_json)
        done += 1
        if done == rounds:
            return missing
        time.sleep(max(0.0, started + INTERVAL - time.monotonic()))


def _verbs(target: str | None, timeout: float | None) -> labc.BlockingVerbs:
    """The verbs for the node or host of that name. Raises typer.Exit if there is none."""
    if target is None:
        return labc.at(timeout=timeout)
    found = labc.at(timeout=_KNOWN_ALREADY).nodes()
    if any(target in (info.name, info.id) for info in found):
        return labc.at(timeout=timeout, node=target)
    if any(target == info.host for info in found):
        return labc.at(timeout=timeout, host=target)
    near = difflib.get_close_matches(target, {name for info in found for name in (info.name, info.host)})
    raise failed(
        f"there is no node or host {target!r}" + (f"; did you mean {' or '.join(map(repr, near))}?" if near else "")
    )


def _print(node: Any, answer: float | LabcError, as_json: bool) -> None:
    if as_json:
        result = {"error": str(answer)} if isinstance(answer, LabcError) else {"ms": round(answer * 1000, 3)}
        print_json({"node": node.name, "host": node.host, "id": node.id, **result})
    else:
        shown = answer if isinstance(answer, LabcError) else f"{answer * 1000:.2f} ms"
        print(f"{node.name} on {node.host}: {shown}", flush=True)
