"""``labc network``: networks with a key, which are encrypted and let only their members in."""

from __future__ import annotations

import platform
import time
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

import labc
from labc.cli.help import Program, Verb
from labc.cli.joining import fail, told
from labc.cli.options import Json, Timeout, duration, whole_number
from labc.cli.output import complain, print_json, print_table
from labc.security import memberships
from labc.security.credentials import Credentials, check_free, forget, membership
from labc.security.invitation import Invitation
from labc.settings import checked

app = typer.Typer(name="network", cls=Program, rich_markup_mode="rich", no_args_is_help=False)

_LASTS = 3600.0
_TRIES = 20.0
"""Seconds for which a joining computer tries to reach the inviting one."""
_SOON = 30
"""Days before the end of a certificate from which on it is told."""


def _name(value: str) -> str:
    try:
        return str(checked("network", value))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


Name = Annotated[str, typer.Argument(metavar="NAME", help="The network's name.", callback=_name, show_default=False)]
Seconds = Annotated[
    float | None,
    typer.Option(
        "--for",
        metavar="TIME",
        parser=duration,
        help=r"How long the invitation is good: 90s, 30m, 2h. \[default: 1h]",
        show_default=False,
    ),
]
Uses = Annotated[
    int,
    typer.Option(
        metavar="N",
        parser=whole_number(0),
        help=r"How many computers can join with it; 0: any number. \[default: 1]",
        show_default=False,
    ),
]
Addresses = Annotated[
    list[str] | None,
    typer.Option(
        "--address",
        metavar="ADDRESS",
        help=r"Where the others reach this computer; may be given again. \[default: all its addresses]",
        show_default=False,
    ),
]
Port = Annotated[
    int,
    typer.Option(
        metavar="PORT",
        min=0,
        max=65535,
        help=r"The TCP port on which to wait for them. \[default: a free one]",
        show_default=False,
    ),
]
HostName = Annotated[
    str | None,
    typer.Option(
        "--as", metavar="HOST", help=r"The name to join under. \[default: this computer's]", show_default=False
    ),
]


@app.callback(invoke_without_command=True)
def network(ctx: typer.Context) -> None:
    """Networks with a key: encrypted, and closed to all but their members.

    A network is open, unless you make one with a key:

      [bold]labc network create lab1[/bold]       on one computer: prints an invitation, and waits
      [bold]labc network join labc-…[/bold]       on another one, with the invitation

    From then on all that joins the network lab1 as this user (LABC_NETWORK=lab1,
    or `labc settings set network lab1`) is encrypted, and only members get in.

    Without a further word: labc network list
    """
    if ctx.invoked_subcommand is None:
        list_()


@app.command(cls=Verb)
def create(
    name: Name,
    seconds: Seconds = None,
    uses: Uses = 1,
    address: Addresses = None,
    port: Port = 0,
    host: HostName = None,
    no_invitation: Annotated[
        bool, typer.Option("--no-invitation", help="Only make it; invite later.", show_default=False)
    ] = False,
) -> None:
    """Make a network with a key, and invite another computer.

    [bold]Examples[/bold]
      labc network create lab1
      labc network create lab1 --uses 5 --for 30m

    This computer is its first member, and keeps what makes members. It prints the
    invitation, and waits until it was used, is over, or Ctrl-C is pressed. More
    can be invited later: labc network invite
    """
    with told():
        check_free(name)
        from labc.security.authority import create as create_network

        credentials = create_network(name, _host(host), datetime.now(UTC))
        print(f"The network {name!r} is made, and this computer is its first member. To use it: LABC_NETWORK={name}")
    if not no_invitation:
        _invite(credentials, seconds, uses, address, port)


@app.command(cls=Verb)
def invite(
    name: Name,
    seconds: Seconds = None,
    uses: Uses = 1,
    address: Addresses = None,
    port: Port = 0,
) -> None:
    """Invite another computer, on the one that made the network.

    [bold]Examples[/bold]
      labc network invite lab1
      labc network invite lab1 --uses 5 --for 30m

    It waits until the invitation was used, is over, or Ctrl-C is pressed; without
    it nobody can join.
    """
    with told():
        credentials = membership(name)
    _invite(credentials, seconds, uses, address, port)


@app.command(cls=Verb)
def join(
    invitation: Annotated[
        str | None,
        typer.Argument(
            metavar="[INVITATION]", help="What the other computer printed. Without: asked for.", show_default=False
        ),
    ] = None,
    host: HostName = None,
    timeout: Timeout = None,
) -> None:
    """Become a member of a network with a key.

    [bold]Examples[/bold]
      labc network join labc-4kq7…

    This computer makes a key of its own, which never leaves it, and gets a
    certificate for it from the one that invites.
    """
    text = _asked("Paste the invitation: ") if invitation is None else invitation
    with told():
        from labc.enrolment import join as join_network

        parsed = Invitation.parse(text)
        credentials = join_network(parsed, _host(host), timeout=_TRIES if timeout is None else timeout, tried=complain)
    print(
        f"This computer is a member of the network {credentials.network!r} now, until "
        f"{credentials.about.expires:%Y-%m-%d}. To use it: LABC_NETWORK={credentials.network}"
    )


@app.command("list", cls=Verb)
def list_(as_json: Json = False) -> None:
    """List the networks with a key of which this user is a member.

    [bold]Examples[/bold]
      labc network list
    """
    found = memberships()
    if as_json:
        print_json([_row(credentials) for credentials in found])
        return
    if not found:
        complain("this user is no member of a network with a key; `labc network --help` tells how to make one")
        return
    rows = [list(_row(credentials).values()) for credentials in found]
    print_table(("NETWORK", "MADE ON", "JOINED AS", "UNTIL", "STATE"), rows)


@app.command(cls=Verb)
def members(name: Name, as_json: Json = False) -> None:
    """List who was let in, on the computer that made the network.

    [bold]Examples[/bold]
      labc network members lab1
    """
    with told():
        from labc.security.authority import Authority, issued

        credentials = membership(name)
        Authority.of(credentials)  # or this is the wrong computer
        good = credentials.read_trust().seats
        rows = [
            {"host": host, "seat": seat, "state": "member" if seat in good else "revoked"}
            for seat, host in issued(credentials).items()
        ]
    if as_json:
        print_json(rows)
    else:
        print_table(("HOST", "SEAT", "STATE"), [list(row.values()) for row in rows])


@app.command(cls=Verb)
def revoke(
    name: Name,
    host: Annotated[str, typer.Argument(metavar="HOST", help="Its name, or its seat.", show_default=False)],
) -> None:
    """Put a computer out of the network, on the one that made it.

    [bold]Examples[/bold]
      labc network revoke lab1 robot1
      labc network revoke lab1 3

    The programs that run here tell the others. To let it in again, invite it.
    """
    with told():
        from labc.security.authority import Authority, issued
        from labc.security.authority import revoke as revoke_seats

        credentials = membership(name)
        Authority.of(credentials)
        good = credentials.read_trust().seats
        seats = [seat for seat, other in issued(credentials).items() if host in (other, str(seat)) and seat in good]
        if not seats:
            fail(f"no member of the network {name!r} has this name or seat: {host} (see: labc network members {name})")
        if credentials.about.seat in seats:
            fail(f"{host} is this computer, which made the network: it can't put itself out")
        revoke_seats(credentials, seats, datetime.now(UTC))
    print(f"{host} is out of the network {name!r}; the programs that run here tell the others.")


@app.command(cls=Verb)
def leave(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.", show_default=False)] = False,
) -> None:
    """Leave a network with a key: remove this user's key and certificate.

    [bold]Examples[/bold]
      labc network leave lab1

    End the programs that use it first: they get no new connections afterwards.
    The network's name stands for an open network here then.
    """
    with told():
        credentials = membership(name)
        if credentials.has_authority and not yes:
            print(f"This computer made {name!r}: without it nobody can be invited or revoked any more.")
            if _asked("Leave all the same? (yes/no) ").strip().lower() not in ("y", "yes"):
                fail("nothing was changed")
        forget(credentials)
    print(f"This user is no member of the network {name!r} any more.")


def _invite(credentials: Credentials, seconds: float | None, uses: int, addresses: list[str] | None, port: int) -> None:
    seconds = _LASTS if seconds is None else seconds
    if not 1 <= seconds <= 30 * 86400:
        raise typer.BadParameter("expected a time between 1s and 720h", param_hint="--for")
    from labc.enrolment import Joined
    from labc.enrolment import invite as wait_for_joiners

    with told():
        credentials = _good_for_long(credentials)

    def ready(invitation: Invitation) -> None:
        many = {0: "any number of computers", 1: "one computer"}.get(uses, f"{uses} computers")
        until = time.strftime("%H:%M", time.localtime(invitation.expires))
        print(f"The invitation, for {many}, until {until}. Whoever has it can join:\n", flush=True)
        print(f"  labc network join {invitation.text()}\n", flush=True)
        complain(f"waiting on port {invitation.port}; Ctrl-C ends it, and the invitation")

    def joined(one: Joined) -> None:
        left = "" if one.left is None else f"; {one.left} left"
        print(f"{one.host} joined from {one.address}, seat {one.seat}{left}", flush=True)

    with told():
        desk = wait_for_joiners(
            credentials,
            seconds=seconds,
            uses=uses,
            addresses=tuple(addresses or ()),
            port=port,
            ready=ready,
            joined=joined,
        )
    if desk.left != 0:
        complain("the invitation is over")


def _good_for_long(credentials: Credentials) -> Credentials:
    """This computer's own certificate is renewed when it ends soon, or has: who else should invite it?"""
    now = datetime.now(UTC)
    if not credentials.has_authority or (credentials.about.expires - now).days > _SOON:
        return credentials
    from labc.security.authority import renew

    credentials = renew(credentials, now)
    print(f"This computer's own certificate was renewed, until {credentials.about.expires:%Y-%m-%d}.")
    return credentials


def _asked(question: str) -> str:
    """What was typed; nothing, where there is nobody to ask."""
    try:
        return input(question)
    except EOFError:
        return ""


def _row(credentials: Credentials) -> dict[str, Any]:
    about = credentials.about
    return {
        "network": about.network,
        "made_on": about.inviter,
        "joined_as": about.host,
        "until": f"{about.expires:%Y-%m-%d}",
        "state": _state(credentials),
    }


def _state(credentials: Credentials) -> str:
    now = datetime.now(UTC)
    try:
        credentials.check(now)
    except labc.MembershipError as error:
        return "revoked" if "revoked" in str(error) else "expired" if now >= credentials.about.expires else "damaged"
    left = (credentials.about.expires - now).days
    return "member" if left > _SOON else f"expires in {left} days"


def _host(given: str | None) -> str:
    name = (given if given is not None else platform.node()) or "localhost"
    try:
        return str(checked("name", name))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--as") from None
