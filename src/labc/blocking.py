"""The blocking face: every verb for code that is not asynchronous, from any thread.

The process's default node runs on an event loop in a thread of its own; a blocking verb hands its work over and
waits. It refuses only where it would wait for itself: on the node's own loop.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from labc.directory import NodeRecord, check_name, check_pattern, check_topic
from labc.errors import BlockingCallError, ClosedError, LabcError, SettingsError
from labc.functions import Options, Outcome, Registration, being_spawned, in_pool
from labc.node import (
    Face,
    FunctionInfo,
    Node,
    NodeInfo,
    Operation,
    Registering,
    Runtime,
    Verbs,
    process,
    run_operation,
)
from labc.topics import Message, Messages, Subscription

logger = logging.getLogger("labc")

T = TypeVar("T")

_LEAVE_WITHIN = 0.9
_CANCEL_WITHIN = 0.2


class Portal:
    """The way from other threads to the node's loop; starts the default node when it is first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._own: Node | None = None
        self._arguments: dict[str, Any] = {}
        self._closed = threading.Event()
        self._ended = False
        atexit.register(self._end)  # before whatever the program registers, so that this runs after it

    def configure(self, arguments: dict[str, Any]) -> None:
        """Settings for the default node. Raises SettingsError."""
        if self._own is not None and self._own in process.nodes:
            raise SettingsError("labc is running already: call init() before anything else")
        Node(**arguments)  # so that a mistake shows here
        self._arguments = arguments

    def node(self) -> Node:
        """The node for verbs that name none, started now if there is none."""
        if (node := process.node()) is not None:
            return node
        process.check_not_forked()
        if self._ended:
            raise ClosedError("the program is ending, and has left the network")
        if in_pool() and being_spawned():
            raise LabcError(
                'the processes of run="process" import the main program to find its functions, and it uses the '
                'network while it is imported: put what it does under `if __name__ == "__main__":`'
            )
        with self._lock:
            return process.node() or self._start()

    def run(self, verb: str, operation: Operation[T], node: Node | None = None) -> T:
        """The result of the operation on the loop of this node, or the default one. Interrupting it cancels it.

        Raises:
            BlockingCallError: on that very loop.
            ClosedError: the node was closed before the operation came to its end.
        """
        node = node or self.node()
        rooms = node.rooms()
        if _running_loop() is rooms.loop:
            raise BlockingCallError(verb)
        work = run_operation(operation, rooms)
        try:
            if node not in process.nodes:
                raise ClosedError(f"the node {node.name!r} is closed")
            future = asyncio.run_coroutine_threadsafe(work, rooms.loop)
        except BaseException as error:
            work.close()
            if isinstance(error, RuntimeError) and rooms.loop.is_closed():
                raise ClosedError(f"the node {node.name!r} is closed") from None
            raise
        try:
            return _result(future, rooms.loop)
        except BaseException as error:
            future.cancel()
            if self._ended and threading.current_thread() is not threading.main_thread():
                _park()
            if isinstance(error, CancelledError):
                raise ClosedError(f"the node {node.name!r} was closed before labc.{verb}() came to its end") from None
            raise

    def close(self) -> None:
        """Leave the network, in less than a second. What still waits for an answer gets ClosedError."""
        if self._loop is not None and _running_loop() is self._loop:
            raise BlockingCallError("close")
        deadline = time.monotonic() + _LEAVE_WITHIN
        with self._lock:
            node, self._own = self._own, None
            loop, self._loop = self._loop, None
        if loop is None:
            return
        if node is not None:
            self._stop(loop, node.close(), deadline)
        self._closed.set()

    def wait_closed(self) -> None:
        """Returns when the default node was closed."""
        while not self._closed.wait(3600):  # in pieces: Windows delivers Ctrl-C between two
            pass

    def _end(self) -> None:
        self._ended = True
        self.close()

    def forget(self) -> None:
        """After fork, in the child."""
        self._lock = threading.Lock()
        self._loop = self._thread = self._own = None

    def _stop(self, loop: asyncio.AbstractEventLoop, last: Coroutine[Any, Any, None], deadline: float) -> None:
        """Run the last of the loop's work, and end its thread."""
        try:
            leaving = asyncio.run_coroutine_threadsafe(last, loop)
        except RuntimeError:  # the loop is closed
            last.close()
            return
        with suppress(Exception):
            leaving.result(deadline - time.monotonic())
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(loop.stop)
        if self._thread is not None:  # what it holds of the engine is released before the interpreter ends
            self._thread.join(max(0.05, deadline - time.monotonic()))

    def _start(self) -> Node:
        loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=_turn, args=(loop,), name="labc node", daemon=True)
        self._thread.start()

        node = Node(**self._arguments)
        starting = asyncio.run_coroutine_threadsafe(node.start(), loop)
        try:
            starting.result()
        except BaseException:  # Ctrl-C, for one: the program may end now, and must not while the engine opens
            starting.cancel()
            self._stop(loop, _withdrawn(node), time.monotonic() + _LEAVE_WITHIN)
            raise
        self._loop, self._own = loop, node
        self._closed.clear()
        return node


async def _withdrawn(node: Node) -> None:
    """After its start was cancelled: returns when nothing of it is left."""
    if others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others)
    await node.close()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _park() -> None:
    """For a daemon thread that still waits when the program ends: it ends with it, and not with a traceback."""
    while True:
        time.sleep(3600.0)


def _result(future: Future[T], loop: asyncio.AbstractEventLoop) -> T:
    """Like ``future.result()``, but never waits for a loop that turns no more."""
    while True:
        try:
            return future.result(1.0)
        except TimeoutError:
            if future.done():
                return future.result()
            if loop.is_closed():
                raise CancelledError from None


def _turn(loop: asyncio.AbstractEventLoop) -> None:
    """The thread of the default node's loop."""
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.wait(tasks, timeout=_CANCEL_WITHIN))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


class BlockingVerbs(Verbs):
    """What ``labc.at(...)`` returns: the verbs of ``labc``, with options."""

    def __init__(self, portal: Portal, options: Options) -> None:
        self._portal = portal
        self._options = options

    def at(
        self,
        *,
        timeout: float | None = None,
        find_timeout: float | None = None,
        host: str | None = None,
        node: str | None = None,
        retry: int | None = None,
    ) -> BlockingVerbs:
        options = self._options.but(timeout=timeout, find_timeout=find_timeout, host=host, node=node, retry=retry)
        return BlockingVerbs(self._portal, options)

    def call(self, name: str, /, *args: Any, **kwargs: Any) -> Any:
        check_name(name)
        return self._portal.run("call", lambda rooms: rooms.call(name, args, kwargs, self._options))

    def call_all(self, name: str, /, *args: Any, **kwargs: Any) -> list[Outcome]:
        check_name(name)
        return self._portal.run("call_all", lambda rooms: rooms.call_all(name, args, kwargs, self._options))

    def publish(self, topic: str, /, *args: Any, **kwargs: Any) -> None:
        check_topic(topic)
        rooms = self._portal.node().rooms()
        if _running_loop() is rooms.loop:
            if rooms.is_held(topic):  # otherwise it does not block
                raise BlockingCallError("publish")
        elif rooms.fabric.looks_around:
            self._portal.run("publish", lambda r: r.fabric.looked_around())
        if holders := rooms.publish_now(topic, args, kwargs):
            self._portal.run("publish", lambda r: r.publish_held(holders, topic, args, kwargs, self._options))

    def nodes(self) -> list[NodeInfo]:
        return self._portal.run("nodes", lambda rooms: rooms.nodes(self._options))

    def functions(self) -> list[FunctionInfo]:
        return self._portal.run("functions", lambda rooms: rooms.functions(self._options))

    def ping(self) -> dict[NodeRecord, float | LabcError]:
        return self._portal.run("ping", lambda rooms: rooms.ping(self._options))


class _DefaultVerbs(BlockingVerbs, Face, Registering):
    """The module-level verbs of ``labc``."""

    def __init__(self, portal: Portal) -> None:
        super().__init__(portal, Options())
        self._functions = process.functions
        self._subscriptions = process.subscriptions

    def messages(self, pattern: str, *, queue_size: int | None = None) -> BlockingMessages:
        return BlockingMessages(self._portal, check_pattern(pattern), queue_size)

    def init(self, *, name: str | None = None, network: str | None = None, **settings: Any) -> None:
        self._portal.configure({"name": name, "network": network, **settings})

    def close(self) -> None:
        self._portal.close()

    def serve(self) -> None:
        if being_spawned() or in_pool() or process.serving_is_handled:
            return
        with terminated_by_signal(), suppress(KeyboardInterrupt):
            node = self._portal.node()
            self._portal.run("serve", lambda rooms: rooms.declared())
            try:
                print(welcome(node), file=sys.stderr, flush=True)
                self._portal.wait_closed()
            finally:  # a process that computes would hold up the end of the program
                self._portal.close()

    def _registered(self) -> None:
        """With a running node, return when the network knows it (but on the node's own loop, where one can't wait)."""
        node = process.owner
        if node is not None and node.opened and _running_loop() is not node.loop:
            self._portal.run("register", lambda rooms: rooms.declared(), node)


class BlockingMessages:
    """The messages of a topic or pattern, as they come: ``for message in labc.messages("a/*")``."""

    def __init__(self, portal: Portal, pattern: str, queue_size: int | None) -> None:
        self._portal = portal
        self._node = portal.node()

        async def attach(rooms: Runtime) -> Messages:
            return await rooms.messages(pattern, queue_size).__aenter__()

        self._messages = portal.run("messages", attach, self._node)

    @property
    def dropped(self) -> int:
        """Messages that came faster than they were read."""
        return self._messages.dropped

    def close(self) -> None:
        """End the subscription. Closing twice is harmless."""
        with suppress(ClosedError):  # the node has left the network, and this subscription with it
            self._portal.run("messages", lambda _: self._messages.aclose(), self._node)

    def __enter__(self) -> BlockingMessages:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Message]:
        return self

    def __next__(self) -> Message:
        try:
            return self._portal.run("messages", lambda _: self._messages.__anext__(), self._node)
        except (StopAsyncIteration, ClosedError):
            raise StopIteration from None


@contextmanager
def serving_elsewhere() -> Iterator[None]:
    """In here ``serve()`` returns at once: somebody else keeps the program alive afterwards (``labc serve``)."""
    process.serving_is_handled = True
    try:
        yield
    finally:
        process.serving_is_handled = False


def registered() -> tuple[list[Registration[..., Any]], list[Subscription[..., Any]]]:
    """The functions and the subscriptions of this process, in their order."""
    return list(process.functions.entries()), list(process.subscriptions.entries())


def welcome(node: Node) -> str:
    """The line with which a serving program starts."""
    network = node.settings.network
    return (
        f"labc: {node.name} on {node.host} is in the network {network!r}, which is open: "
        "anybody on this network can call what it offers. Ctrl-C ends it."
    )


@contextmanager
def terminated_by_signal() -> Iterator[None]:
    """SIGTERM leaves the network like Ctrl-C, and ends the program with 143."""

    def terminate(*_: object) -> None:
        raise SystemExit(143)

    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


portal = Portal()
_verbs = _DefaultVerbs(portal)

at = _verbs.at
call = _verbs.call
call_all = _verbs.call_all
close = _verbs.close
functions = _verbs.functions
init = _verbs.init
messages = _verbs.messages
nodes = _verbs.nodes
ping = _verbs.ping
publish = _verbs.publish
register = _verbs.register
serve = _verbs.serve
subscribe = _verbs.subscribe

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=portal.forget)
