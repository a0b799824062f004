"""``labc doctor``: what keeps computers from finding each other."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

import labc
from labc.cli.completion import complete_host
from labc.cli.joining import joined
from labc.cli.options import Json, Network, not_empty
from labc.cli.output import print_json, print_table

if TYPE_CHECKING:
    from labc.doctor import Computer, Report

Target = Annotated[
    str | None,
    typer.Argument(
        metavar="HOST",
        callback=not_empty,
        help="A computer that should be found: its address, name or alias.",
        autocompletion=complete_host,
        show_default=False,
    ),
]

_COLUMNS = ("COMPUTER", "ADDRESS", "NETWORK", "FOUND BY", "MULTICAST", "ROOT PORT", "CALLS", "CLOCK", "LABC")


def doctor(host: Target = None, as_json: Json = False, network: Network = None) -> None:
    """Find out why computers do not find each other, and what to do.

    [bold]Examples[/bold]
      labc doctor
      labc doctor 10.0.0.5
      labc doctor robot1 --network lab1

    It takes some seconds, half a minute at most, and prints what is known of this
    computer and of all others that can be found, also of those in other
    networks; last, in one line, what is wrong and what to do. A program with
    labc should run on the other computer meanwhile.
    The exit code is 1 if something is wrong.
    """
    from labc.doctor import diagnose, examine  # what other verbs need not wait for

    if not as_json and sys.stderr.isatty():
        print("Asking around...", file=sys.stderr, flush=True)
    with joined(network, as_json=as_json):
        report = examine(labc.Settings.load(network=network), host)
    diagnosis = diagnose(report)
    if as_json:
        print_json({**asdict(report), **diagnosis._asdict()})
    else:
        _print(report)
        for remark in diagnosis.remarks:
            print(f"Note: {remark}.")
        print(f"Diagnosis: {diagnosis.sentence}.")
    if not diagnosis.well:
        raise typer.Exit(1)


def _print(report: Report) -> None:
    here = report.here
    kind = "encrypted" if here.keyed else "open"
    print(f"This computer  {here.host}, labc {here.version}, in the network {here.network!r} ({kind})")
    print(f"Addresses      {', '.join(here.addresses) or 'none'}")
    print(f"Discovery      {', '.join(here.discovery) or 'none'}; multicast at UDP port {here.multicast_port}")
    if here.root_port:
        print(f"Root           {here.root}, TCP and UDP port {here.root_port}")
    print()
    if report.computers:
        print_table(_COLUMNS, [_row(each) for each in report.computers])
        print()


def _row(computer: Computer) -> tuple[str, ...]:
    directions = {
        (True, True): "both ways",
        (True, False): "only there",
        (False, True): "only back",
        (False, False): "no",
    }
    network = computer.network or ("another, with a key" if computer.keyed else "?")
    return (
        computer.host,
        computer.address,
        network if computer.linked or not computer.same_network else f"{network} (not linked)",
        ", ".join(computer.found_by) or "-",
        directions[computer.answers_multicast, computer.heard_by_multicast] if computer.same_network else "-",
        f"{computer.root_port or '?'} {computer.root or ''}".rstrip(),
        _calls(computer),
        "-" if computer.clock is None else f"{computer.clock:+.1f} s",
        computer.version or "-",
    )


def _calls(computer: Computer) -> str:
    if computer.lanes_there is None:
        return "-"
    there, back = computer.lanes_there == "open", computer.lanes_back in ("open", None)
    return "direct" if there and back else "direct there" if there else "direct back" if back else "by the roots"
