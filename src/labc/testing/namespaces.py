"""Linux network namespaces, named so that it can be seen which process made them and whether it still lives.

A name is ``labc-<process id>-<start time>-<lab>-<part>``; the start time tells the maker from a later process
with the same id. Namespaces of dead makers, and the processes left in them, are removed by whoever comes next.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

_DIRECTORY = Path("/run/netns")
_NAME = re.compile(r"labc-(?P<pid>\d+)-(?P<start>\d+)-(?P<lab>\d+)-(?P<part>\w+)")
_COMMANDS = {"ip": "iproute2", "tc": "iproute2", "nft": "nftables", "unshare": "util-linux", "hostname": "hostname"}
_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
_COMMAND_TIMEOUT = 20.0


@functools.cache
def can_make_hosts() -> str | None:
    """Whether this process may build virtual hosts.

    Without root, start the whole test run with ``unshare --user --map-root-user --net --mount`` and give it a
    ``/run`` of its own (``mount -t tmpfs tmpfs /run``), if the kernel allows user namespaces.

    Returns:
        ``None`` if it may, or else a sentence that says why not and what helps. It is found by trying, once.
    """
    if sys.platform != "linux":
        return f"virtual hosts need Linux's network namespaces, and this is {sys.platform}"
    missing = [command for command in _COMMANDS if not shutil.which(command, path=_PATH)]
    if missing:
        packages = " ".join(dict.fromkeys(_COMMANDS[command] for command in missing))
        return f"virtual hosts need the command {' and '.join(missing)} (on Debian: apt-get install {packages})"
    if os.geteuid() != 0:
        return "virtual hosts need root: run the tests as root, or under `unshare --user --map-root-user --net --mount`"
    probe = new_name(0, "probe")
    try:
        add(probe)
        try:
            in_namespace(probe, "nft", "add", "table", "bridge", "probe")
        finally:
            remove(probe)
    except RuntimeError as error:
        return f"virtual hosts can't be made here: {error}"
    return None


def new_name(lab: int, part: str) -> str:
    """The name for a namespace of this process: a part (``h1``) of its lab with this number."""
    return f"labc-{os.getpid()}-{_start_time(os.getpid())}-{lab}-{part}"


def own_namespaces() -> list[str]:
    """The network namespaces that this process has made and not removed."""
    return [name for name, pid, alive in _all_namespaces() if pid == os.getpid() and alive]


def remove_leftovers() -> list[str]:
    """Remove the namespaces of processes that have died, with all that still runs in them; return their names."""
    leftovers = [name for name, _, alive in _all_namespaces() if not alive]
    kill_processes_in(leftovers)
    for name in leftovers:
        with contextlib.suppress(RuntimeError):  # another run may be removing them too
            remove(name)
    return leftovers


def add(name: str) -> None:
    """Make a namespace."""
    command("ip", "netns", "add", name)


def remove(name: str) -> None:
    """Remove a namespace, if it is there, with its interfaces. No process may be left in it."""
    if (_DIRECTORY / name).exists():
        command("ip", "netns", "delete", name)


def kill_processes_in(names: Iterable[str], timeout: float = 10.0) -> None:
    """Kill whatever runs in these namespaces and wait for it to be gone, also what it starts meanwhile.

    Raises:
        TimeoutError: something is left after ``timeout`` seconds.
    """
    names = list(names)
    deadline = time.monotonic() + timeout
    while processes := _processes_in(names):
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes in {', '.join(names)} survive being killed: {processes}")
        time.sleep(0.005)  # most are not our children: there is no event to wait for


def enter(name: str) -> list[str]:
    """The command that runs the one behind it in a namespace, in the same process."""
    return [shutil.which("ip", path=_PATH) or "ip", "netns", "exec", name]


def in_namespace(name: str, *args: str, stdin: str = "") -> str:
    """Run a command of the system in a namespace; see :func:`command`."""
    return command(*enter(name), *args, stdin=stdin)


def command(*args: str, stdin: str = "") -> str:
    """Run a command of the system and return what it printed.

    Raises:
        RuntimeError: it failed; with what it said.
    """
    done = subprocess.run(
        args,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=_COMMAND_TIMEOUT,
        env={**os.environ, "PATH": _PATH, "LC_ALL": "C"},
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip() or f"exit code {done.returncode}"
        raise RuntimeError(f"`{' '.join(args)}` failed: {said}")
    return done.stdout


def _all_namespaces() -> list[tuple[str, int, bool]]:
    """Name, maker's process id, and whether the maker lives, for each namespace with a name of ours."""
    if not _DIRECTORY.is_dir():
        return []
    found = []
    for name in sorted(os.listdir(_DIRECTORY)):
        if match := _NAME.fullmatch(name):
            pid = int(match["pid"])
            found.append((name, pid, _start_time(pid) == int(match["start"])))
    return found


def _start_time(pid: int) -> int | None:
    """When a process began, in clock ticks since boot (field 22 of proc(5)'s stat); ``None`` if there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, *fields = text.rpartition(")")[2].split()
    return None if state in "ZX" else int(fields[18])


def _processes_in(names: Iterable[str]) -> list[psutil.Process]:
    wanted = set()
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            wanted.add(os.stat(_DIRECTORY / name).st_ino)
    found = []
    for pid in psutil.pids() if wanted else []:
        # Gone meanwhile, a zombie, or of a user whose processes are not to be looked into.
        with contextlib.suppress(OSError, psutil.NoSuchProcess):
            if os.stat(f"/proc/{pid}/ns/net").st_ino in wanted:
                found.append(psutil.Process(pid))
    return found
