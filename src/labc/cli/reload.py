"""``labc serve --reload``: a program that starts the server anew when one of its files changes."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.machinery import PathFinder
from pathlib import Path
from typing import NoReturn

import typer

from labc.cli.imports import files_behind
from labc.cli.loading import file_of
from labc.cli.output import complain

INTERVAL = 0.3
"""Seconds between two looks at the files."""

_LEAVE_WITHIN = 2.0

Snapshot = Mapping[Path, tuple[int, int] | None]
"""When each file was changed, in nanoseconds, and how many bytes it has; None for one that is not there."""


def serve_and_reload(targets: Sequence[str], arguments: Sequence[str]) -> NoReturn:
    """Run ``labc`` with these arguments, and again after each change, until this program is told to end."""
    seen = look(targets)
    server = _start(arguments)
    told = False
    try:
        while server.poll() != 0:
            if server.poll() is not None and not told:
                told = True
                complain("waiting for a change of the files")
            time.sleep(INTERVAL)
            if (changed := changed_since(seen)) is not None:
                complain(f"{changed.name} has changed: starting again")
                _end(server)
                seen = look(targets)
                server, told = _start(arguments), False
    finally:
        _end(server)
    raise typer.Exit


def look(targets: Sequence[str]) -> Snapshot:
    """The state of all the files behind the targets."""
    files = [file for target in targets if (file := _find(target)) is not None]
    roots = {Path.cwd(), *(file.parent for target in targets if (file := file_of(target)) is not None)}
    return {path: _state(path) for path in files_behind(files, roots)}


def changed_since(seen: Snapshot) -> Path | None:
    """One of the files that are not as they were."""
    return next((path for path, state in seen.items() if _state(path) != state), None)


def _find(target: str) -> Path | None:
    """The file of a target; of a module, without importing anything."""
    if (file := file_of(target)) is not None:
        return file
    path: list[str] | None = [str(Path.cwd()), *sys.path]
    origin = None
    for part in target.split("."):
        spec = PathFinder.find_spec(part, path)
        if spec is None:
            return None
        origin, path = spec.origin, list(spec.submodule_search_locations or ())
    return Path(origin) if origin else None


def _state(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def _start(arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-P", "-m", "labc", *arguments])


def _end(server: subprocess.Popen[bytes]) -> None:
    """In good order if it can, else by force."""
    server.terminate()
    try:
        server.wait(_LEAVE_WITHIN)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
