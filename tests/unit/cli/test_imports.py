"""Which files stand behind a file, without running it."""

from __future__ import annotations

from pathlib import Path

from labc.cli.imports import files_behind


def build(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def behind(root: Path, name: str) -> set[str]:
    """Those that are there."""
    return {str(file.relative_to(root)) for file in files_behind([root / name], [root]) if file.exists()}


def test_all_ways_to_import(tmp_path: Path) -> None:
    build(
        tmp_path,
        {
            "main.py": "import a, os\nfrom p import b\nfrom p.q import c as d\ndef f():\n    import late\n",
            "a.py": "",
            "p/__init__.py": "from . import sibling",
            "p/sibling.py": "from .q import deep",
            "p/b.py": "",
            "p/q/__init__.py": "",
            "p/q/c.py": "from ..cousin import x",
            "p/q/deep.py": "import main",
            "p/cousin.py": "",
            "late.py": "",
            "unused.py": "",
        },
    )
    expected = "main.py a.py p/__init__.py p/sibling.py p/b.py p/q/__init__.py p/q/c.py p/q/deep.py p/cousin.py late.py"
    assert behind(tmp_path, "main.py") == set(expected.split())


def test_broken_and_missing_files_are_among_them(tmp_path: Path) -> None:
    build(tmp_path, {"main.py": "import broken, missing", "broken.py": "x = = 1"})
    found = files_behind([tmp_path / "main.py", tmp_path / "nowhere.py"], [tmp_path])
    names = {"main.py", "nowhere.py", "broken.py", "broken/__init__.py", "missing.py", "missing/__init__.py"}
    assert found == {tmp_path / name for name in names}


def test_nonsense_is_no_problem(tmp_path: Path) -> None:
    build(tmp_path, {"main.py": "from ....................... import x\nfrom . import *", "zero.py": "\0"})
    assert behind(tmp_path, "main.py") == {"main.py"}
    assert behind(tmp_path, "zero.py") == {"zero.py"}
