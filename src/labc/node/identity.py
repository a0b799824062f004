"""Who this process is: its host's identity and names."""

from __future__ import annotations

import os
import platform
import sys
import uuid
import zlib
from functools import cache
from pathlib import Path


@cache
def host_id() -> str:
    """The same for all processes that share this host's network, and for no others.

    Not the host's name, which several may share, and nothing from the file system, which containers may share: on
    Linux the kernel's boot and the network namespace, elsewhere the address of the network card and the name.
    """
    return _digest(_host_secret())


@cache
def _host_secret() -> bytes:
    """What the processes of this host know, and others do not: on Linux. Elsewhere it can be guessed."""
    try:
        namespace = os.stat("/proc/self/ns/net")
        parts = [Path("/proc/sys/kernel/random/boot_id").read_text().strip(), f"{namespace.st_dev}:{namespace.st_ino}"]
    except OSError:
        parts = [platform.node(), f"{uuid.getnode():x}"]  # which takes a Ctrl-C for a reason to look elsewhere
    return "/".join(parts).encode()


def secret_digest(*parts: str) -> str:
    """Of these texts, in hexadecimal digits: the same for all processes of this host, and no clue to others."""
    try:  # what hashlib has it from: hashlib itself takes 0.6 MB and 3 ms of every program that calls
        from _blake2 import blake2b
    except ImportError:
        from hashlib import blake2b

    text = "\0".join(parts).encode()
    return blake2b(text, digest_size=16, key=blake2b(_host_secret(), digest_size=32).digest()).hexdigest()


def _digest(data: bytes) -> str:
    """64 bits, the same in every version of Python. (``hashlib`` would take 0.6 MB of each process.)"""
    return f"{zlib.crc32(data):08x}{zlib.crc32(data[::-1]):08x}"


def host_name() -> str:
    return platform.node() or "localhost"


def program_name() -> str:
    """The node's name when none is given: the program's file, without its ending."""
    name = Path(sys.argv[0]).stem if sys.argv and sys.argv[0] not in ("", "-c", "-m") else ""
    if name == "__main__":
        name = Path(sys.argv[0]).parent.name
    return name if name and name.isprintable() else "python"
