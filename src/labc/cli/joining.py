"""Joining the network for one verb, and telling what went wrong there."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

import labc
from labc.cli.output import complain
from labc.errors import LabcError, NameInvalidError

NODE_NAME = "labc"
KNOWN_ALREADY = 0.01
"""A timeout that is no time to ask anybody: names and hosts of nodes are known without."""


@contextmanager
def joined(network: str | None, *, as_json: bool = False) -> Iterator[None]:
    """Use labc's verbs in here. What fails ends the program with 1 and a sentence on stderr.

    Remote tracebacks follow the sentence, unless the output is for programs. It joins with the first verb, and offers
    none of this computer's shares.
    """
    labc.init(name=NODE_NAME, network=network, shares={})
    with told(tracebacks=not as_json):
        yield


@contextmanager
def told(*, tracebacks: bool = True) -> Iterator[None]:
    """Errors of labc end the program with 1 and a sentence on stderr. A bad name or topic is wrong usage."""
    try:
        yield
    except NameInvalidError as error:
        raise typer.BadParameter(str(error)) from None
    except (LabcError, TimeoutError) as error:
        complain(str(error) or "it took longer than the timeout")
        if tracebacks:
            for note in getattr(error, "__notes__", ()):
                print(note.strip("\n"), file=sys.stderr)
        raise typer.Exit(1) from None


def fail(sentence: str) -> NoReturn:
    """End the program with 1 and this sentence on stderr."""
    complain(sentence)
    raise typer.Exit(1)
