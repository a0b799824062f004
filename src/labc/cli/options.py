"""The options that several verbs share, and their checks."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from labc.errors import SettingsError
from labc.settings import Settings

ANY_ARGUMENTS: Final = {"ignore_unknown_options": True, "help_option_names": ["--help"]}
"""For verbs whose further words belong to a function, also those that look like options. They have no options of one
letter: a text like ``-hi`` would be taken for some of these."""


def _seconds(value: float | None) -> float | None:
    if value is not None and not 0 <= value < float("inf"):
        raise typer.BadParameter(f"expected seconds, not negative; got {value:g}")
    return value


def _network(value: str | None) -> str | None:
    try:
        Settings.load(network=value)
    except SettingsError as error:
        raise typer.BadParameter(str(error)) from None
    return value


def _name(value: str | None) -> str | None:
    if value == "":
        raise typer.BadParameter("expected a name, not an empty text")
    return value


Json = Annotated[bool, typer.Option("--json", help="Print JSON, for other programs.", show_default=False)]
Network = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        callback=_network,
        help=r"The network to join. \[default: $LABC_NETWORK, or labc]",
        show_default=False,
    ),
]
Timeout = Annotated[
    float | None,
    typer.Option(metavar="SECONDS", callback=_seconds, help="How long to wait for an answer.", show_default=False),
]
FindTimeout = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        callback=_seconds,
        help=r"How long to wait for somebody to offer it. \[default: 2]",
        show_default=False,
    ),
]
LeaveAfter = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        metavar="SECONDS",
        callback=_seconds,
        help=r"Leave after this long. \[default: never]",
        show_default=False,
    ),
]
Host = Annotated[str | None, typer.Option(metavar="NAME", callback=_name, help="Only there.", show_default=False)]
Node = Annotated[
    str | None,
    typer.Option(metavar="NAME", callback=_name, help="Only that node, by name or id.", show_default=False),
]
Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="ARGUMENTS",
        help="JSON where it parses, else text; --key value, --key=value, --flag.",
        show_default=False,
    ),
]
