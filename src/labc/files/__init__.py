"""Folders that others may reach by a name, and files that go from one place to another."""

from labc.files.choosing import without_nested
from labc.files.download import Download
from labc.files.fetching import Summary
from labc.files.folder import Folder
from labc.files.order import Remote
from labc.files.paths import Place, place
from labc.files.patterns import by_glob, by_regex, is_pattern
from labc.files.pieces import Entry, Status, packed_path, unpacked_entries, unpacked_path
from labc.files.sending import checksum
from labc.files.serving import Serving
from labc.files.turns import Turns
from labc.files.upload import Source, Upload, sources

__all__ = [
    "Download",
    "Entry",
    "Folder",
    "Place",
    "Remote",
    "Serving",
    "Source",
    "Status",
    "Summary",
    "Turns",
    "Upload",
    "by_glob",
    "by_regex",
    "checksum",
    "is_pattern",
    "packed_path",
    "place",
    "sources",
    "unpacked_entries",
    "unpacked_path",
    "without_nested",
]
