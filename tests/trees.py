"""What is in a folder, for tests that compare two of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def contents(root: Path) -> dict[str, Any]:
    """By path: the bytes of each file, its time, and whether it can be executed; or that it is a folder."""
    found: dict[str, Any] = {}
    for path in root.rglob("*"):
        about = path.stat()
        found[path.relative_to(root).as_posix()] = (
            "folder" if path.is_dir() else (path.read_bytes(), about.st_mtime_ns, bool(about.st_mode & 0o100))
        )
    return found
