"""The shares of the settings as functions that this node offers by itself: ``core.shares``, ``core.files.list``…"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from labc.directory import CORE, Who
from labc.functions import Registration, current_call
from labc.registry import Registry
from labc.settings import Settings, Verb

Check = Callable[[Verb, str, Who | None, bool], None]


def shared(settings: Settings, node_id: str, check: Check) -> dict[str, Registration[..., Any]]:
    """By name. ``check(verb, name, who, dangerous)`` raises RefusedError if he may not."""
    if not settings.shares:
        return {}
    from labc.files import Serving, Turns  # few nodes have any

    def check_caller(right: str, dangerous: bool) -> None:
        check("call", right, current_call().who, dangerous)

    turns = Turns(settings.share_connections, settings.max_share_connections)
    serving = Serving(settings.shares, check_caller, current_call, turns)
    functions: dict[str, Callable[..., Any]] = {
        "shares": lambda: {"node_id": node_id, "shares": serving.shares()},
        "files.list": serving.entries,
        "files.read": serving.read,
        "files.receive": serving.receive,
        "files.write": serving.write,
        "files.usage": serving.usage,
        "files.checksums": serving.checksums,
        "files.delete": serving.delete,
    }
    none: Registry[Registration[..., Any]] = Registry()
    return {
        CORE + name: Registration[..., Any](none, function, CORE + name, "thread", scope="network")
        for name, function in functions.items()
    }
