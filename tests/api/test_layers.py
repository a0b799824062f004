"""The plan of the house, kept: who may import whom, how long files and functions may be, what __init__ holds.

The rules are those of the design; ``MAY_IMPORT`` is their one place in code. A new room must be entered there.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "labc"

MAX_FILE_LINES = 600
MAX_FUNCTION_LINES = 80

BASE = {"errors", "settings"}
KEYS = {"security"}
PURE = {"wire", "directory"}
SHELLS = {"fabric", "lanes"}
BELOW = BASE | PURE | SHELLS
CAPABILITIES = {"functions", "topics", "services", "names", "replicas", "files", "groups"}
PUBLIC = {"", "aio", "errors", "settings", "testing"}
"""What a user may import; "" is labc itself."""

MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "settings": {"errors"},
    "version": set(),
    "reading": set(),
    "registry": set(),
    "progress": set(),
    **dict.fromkeys(PURE, BASE),
    "security": {"errors"},
    "discovery": BASE | KEYS | {"version"},
    "fabric": BASE | PURE | KEYS | {"discovery"},
    "lanes": BASE | PURE | KEYS,
    "enrolment": BASE | KEYS | {"lanes"},
    **dict.fromkeys(CAPABILITIES, BELOW | {"jobs", "reading", "registry"}),
    "node": BELOW | KEYS | CAPABILITIES | {"progress", "reading", "registry", "version"},
    # a router is no node: it has what nodes and roots have of the fabric, and keeps to whom the members trust
    "routing": BELOW | KEYS | {"node"},
    "jobs": set(),
    "portal": BELOW | CAPABILITIES | {"node", "jobs"},
    "eventstreams": BELOW | {"node", "portal"},
    "streams": BASE | {"functions", "node", "portal"},
    "fileverbs": BASE | {"functions", "files", "node", "portal"},
    "blocking": BELOW | CAPABILITIES | {"node", "portal", "eventstreams", "fileverbs", "streams"},
    "aio": BELOW | CAPABILITIES | {"node", "portal", "eventstreams", "blocking"},
    "": BELOW | CAPABILITIES | {"node", "aio", "blocking", "eventstreams", "streams", "version"},
    "testing": BASE | {"node", "fabric"},
    **dict.fromkeys(("gateway", "bridges", "host"), PUBLIC),
    # it looks at the network from outside as well: at ports and datagrams
    "doctor": PUBLIC | KEYS | {"discovery", "fabric", "lanes"},
    # `labc serve` has to know what a program registered, and outlive its serve()
    "cli": PUBLIC | KEYS | {"blocking", "doctor", "enrolment", "routing"},
    "__main__": {"cli"},
}
"""Room (or module directly in labc) -> the other ones that it may import."""

MAY_IMPORT_NODE_FOR_TYPING = CAPABILITIES
"""They are handed the node, and may name its type: under TYPE_CHECKING, so that no cycle comes of it."""

IMPURE = frozenset(
    "anyio asyncio concurrent multiprocessing queue random sched secrets select selectors signal socket socketserver "
    "ssl subprocess threading time zenoh".split()
)
ONLY_IN = {
    "zenoh": {"fabric"},
    "socket": {"discovery", "enrolment", "lanes", "testing"},
    "ssl": {"enrolment", "lanes"},
    "selectors": {"discovery", "lanes", "testing"},
}
"""Modules from elsewhere that belong to certain rooms."""

TRANSPORTS = frozenset(
    "open_connection open_unix_connection start_server start_unix_server create_connection create_server "
    "create_unix_connection create_unix_server create_datagram_endpoint connect_accepted_socket "
    "sock_accept sock_connect sock_recv sock_recv_into sock_sendall".split()
)
"""Asyncio's ways to a socket, which belong to ``lanes`` like sockets themselves."""


@dataclass(frozen=True)
class Import:
    """One imported module, by its full name."""

    module: str
    line: int
    typing_only: bool


def breaches(source: Path) -> list[str]:
    """Every breach of the rules in the package at ``source``, as ``path:line: sentence``."""
    found = []
    for file in sorted(source.rglob("*.py")):
        path = file.relative_to(source)
        text = file.read_text(encoding="utf-8")
        tree = ast.parse(text, str(path))
        room = room_of(module_name(path))
        problems = [*size_problems(text, tree), *import_problems(room, imports(path, tree, source))]
        problems += decoding_problems(tree)
        if room not in ONLY_IN["ssl"]:
            problems += transport_problems(tree)
        if path.name == "__init__.py":
            problems += logic_problems(tree)
        found += [f"{path}:{line}: {problem}" for line, problem in sorted(set(problems))]
    return found


def module_name(path: Path) -> str:
    """``wire/codec.py`` -> ``labc.wire.codec``."""
    parts = path.with_suffix("").parts
    return ".".join(("labc", *(parts[:-1] if parts[-1] == "__init__" else parts)))


def room_of(module: str) -> str:
    """``labc.wire.codec`` -> ``wire``; labc itself is ""."""
    return module.split(".")[1] if "." in module else ""


def imports(path: Path, tree: ast.Module, source: Path) -> Iterator[Import]:
    """All imports of a file, wherever they stand in it."""
    typing_only = {id(node) for block in ast.walk(tree) if is_typing_block(block) for node in ast.walk(block)}
    package = module_name(path).split(".")
    if path.name != "__init__.py":
        package.pop()
    for node in ast.walk(tree):
        modules: list[str] = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), ".".join(package))
            # `from labc import wire` imports the room, `from labc import call` the front door.
            modules = [
                f"{base}.{alias.name}" if is_module(source, f"{base}.{alias.name}") else base for alias in node.names
            ]
        for module in modules:
            yield Import(module, node.lineno, id(node) in typing_only)


def is_typing_block(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def is_module(source: Path, module: str) -> bool:
    package, *rest = module.split(".")
    place = source.joinpath(*rest)
    return package == "labc" and bool(rest) and (place.is_dir() or place.with_suffix(".py").is_file())


def import_problems(room: str, found: Iterator[Import]) -> Iterator[tuple[int, str]]:
    if room not in MAY_IMPORT:
        yield 1, f"{room!r} is no room of the design: enter it in MAY_IMPORT"
        return
    for item in found:
        top = item.module.partition(".")[0]
        target = room_of(item.module)
        if top == "labc" and target != room and target not in MAY_IMPORT[room]:
            if not (target == "node" and item.typing_only and room in MAY_IMPORT_NODE_FOR_TYPING):
                yield item.line, f"{room or 'labc'} may not import {item.module}"
        elif room in PURE and top in IMPURE:
            yield item.line, f"{room} is pure and may not import {item.module}"
        elif room not in ONLY_IN.get(top, {room}):
            yield item.line, f"only {' and '.join(sorted(ONLY_IN[top]))} may import {item.module}"


def transport_problems(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in TRANSPORTS:
            yield node.lineno, f"only lanes may use {ast.unparse(node)}"


def size_problems(text: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    lines = text.count("\n")
    if lines > MAX_FILE_LINES:
        yield lines, f"{lines} lines, and {MAX_FILE_LINES} is the limit: split it by idea"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > MAX_FUNCTION_LINES:
                yield node.lineno, f"{node.name}() has {lines} lines, and {MAX_FUNCTION_LINES} is the limit"


def decoding_problems(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        caught: list[ast.expr] = []
        if isinstance(node, ast.ExceptHandler) and node.type:
            caught = [node.type]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("suppress", "contextlib.suppress"):
            caught = node.args
        for name in ast.walk(ast.Tuple(caught)):
            if isinstance(name, ast.Attribute) and name.attr in ("MsgspecError", "DecodeError"):
                yield node.lineno, "catch ValueError: decoding a text that is no UTF-8 raises that, and not msgspec's"


def logic_problems(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """What an __init__.py holds besides its docstring, imports, and names given to what is there already."""
    statements = [statement for node in tree.body for statement in (node.body if is_typing_block(node) else [node])]
    for node in statements:
        allowed = isinstance(node, ast.Import | ast.ImportFrom)
        if isinstance(node, ast.Expr):
            allowed = isinstance(node.value, ast.Constant)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            simple = ast.Constant | ast.Name | ast.Attribute | ast.List | ast.Tuple | ast.expr_context
            allowed = node.value is not None and all(isinstance(part, simple) for part in ast.walk(node.value))
        if not allowed:
            yield node.lineno, f"no logic in __init__.py: {ast.unparse(node).splitlines()[0]}"


def test_the_house_is_as_planned() -> None:
    assert (SOURCE / "errors.py").is_file()
    assert breaches(SOURCE) == []


GOOD = {
    "__init__.py": '"""Doc."""\nfrom labc.blocking import call\n__all__ = ["call"]\n__version__ = "1"\n',
    "errors.py": "import socketless\n",
    "blocking.py": "import threading\nfrom labc.node import Node\n",
    "wire/codec.py": "import struct\nimport msgspec\nfrom labc.errors import LabcError\nfrom . import frames\n",
    "wire/frames.py": "",
    "fabric/session.py": "import zenoh\nfrom labc.wire import frames\n",
    "lanes/tcp.py": "import socket, asyncio\nconnect = asyncio.open_connection\n",
    "functions/calls.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from labc.node import Node\n",
    "node.py": "from labc.functions import calls\nfrom labc.fabric.session import open\n",
    "cli/call.py": "import labc\nfrom labc import aio, call\nfrom . import output\nfrom labc.settings import x\n",
    "cli/output.py": "",
    "aio.py": "",
}

BAD = {
    "errors imports ours": ("errors.py", "from labc.settings import Settings", "errors may not import labc.settings"),
    "a clock in wire": ("wire/codec.py", "import time", "wire is pure and may not import time"),
    "inside a function": ("directory/a.py", "def f():\n    from asyncio import sleep", "directory is pure"),
    "wire imports directory": ("wire/codec.py", "import labc.directory", "wire may not import labc.directory"),
    "relative": ("wire/codec.py", "from ..fabric import session", "wire may not import labc.fabric.session"),
    "room by name": ("cli/call.py", "from labc import wire", "cli may not import labc.wire"),
    "zenoh outside": ("topics/a.py", "import zenoh.handlers", "only fabric may import zenoh.handlers"),
    "socket outside": (
        "node.py",
        "import socket",
        "only discovery and enrolment and lanes and testing may import socket",
    ),
    "transport outside": ("node.py", "import asyncio\nasyncio.start_server", "only lanes may use asyncio.start_server"),
    "each other": ("topics/a.py", "from labc.functions.calls import x", "topics may not import labc.functions.calls"),
    "typing is no excuse": (
        "wire/codec.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import labc.node",
        "wire may not import labc.node",
    ),
    "node at run time": ("topics/a.py", "from labc.node import Node", "topics may not import labc.node"),
    "upwards": ("lanes/tcp.py", "import labc", "lanes may not import labc"),
    "unknown room": ("attic/box.py", "", "'attic' is no room of the design"),
    "long file": ("node.py", "\n" * 601, "601 lines, and 600 is the limit"),
    "long function": ("node.py", "async def f():\n" + "    pass\n" * 80, "f() has 81 lines, and 80 is the limit"),
    "a call in init": ("__init__.py", "version = find()", "no logic in __init__.py: version = find()"),
    "decoding": (
        "topics/a.py",
        "import msgspec\ntry:\n    pass\nexcept (OSError, msgspec.DecodeError):\n    pass",
        "catch ValueError",
    ),
    "a function in init": ("wire/__init__.py", "def f():\n    pass", "no logic in __init__.py: def f():"),
}


def build(root: Path, files: dict[str, str]) -> None:
    for path, text in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def test_a_good_house_passes(tmp_path: Path) -> None:
    build(tmp_path, GOOD)
    assert breaches(tmp_path) == []


@pytest.mark.parametrize("case", BAD)
def test_each_breach_is_found(case: str, tmp_path: Path) -> None:
    path, text, problem = BAD[case]
    build(tmp_path, GOOD | {path: text})
    found = breaches(tmp_path)
    assert len(found) == 1, found
    assert found[0].startswith(f"{path}:")
    assert problem in found[0]
