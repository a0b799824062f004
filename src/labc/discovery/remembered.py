"""The roots that were met: a file in the user's state folder. By it hosts find each other again without multicast."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec

from labc.errors import SettingsError
from labc.settings import read_text, replace_text, state_folder

logger = logging.getLogger("labc.discovery")

FILE = "remembered.json"
KEPT_DAYS = 30
MAX_ROOTS = 100
"""Of each network; those that were met last."""
MAX_TOTAL = 1000
"""Of all networks."""
_REFRESH = 3600.0
"""Seconds after which it is worth a write that somebody is still there."""
_ADDRESS = re.compile(r"\d{1,3}(\.\d{1,3}){3}")


class Met(msgspec.Struct, frozen=True):
    """A root that this host, or one that shares the user's folder, was linked with."""

    network: str
    address: str
    port: int
    met: float
    """When last, in seconds since 1970."""


class _File(msgspec.Struct):
    roots: list[Met] = []


def remembered_file() -> Path | None:
    """None: this user has no home."""
    folder = state_folder()
    return None if folder is None else folder / FILE


def merged(known: Iterable[Met], new: Iterable[Met], now: float) -> list[Met]:
    """PURE. Both, each place once, the latest first, without what is too old or too many. ``now``: since 1970."""
    oldest = now - KEPT_DAYS * 86400
    latest: dict[tuple[str, str, int], Met] = {}
    for root in sorted([*known, *new], key=lambda root: -min(root.met, now)):
        if oldest <= root.met and _ADDRESS.fullmatch(root.address) and 0 < root.port < 65536:
            latest.setdefault((root.network, root.address, root.port), root)
    counts: dict[str, int] = {}
    kept: list[Met] = []
    for root in latest.values():
        counts[root.network] = counts.get(root.network, 0) + 1
        if counts[root.network] <= MAX_ROOTS and len(kept) < MAX_TOTAL:
            kept.append(root)
    return kept


def read(path: Path) -> list[Met]:
    """Nothing, if the file can't be understood: it is only a memory."""
    try:
        return msgspec.json.decode(read_text(path) or "{}", type=_File).roots
    except (SettingsError, ValueError) as error:
        logger.info("%s is not used: %s", path, error)
        return []


class Memory:
    """The file, for the root of one network. ``places`` are those of the file, and those met since then."""

    def __init__(self, path: Path, network: str) -> None:
        self._path = path
        self._network = network
        self._written: dict[tuple[str, int], float] = {}
        self.places: list[tuple[str, int]] = []

    def load(self) -> None:
        """Blocks for the disk."""
        roots = [root for root in merged(read(self._path), (), time.time()) if root.network == self._network]
        self._written = {(root.address, root.port): root.met for root in roots}
        self.places = list(self._written)

    def is_news(self, places: Iterable[tuple[str, int]], now: float) -> bool:
        """Whether it is worth a write that these are linked at ``now`` (seconds since 1970)."""
        return any(now - self._written.get(place, 0.0) > _REFRESH for place in places)

    def note(self, places: Iterable[tuple[str, int]]) -> None:
        """Write that these are linked now. Blocks for the disk; what goes wrong is only logged."""
        now = time.time()
        new = [Met(self._network, address, port, now) for address, port in places]
        self._written |= {(root.address, root.port): now for root in new}  # also if it fails: no more than once an hour
        self.places = list(dict.fromkeys([*self.places, *self._written]))[-MAX_ROOTS:]
        try:
            text = msgspec.json.format(msgspec.json.encode(_File(merged(read(self._path), new, now)))).decode()
            replace_text(self._path, text + "\n")
        except OSError as error:
            logger.info("%s can't be written: %s", self._path, error)
