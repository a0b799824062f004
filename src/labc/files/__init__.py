"""Folders that others may reach by a name, and files that go from one place to another."""

from labc.files.download import Download, Remote
from labc.files.fetching import Summary
from labc.files.folder import Folder
from labc.files.paths import PathRefusedError, place
from labc.files.serving import Serving
from labc.files.turns import Turns

__all__ = ["Download", "Folder", "PathRefusedError", "Remote", "Serving", "Summary", "Turns", "place"]
