"""The command line: ``labc serve``, ``labc call`` and so on; one file a verb."""

from labc.cli.app import main

__all__ = ["main"]
