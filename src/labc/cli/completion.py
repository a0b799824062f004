"""What the shell offers at Tab: names that are in the network now. Quick, and silent when it can't be."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable

import typer

import labc
from labc.cli.joining import NODE_NAME

_WITHIN = 0.6
_ASK_WITHIN = 0.4


def complete_function(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Names of functions, with what they do."""
    return _ask(ctx, incomplete, lambda: [(info.name, info.doc) for info in labc.at(timeout=_ASK_WITHIN).functions()])


def complete_node(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Names of nodes, with where they are."""
    return _ask(ctx, incomplete, _nodes)


def complete_host(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Names of hosts."""
    return _ask(ctx, incomplete, _hosts)


def complete_node_or_host(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Names of both."""
    return _ask(ctx, incomplete, lambda: _nodes() + _hosts())


def complete_place(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Shares of hosts."""
    return _ask(ctx, incomplete, _shares)


def _shares() -> list[tuple[str, str]]:
    found = labc.at(timeout=_ASK_WITHIN, find_timeout=0.2).files.shares()
    return [(f"{share.host}:{share.name}/", "share") for share in found]


def _nodes() -> list[tuple[str, str]]:
    return [(info.name, f"on {info.host}") for info in _others()]


def _hosts() -> list[tuple[str, str]]:
    return [(info.host, "host") for info in _others()]


def _others() -> list[labc.NodeInfo]:
    return [info for info in labc.at(timeout=_ASK_WITHIN).nodes() if not info.here]


def _ask(ctx: typer.Context, incomplete: str, names: Callable[[], Iterable[tuple[str, str]]]) -> list[tuple[str, str]]:
    found: dict[str, str] = {}

    def ask() -> None:
        try:
            labc.init(name=NODE_NAME, network=ctx.params.get("network"))
            found.update(sorted(names(), reverse=True))  # of several, the first stays
        except Exception:
            return  # a shell in the middle of a line is no place for errors

    logging.disable()
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_WITHIN)
    return sorted((name, text) for name, text in found.copy().items() if name.startswith(incomplete))
