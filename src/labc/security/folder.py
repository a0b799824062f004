"""Where memberships are kept, and how: a folder for each network, which nobody but this user can read."""

from __future__ import annotations

import errno
import os
import re
import sys
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from labc.errors import MembershipError

_SLUG_LENGTH = 40
_LOCK = ".lock"
_LOCKED_WITHIN = 5.0
"""Seconds for which a program waits for another one that is changing the folder, which takes milliseconds."""
_TRY_AGAIN = 0.01


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


@contextmanager
def locked(place: Path) -> Iterator[None]:
    """In here nobody else reads what is in this folder to change it: of two at a time, one would be undone.

    The system takes the lock away from a program that ends. Blocks for 5 s at most. Raises OSError.
    """
    with open(os.open(place / _LOCK, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
        deadline = time.monotonic() + _LOCKED_WITHIN
        while True:
            try:
                _lock(file.fileno())
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise TimeoutError(errno.ETIMEDOUT, f"another program holds {place / _LOCK}") from None
                time.sleep(_TRY_AGAIN)
        yield


def _lock(number: int) -> None:
    """Raises OSError: somebody has it."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(number, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
