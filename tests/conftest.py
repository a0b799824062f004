"""Fixtures for all tests: networks of their own, virtual hosts, and a check that nothing is left running."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

from labc.testing import VirtualHosts, can_make_hosts, free_network_name, own_namespaces

GRACE = 3.0
"""Seconds in which what a test has started may end by itself after the test."""

MakeLab = Callable[..., VirtualHosts]


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> str:
    """A network name that is this test's own, and the default in this process and the programs it starts."""
    name = free_network_name()
    monkeypatch.setenv("LABC_NETWORK", name)
    return name


@pytest.fixture
def make_lab() -> Iterator[MakeLab]:
    """Makes virtual hosts, ``make_lab(3).hosts``, and removes them after the test.

    Where that is not possible the test is skipped; with REQUIRE_VIRTUAL_HOSTS set, as in CI, it fails.
    """
    if problem := can_make_hosts():
        if os.environ.get("REQUIRE_VIRTUAL_HOSTS"):
            pytest.fail(problem, pytrace=False)
        pytest.skip(problem)
    with contextlib.ExitStack() as labs:
        yield lambda *counts: labs.enter_context(VirtualHosts(*counts))


@pytest.fixture(autouse=True, scope="session")
def _no_settings_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(autouse=True)
def _taking_turns(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A test that is marked ``alone`` has the machine to itself, where several processes run tests."""
    if fcntl is None or "PYTEST_XDIST_WORKER" not in os.environ:
        yield
        return
    folder = tmp_path_factory.getbasetemp().parent  # of all these processes
    alone = request.node.get_closest_marker("alone") is not None
    with (folder / "gate").open("w") as gate, (folder / "turn").open("w") as turn:
        fcntl.flock(gate, fcntl.LOCK_EX)  # nobody begins another test while one waits to be alone
        fcntl.flock(turn, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(gate, fcntl.LOCK_UN)
        yield


def pytest_configure() -> None:
    """Let the programs that tests start see Ctrl-C: one that a shell starts with ``&`` hands on that it is ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses virtual hosts, so that ``-m "not hosts"`` leaves it out; what wants to be alone comes last, when
    fewest have to wait for it."""
    for item in items:
        if "make_lab" in getattr(item, "fixturenames", ()):
            item.add_marker("hosts")
    items.sort(key=lambda item: item.get_closest_marker("alone") is not None)


@pytest.fixture(autouse=True)
def nothing_left_running() -> Iterator[None]:
    """Fail a test that leaves threads, tasks, processes, sockets or network namespaces behind (after dask's clean)."""
    before = set(running())
    yield
    deadline = time.monotonic() + GRACE
    while left := {what: text for what, text in running().items() if what not in before}:
        if time.monotonic() > deadline:
            for what in left:
                if isinstance(what, psutil.Process):  # spare the machine, and the next tests
                    with contextlib.suppress(psutil.NoSuchProcess):
                        what.kill()
            pytest.fail("left running: " + "; ".join(sorted(left.values())), pytrace=False)
        time.sleep(0.01)


def running() -> dict[object, str]:
    """All that runs or is open in this process and below it, and how to call it in a message."""
    found: dict[object, str] = {}
    for thread in threading.enumerate():
        if not thread.daemon or thread.name.startswith("labc"):
            found[thread] = f"thread {thread.name!r}"
    for task in pending_tasks():
        found[task] = f"task {task!r}"
    process = psutil.Process()
    for child in process.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            command = " ".join(child.cmdline())
            if "multiprocessing.resource_tracker" not in command:  # one for the life of this process
                found[child] = f"process {child.pid} ({child.status()}): {command}"
    for socket in process.net_connections(kind="all"):
        ends = f"{socket.laddr or 'not bound'} -> {socket.raddr or 'nobody'}"
        found["socket", *socket[:5]] = f"socket {socket.fd}: {ends}"  # without its status, which changes by itself
    for name in own_namespaces():
        found["namespace", name] = f"network namespace {name}"
    return found


_tasks: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()
_tasks_lock = threading.Lock()


def pending_tasks() -> list[asyncio.Task[Any]]:
    """The unfinished tasks of all event loops, whether these still run or not."""
    with _tasks_lock:
        return [task for task in _tasks if not task.done()]


@pytest.fixture(autouse=True, scope="session")
def _tasks_are_noted() -> Iterator[None]:
    """Asyncio only tells of the tasks of a loop that one has at hand: note them where they are made."""
    create_task = asyncio.BaseEventLoop.create_task

    def create_and_note(self: asyncio.BaseEventLoop, *args: Any, **kwargs: Any) -> asyncio.Task[Any]:
        task = create_task(self, *args, **kwargs)
        with _tasks_lock:
            _tasks.add(task)
        return task

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio.BaseEventLoop, "create_task", create_and_note)
        yield
