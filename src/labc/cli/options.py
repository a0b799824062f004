"""The options that several verbs share, and their checks."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal, cast, get_args

import typer

from labc.cli.completion import complete_host, complete_node, complete_node_or_host
from labc.errors import SettingsError
from labc.settings import Settings, checked

ANY_ARGUMENTS: Final = {"ignore_unknown_options": True, "help_option_names": ["--help"]}
"""For verbs whose further words belong to a function, also those that look like options. They have no options of one
letter: a text like ``-hi`` would be taken for some of these."""

_DEFAULTS = Settings()

_LONGEST = 1e9
"""Some thirty years, in seconds. Clocks and timers of the system fail at much longer ones."""


def before_words(ctx: typer.Context, value: str) -> str:
    """Checks the NAME or TOPIC of such a verb: in its place, ``-h`` asks for the help."""
    if value == "-h" and not ctx.resilient_parsing:
        print(ctx.get_help())
        raise typer.Exit
    if value.startswith("-"):
        raise typer.BadParameter(f"expected a name before {value}; only options of {ctx.command_path} may stand there")
    return value


def not_empty(value: str | None) -> str | None:
    """Checks the name of a node or host."""
    if value == "":
        raise typer.BadParameter("expected a name, not an empty text")
    return value


def name_or_port(node: str | None) -> str | int | None:
    """Of a node, for ``labc.at(node=...)``: a number is the port at which it takes connections."""
    if node is not None and re.fullmatch("[0-9]{1,5}", node) and 0 < int(node) < 65536:
        return int(node)
    return node


def whole_number(lowest: int) -> Callable[[str], int]:
    """A parser of numbers of messages or rounds."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = lowest - 1
        if number < lowest:
            raise typer.BadParameter(f"expected a whole number, {lowest} or more; got {text!r}")
        return number

    return parse


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= _LONGEST:
        raise typer.BadParameter(f"expected seconds, like 2.5; got {text!r}")
    return seconds


def duration(text: str) -> float:
    """A parser of times like 90s, 30m, 2h; without a letter: seconds."""
    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    try:
        return _seconds(text[:-1]) * units[text[-1]] if text[-1:] in units else _seconds(text)
    except typer.BadParameter:
        raise typer.BadParameter(f"expected a time, like 90s, 30m or 2h; got {text!r}") from None


def _network(value: str | None) -> str | None:
    try:
        if value is not None:
            checked("network", value)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    try:
        Settings.load()
    except SettingsError as error:  # of a file or a variable: no option is to blame
        raise typer.TyperException(str(error)) from None
    return value


def _seconds_option(help: str, *names: str) -> Any:
    return typer.Option(*names, metavar="SECONDS", parser=_seconds, help=help, show_default=False)


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
Timeout = Annotated[float | None, _seconds_option("How long to wait for answers.")]
NodesTimeout = Annotated[
    float | None, _seconds_option("How long to wait for answers; with --watch, when to leave.", "--timeout")
]
CallTimeout = Annotated[
    float | None,
    _seconds_option(rf"How long to wait for the result. \[default: {_DEFAULTS.timeout:g}]", "--timeout"),
]
PublishTimeout = Annotated[
    float | None,
    _seconds_option(
        rf"How long to wait for subscribers that hold publishers back. \[default: {_DEFAULTS.timeout:g}]", "--timeout"
    ),
]
FindTimeout = Annotated[
    float | None,
    _seconds_option(rf"How long to wait for somebody to offer it. \[default: {_DEFAULTS.find_timeout:g}]"),
]
StreamTimeout = Annotated[
    float | None, _seconds_option(r"How long each value may take. \[default: as long as it likes]", "--timeout")
]
LeaveAfter = Annotated[float | None, _seconds_option(r"Leave after this long. \[default: never]", "--timeout")]
Host = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        callback=not_empty,
        help="Only nodes on that host, by name, alias or address.",
        show_default=False,
        autocompletion=complete_host,
    ),
]
Node = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        callback=not_empty,
        help="Only that node, by name, id or port.",
        show_default=False,
        autocompletion=complete_node,
    ),
]


ScopeName = Literal["node", "group", "host", "network", "wan"]


def _scope(text: str) -> ScopeName:
    for scope in get_args(ScopeName):
        if text == scope:
            return cast(ScopeName, scope)
    *others, last = get_args(ScopeName)
    raise typer.BadParameter(f"expected {', '.join(others)} or {last}; got {text!r}")


def _scopes(incomplete: str) -> list[str]:
    return [scope for scope in get_args(ScopeName) if scope.startswith(incomplete)]


def _scope_option(help: str) -> Any:
    return typer.Option(
        "--scope",
        metavar="|".join(get_args(ScopeName)),
        parser=_scope,
        autocompletion=_scopes,
        help=help,
        show_default=False,
    )


Scope = Annotated[
    ScopeName | None,
    _scope_option("Only nodes so near: of the same group, the same host, this site, or of all sites (wan)."),
]
PublishScope = Annotated[
    ScopeName | None,
    _scope_option("Only to nodes so near: of the same group, the same host, this site, or all sites (wan)."),
]
SubscribeScope = Annotated[
    ScopeName | None, _scope_option("Only what is published so near; nobody farther away knows of it.")
]
Perspective = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        callback=not_empty,
        help=r"The host, or node, from which it is judged what is near. \[default: this one]",
        show_default=False,
        autocompletion=complete_node_or_host,
    ),
]


def words(metavar: str) -> Any:
    """What follows the NAME or TOPIC."""
    return typer.Argument(
        metavar=f"[{metavar}]...",
        help="JSON where it parses, else text; --key value, --key=value, --flag.",
        show_default=False,
    )


def asked_for(host: str | None, node: str | None, scope: str | None = None) -> str:
    """What --host, --node and --scope say, for a sentence that begins with "nobody"."""
    which = name_or_port(node)
    where = f" at port {which}" if isinstance(which, int) else f" with the name {which!r}" if which else ""
    return where + (f" on {host!r}" if host else "") + (f" in the scope {scope!r}" if scope else "")
