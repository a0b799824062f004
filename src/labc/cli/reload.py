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

Snapshot = Mapping[Path, float | None]


def serve_and_reload(targets: Sequence[str], arguments: Sequence[str]) -> NoReturn:
    """Run ``labc`` with these arguments, and again after each change, until this program is told to end."""
    before = look(targets)
    server = _start(arguments)
    failed = False
    try:
        while server.poll() != 0:
            time.sleep(INTERVAL)
            if server.poll() is not None and not failed:
                failed = True
                complain("waiting for a change of the files")
            now = look(targets)
            if changed := [path for path in now if now[path] != before.get(path)]:
                complain(f"{changed[0].name} has changed: starting again")
                _end(server)
                server, failed = _start(arguments), False
            before = now
    finally:
        _end(server)
    raise typer.Exit


def look(targets: Sequence[str]) -> Snapshot:
    """When each of the files behind the targets was changed; None for one that is not there."""
    files = [file for target in targets if (file := _find(target)) is not None]
    roots = {Path.cwd(), *(file.parent for target in targets if (file := file_of(target)) is not None)}
    return {path: _changed(path) for path in files_behind(files, roots)}


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


def _changed(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None


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
