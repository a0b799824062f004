"""``labc router``: a program that only routes, for sites that don't reach each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from labc.cli.joining import told
from labc.cli.options import LeaveAfter, Network
from labc.cli.output import complain
from labc.settings import ROUTER_PORT, RouterPlace, Settings, router_place

if TYPE_CHECKING:
    from labc.routing import Routing

_ANY_ADDRESS = "0.0.0.0"


def _place(text: str) -> RouterPlace:
    try:
        return router_place(text)
    except ValueError:
        raise typer.BadParameter(
            f"expected an address of this computer, like {_ANY_ADDRESS} or tcp/10.0.0.5:{ROUTER_PORT}; got {text!r}"
        ) from None


Listen = Annotated[
    RouterPlace,
    typer.Option(
        metavar="ADDRESS",
        parser=_place,
        help=f"Where to take links; the port is {ROUTER_PORT} where none is given.",
        show_default=_ANY_ADDRESS,
    ),
]


def router(listen: Listen = _ANY_ADDRESS, network: Network = None, timeout: LeaveAfter = None) -> None:  # type: ignore[assignment]
    """Route between sites: networks of computers that don't find or reach each other.

    Run it on a computer that all sites reach: one with a cable in each of two
    networks, or a server outside. On the computers of each site, set
    [bold]routers[/bold] to what it prints. What is registered or subscribed there
    with [bold]scope="wan"[/bold] is then known at all sites; everything else stays
    within its own.

    [bold]Examples[/bold]
      labc router
      labc router --listen 10.0.0.5:55554 --network lab1
      labc router --listen tls/0.0.0.0     (a network with a key)

    Don't run other programs of the same network on a computer with a cable in
    two networks: these would join them to one site. Several routers of a network
    have to name each other in their own setting routers. Ctrl-C ends it.
    """
    from labc.routing import route  # the engine takes a moment to load

    with told():
        route(Settings.load(network=network), listen, lambda routing: _print(routing, network), timeout)


def _print(routing: Routing, network: str | None) -> None:
    name = Settings.load(network=network).network
    kind = "encrypted: for members alone" if routing.encrypted else "open: for anybody who reaches it"
    print(f"router of the network {name!r} on {routing.address} ({kind})")
    print("On the computers of each site, give the one of these that they reach:\n")
    for each in routing.routers:
        print(f"  labc settings set routers {each}")
    print("", flush=True)
    if routing.shared:
        complain(
            f"the roots of {name!r} use this port as well: run no other program of this network on this computer, or "
            f"give another port with --listen (such as {ROUTER_PORT})"
        )
    complain("routing; Ctrl-C ends it")
