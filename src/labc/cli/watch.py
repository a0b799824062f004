"""``labc nodes --watch``: who joins and leaves the network, as it happens."""

from __future__ import annotations

from typing import Any

import labc
from labc.cli.joining import KNOWN_ALREADY
from labc.cli.lasting import close_when
from labc.cli.options import asked_for, name_or_port
from labc.cli.output import complain, json_text

_ASK_WITHIN = 1.0


def print_events(timeout: float | None, host: str | None, node: str | None, *, as_json: bool) -> None:
    """A line for each event of the nodes of that host and name, until the time is over or nobody reads any more."""
    show = _json_line if as_json else _line
    chosen = _Chosen(host, node)
    with labc.node_events() as events:
        close_when(events.close, timeout)
        complain(f"watching the nodes{asked_for(host, node)}; Ctrl-C ends it")
        for event in events:
            if event in chosen:
                print(show(event), flush=True)


class _Chosen:
    """The events of the nodes that are found by what --host and --node say."""

    def __init__(self, host: str | None, node: str | None) -> None:
        self._host = host
        self._node = node
        self._looked_at: set[str] = set()
        self._found: set[str] = set()

    def __contains__(self, event: labc.NodeEvent) -> bool:
        if self._host in (None, event.host) and self._node in (None, event.name, event.id):
            return True
        if event.id not in self._looked_at:
            everybody = labc.at(timeout=_ASK_WITHIN).nodes()
            found = labc.at(timeout=KNOWN_ALREADY, host=self._host, node=name_or_port(self._node)).nodes()
            self._looked_at.update(info.id for info in everybody if info.answered)
            self._found.update(info.id for info in found)
        return event.id in self._found


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
