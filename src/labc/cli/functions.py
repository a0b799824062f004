"""``labc functions``: what can be called, and where."""

from __future__ import annotations

import labc
from labc.cli.joining import joined
from labc.cli.options import Host, Json, Network, Node, Scope, Timeout, asked_for, name_or_port
from labc.cli.output import complain, print_json, print_table


def functions(
    as_json: Json = False,
    network: Network = None,
    timeout: Timeout = None,
    host: Host = None,
    node: Node = None,
    scope: Scope = None,
) -> None:
    """List the functions that are offered.

    [bold]Examples[/bold]
      labc functions
      labc functions --host robot1 --json
      labc functions --scope host

    It prints name and signature, the first line of the documentation, and
    where each function is.
    """
    with joined(network, as_json=as_json):
        found = labc.at(timeout=timeout, host=host, node=name_or_port(node), scope=scope).functions()
    if as_json:
        print_json(found)
    elif found:
        rows = [(info.signature, info.doc, f"{info.node} on {info.host}") for info in found]
        print_table(("FUNCTION", "WHAT IT DOES", "WHERE"), rows)
    else:
        complain(f"nobody{asked_for(host, node, scope)} offers a function")
