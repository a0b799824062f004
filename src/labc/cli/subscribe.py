"""``labc subscribe``: the messages of a topic or pattern, as they come."""

from __future__ import annotations

from typing import Annotated, Any

import typer

import labc
from labc.cli.joining import fail, joined
from labc.cli.lasting import close_when, reader_is_gone
from labc.cli.options import Json, LeaveAfter, Network, SubscribeScope, whole_number
from labc.cli.output import complain, json_text, one_line

_QUEUE_SIZE = 100_000

Pattern = Annotated[
    str, typer.Argument(metavar="PATTERN", help="A topic; * stands for one level, ** for any number of them.")
]
Count = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        parser=whole_number(1),
        help=r"Leave after so many messages. \[default: never]",
        show_default=False,
    ),
]


def subscribe(
    pattern: Pattern,
    as_json: Json = False,
    network: Network = None,
    timeout: LeaveAfter = None,
    count: Count = None,
    scope: SubscribeScope = None,
) -> None:
    """Print the messages of a topic or pattern.

    [bold]Examples[/bold]
      labc subscribe 'lab/*/temperature'
      labc subscribe '**' --json --count 10
      labc subscribe status --scope host

    It prints a line for each message: time, topic, values, sender. Values that
    are retained come first.
    With --json, an object a line.
    The exit code is 1 if the timeout is over before --count messages came.
    """
    show = json_line if as_json else line
    came = 0
    with joined(network, as_json=as_json), labc.at(scope=scope).messages(pattern, queue_size=_QUEUE_SIZE) as messages:
        close_when(messages.close, timeout)
        complain(f"listening to {pattern!r}; Ctrl-C ends it")
        for message in messages:
            print(show(message), flush=True)
            came += 1
            if came == count:
                break
        dropped = messages.dropped
    if dropped:
        complain(f"{dropped} messages came faster than they could be printed, and were dropped")
    if count is not None and came < count and not reader_is_gone():
        fail(f"{came} of {count} messages came")


def line(message: labc.Message) -> str:
    """A message for people."""
    when = message.time.astimezone().strftime("%H:%M:%S.%f")[:-3] if message.time else "-"
    values = [one_line(value) for value in message.args]
    values += [f"{key}={one_line(value)}" for key, value in message.kwargs.items()]
    return f"{when}  {message.topic}  {' '.join(values)}  ({message.sender}{', retained' if message.retained else ''})"


def json_line(message: labc.Message) -> str:
    """A message for programs."""
    form: dict[str, Any] = {
        "time": message.time,
        "topic": message.topic,
        "value": message.value,
        "args": message.args,
        "kwargs": message.kwargs,
        "sender": message.sender,
        "retained": message.retained,
    }
    return json_text(form)
