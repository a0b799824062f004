"""Which files a Python file needs, found by reading it and not by running it, so that broken ones are found too."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path


def files_behind(files: Iterable[Path], roots: Iterable[Path]) -> set[Path]:
    """The files, and all that they import from below the roots, directly or not; also where these would be, if
    they are not there yet."""
    roots = [root.absolute() for root in roots]
    found: set[Path] = set()
    waiting = [file.absolute() for file in files]
    while waiting:
        file = waiting.pop()
        if file in found:
            continue
        found.add(file)
        waiting += [needed for needed in imported_by(file, roots) if needed not in found]
    return found


def imported_by(file: Path, roots: Iterable[Path]) -> Iterator[Path]:
    """Where the modules that one file imports are, or would be."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                for root in roots:
                    yield from _along(root, alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            bases = [file.parents[node.level - 1]] if 0 < node.level <= len(file.parents) else roots
            for base in bases:
                for alias in node.names:
                    parts = node.module.split(".") if node.module else []
                    yield from _along(base, [*parts, alias.name])


def _along(base: Path, parts: list[str]) -> Iterator[Path]:
    """``a.b`` below ``base``: a.py or a/__init__.py, a/b.py or a/b/__init__.py; no further than there are folders."""
    for part in parts:
        if not base.is_dir():
            return
        yield base / f"{part}.py"
        yield base / part / "__init__.py"
        base = base / part
