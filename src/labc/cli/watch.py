"""``labc nodes --watch``: who joins and leaves the network, as it happens."""

from __future__ import annotations

from typing import Any

import labc
from labc.cli.lasting import close_when
from labc.cli.options import asked_for
from labc.cli.output import complain, json_text


def print_events(timeout: float | None, host: str | None, node: str | None, *, as_json: bool) -> None:
    """A line for each event of the nodes of that host and name, until the time is over or nobody reads any more."""
    show = _json_line if as_json else _line
    with labc.node_events() as events:
        close_when(events.close, timeout)
        complain(f"watching the nodes{asked_for(host, node)}; Ctrl-C ends it")
        for event in events:
            if host in (None, event.host) and node in (None, event.name, event.id):
                print(show(event), flush=True)


def _line(event: labc.NodeEvent) -> str:
    when = event.time.astimezone().strftime("%H:%M:%S.%f")[:-3]
    return f"{when}  {event.kind:7}  {event.name} on {event.host}"


def _json_line(event: labc.NodeEvent) -> str:
    form: dict[str, Any] = {
        "time": event.time,
        "kind": event.kind,
        "name": event.name,
        "host": event.host,
        "id": event.id,
        "host_id": event.host_id,
    }
    return json_text(form)
