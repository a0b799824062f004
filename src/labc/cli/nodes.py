"""``labc nodes``: who is in the network, and how they do."""

from __future__ import annotations

from typing import Annotated

import typer

import labc
from labc.cli.joining import joined
from labc.cli.options import Host, Json, Network, Node, NodesTimeout, asked_for, name_or_port
from labc.cli.output import complain, print_json, print_table
from labc.cli.watch import print_events
from labc.security import credentials_of

_COLUMNS = ("NODE", "HOST", "ID", "ROOT", "FUNCTIONS", "RUNNING", "SERVED", "FAILED", "DROPPED")

Verbose = Annotated[
    bool,
    typer.Option("--verbose", "-v", help="Also topics, addresses, lanes, process and version.", show_default=False),
]

Watch = Annotated[
    bool,
    typer.Option("--watch", help="Print who joins, leaves and is lost, as it happens.", show_default=False),
]


def nodes(
    as_json: Json = False,
    network: Network = None,
    timeout: NodesTimeout = None,
    host: Host = None,
    node: Node = None,
    verbose: Verbose = False,
    watch: Watch = False,
) -> None:
    """List the nodes of the network.

    [bold]Examples[/bold]
      labc nodes
      labc nodes -v --host robot1
      labc nodes --watch --host 10.0.0.5

    It prints each node's name, host and id, whether it is its host's root, how
    many functions it offers, how many calls run there, were served and failed,
    and how many messages came faster than it handled them.
    With --watch, a line for each event: time, what happened (joined, suspect,
    back, left, lost), node, host; with --json, an object a line. Ctrl-C ends it.
    """
    if watch and verbose:
        raise typer.BadParameter("--watch and --verbose don't go together")
    if watch:
        with joined(network, as_json=as_json):
            print_events(timeout, host, node, as_json=as_json)
        return
    with joined(network, as_json=as_json):
        found = [info for info in labc.at(timeout=timeout, host=host, node=name_or_port(node)).nodes() if not info.here]
    if as_json:
        print_json(found)
        return
    name = labc.Settings.load(network=network).network
    if not found:
        complain(f"there is nobody{asked_for(host, node)} in the network {name!r}")
        return
    print_table(_COLUMNS, [_row(info) for info in found])
    if verbose:
        for info in found:
            _print_details(info)
    if credentials_of(name) is not None:
        print(f"\nThe network {name!r} is encrypted: only its members can call what these nodes offer.")
    else:
        print(f"\nThe network {name!r} is open: anybody on this network can call what these nodes offer.")


def _row(info: labc.NodeInfo) -> tuple[str | int, ...]:
    first = (info.name, f"{info.host} (other site)" if info.away else info.host, info.id[:8])
    if not info.answered:
        return (*first, "no answer", 0, 0, 0, 0, 0)
    counts = (info.functions, info.running, info.served, info.failed, info.dropped)
    return (*first, "root" if info.root else "", *counts)


def _print_details(info: labc.NodeInfo) -> None:
    print(f"\n{info.name} on {info.host} ({info.id})")
    if not info.answered:
        print("  gave no answer")
        return
    print(f"  process {info.pid}, labc {info.version}; {info.refused} calls refused, {info.cancelled} cancelled")
    for topic in info.topics:
        print(
            f"  topic {topic.topic} -> {topic.handler}: {topic.waiting} waiting, {topic.handled} handled, "
            f"{topic.failed} failed, {topic.dropped} dropped, {topic.held_back} held back"
        )
    if info.retained or info.retained_dropped:
        print(
            f"  keeps {info.retained} retained values, {info.retained_bytes} bytes; "
            f"{info.retained_dropped} were dropped to make room"
        )
    for address in info.addresses:
        print(f"  address {address}")
    for lane in info.lanes:
        print(f"  lane {lane}")
