"""Where memberships are kept, and how: a folder for each network, which nobody but this user can read."""

from __future__ import annotations

import os
import re
import sys
import zlib
from collections.abc import Mapping
from pathlib import Path

from labc.errors import MembershipError

_SLUG_LENGTH = 40


def data_folder(environment: Mapping[str, str] | None = None) -> Path | None:
    """labc's own part of the user's data: below ``$XDG_DATA_HOME`` or ``~/.local/share``, on macOS in
    ``~/Library/Application Support``, on Windows in ``%LOCALAPPDATA%``. None: this user has no home."""
    environment = os.environ if environment is None else environment
    if folder := environment.get("XDG_DATA_HOME"):
        return Path(folder, "labc")
    if sys.platform == "win32":
        folder = environment.get("LOCALAPPDATA")
        return Path(folder, "labc") if folder else None
    try:
        home = Path(environment["HOME"]) if environment.get("HOME") else Path.home()
    except RuntimeError:
        return None
    share = home / "Library" / "Application Support" if sys.platform == "darwin" else home / ".local" / "share"
    return share / "labc"


def networks_folder(environment: Mapping[str, str] | None = None) -> Path | None:
    folder = data_folder(environment)
    return folder / "networks" if folder is not None else None


def folder_name(network: str) -> str:
    """PURE. A name that every file system takes, also one to which capitals are small letters."""
    slug = re.sub(r"[^a-z0-9]+", "-", network.lower()).strip("-")[:_SLUG_LENGTH] or "network"
    return f"{slug}.{zlib.crc32(network.encode()):08x}"


def network_folder(network: str) -> Path:
    """That of this network, whether it is there or not.

    Raises:
        MembershipError: this user has no place for it.
    """
    folder = networks_folder()
    if folder is None:
        raise MembershipError("this user has no home folder to keep the key of a network in: set XDG_DATA_HOME")
    return folder / folder_name(network)


def write_private(path: Path, data: str) -> None:
    """All of it or nothing, readable by this user alone. Raises OSError."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        number = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(number, "w", encoding="utf-8", newline="") as file:
            if hasattr(os, "fchmod"):
                os.fchmod(number, 0o600)  # whatever was there before
            file.write(data)
            file.flush()
            os.fsync(number)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def make_private_folder(path: Path) -> None:
    """With its parents. Raises OSError."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if sys.platform != "win32":
        path.chmod(0o700)
