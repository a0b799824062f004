"""Running ``labc`` as users do, for the tests of the command line."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Protocol

from labc.testing import Program

LABC = str(Path(sys.executable).with_name("labc"))
SERVES = re.compile("is in the network")

SERVER = '''\
import time
import labc

@labc.register
def echo(arg):
    """Give it back.

    And nothing else.
    """
    return arg

@labc.register
def add(a: int, b: int = 1) -> int:
    return a + b

@labc.register
def show(*args, **kwargs):
    return [args, kwargs]

@labc.register
def picture():
    return bytes([0, 255, 10])

@labc.register
def nothing():
    return None

@labc.register
def fail():
    raise ValueError("no coffee")

@labc.register
def rest(seconds):
    print("rests", flush=True)
    time.sleep(seconds)

labc.subscribe(print)
labc.serve()
'''

SILENT = """\
import asyncio
from labc.node.runtime import Runtime

async def keep_silent(self, question):
    print("asked", flush=True)
    await asyncio.sleep(60)

Runtime._answer = keep_silent
"""


class Run(Protocol):
    """``run("call", "echo", 3)`` runs labc to its end; its exit code must be ``code``, without a traceback of ours."""

    def __call__(
        self, *arguments: object, code: int = 0, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]: ...


class Begin(Protocol):
    """``begin("serve", "x.py")`` starts labc; it is closed after the test."""

    def __call__(self, *arguments: object, cwd: Path | None = None) -> Program: ...
