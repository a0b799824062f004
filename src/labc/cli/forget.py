"""``labc forget``: have the retained value of a topic kept no longer."""

from __future__ import annotations

import labc
from labc.cli.joining import joined
from labc.cli.last import Topic
from labc.cli.options import Json, Network, Timeout
from labc.cli.output import print_json


def forget(topic: Topic, as_json: Json = False, network: Network = None, timeout: Timeout = None) -> None:
    """Forget the retained value of a topic.

    [bold]Examples[/bold]
      labc forget lab/door

    It prints nothing, also if there is none; with --json, the topic.
    """
    with joined(network, as_json=as_json):
        labc.at(timeout=timeout).forget(topic)
    if as_json:
        print_json({"topic": topic})
