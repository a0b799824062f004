"""The way from blocking code, in any thread, to the default node, whose event loop turns in a thread of its own."""

from __future__ import annotations

import asyncio
import atexit
import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Any, TypeVar

from labc.errors import BlockingCallError, ClosedError, FabricError, LabcError, PeerLostError, SettingsError
from labc.functions import Detour, Options, being_spawned, in_pool
from labc.jobs import Gate, Job
from labc.node import Node, Operation, process

T = TypeVar("T")

_LEAVE_WITHIN = 0.9
_CANCEL_WITHIN = 0.2


class _Life:
    """One life of the default node: from its start, in a thread of its own, to the end of that thread.

    A Ctrl-C may come between any two lines of the thread that begins it, so all that has to be closed is made in the
    other, which gets none.
    """

    def __init__(self, node: Node) -> None:
        self.node = node
        self.starter = threading.get_ident()
        self.loop: asyncio.AbstractEventLoop | None = None
        self.parted = Gate()
        """It was left, or has ended by itself."""
        self._settled = Gate()
        """The node is in the network, or will never be."""
        self._error: BaseException | None = None
        """Why not."""
        self._lock = threading.RLock()
        self._ended = False
        self._thread = threading.Thread(target=self._turn, name="labc node", daemon=True)

    def begin(self) -> None:
        self._thread.start()

    def wait_started(self) -> None:
        """Returns when the node is in the network; raises what has kept it from there."""
        self._settled.wait()
        if self._error is not None:
            raise self._error

    def end(self) -> None:
        """Leave the network, in less than a second."""
        deadline = time.monotonic() + _LEAVE_WITHIN
        with self._lock:
            self._ended = True
            loop = self.loop
        if loop is None:
            self._settle(self._closed_early())
        else:
            self._leave(loop, deadline)
        with suppress(RuntimeError):  # it was never begun
            # What it holds of the engine is released before the interpreter ends.
            self._thread.join(max(0.05, deadline - time.monotonic()))

    def _leave(self, loop: asyncio.AbstractEventLoop, deadline: float) -> None:
        leaving = Job(self._close_node, loop)
        with suppress(RuntimeError):  # the loop is closed
            leaving.begin()
            leaving.wait(deadline - time.monotonic())
            loop.call_soon_threadsafe(loop.stop)

    def _turn(self) -> None:
        """The thread."""
        try:
            loop = _new_event_loop()
        except Exception as error:
            self._settle(FabricError(f"the event loop can't be made: {error}"))
            self.parted.open()
            return
        asyncio.set_event_loop(loop)
        try:
            with self._lock:
                if self._ended:
                    return
                self._starting = loop.create_task(self.node.start())
                self._starting.add_done_callback(self._begun)
                self.loop = loop
            loop.run_forever()
            tasks = asyncio.all_tasks(loop)
            for task in tasks:
                task.cancel()
            if tasks:
                loop.run_until_complete(asyncio.wait(tasks, timeout=_CANCEL_WITHIN))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            loop.set_exception_handler(lambda *_: None)  # what would not end is destroyed with it, without a word
            loop.close()
            self.parted.open()

    def _begun(self, starting: asyncio.Task[Node]) -> None:
        self._settle(self._closed_early() if starting.cancelled() else starting.exception())

    def _settle(self, error: BaseException | None) -> None:
        if not self._settled.is_open:
            self._error = error
        self._settled.open()

    def _closed_early(self) -> ClosedError:
        return ClosedError(f"the node {self.node.name!r} was closed while it joined")

    async def _close_node(self) -> None:
        self._starting.cancel()  # nothing, when it has long started
        await asyncio.wait([self._starting])
        await self.node.close()


class Portal:
    """Starts the default node when it is first needed, and hands work over to its loop, or past it."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a signal handler may use it, too
        self._life: _Life | None = None
        self._arguments: dict[str, Any] = {}
        self._leaving = False
        self._ended = False
        atexit.register(self._end)  # before whatever the program registers, so that this runs after it

    def configure(self, arguments: dict[str, Any]) -> None:
        """Settings for the default node. Raises SettingsError."""
        if self._life is not None and self._life.node in process.nodes:
            raise SettingsError("labc is running already: call init() before anything else")
        Node(**arguments)  # so that a mistake shows here
        self._arguments = arguments

    def node(self) -> Node:
        """The node for verbs that name none, started now if there is none."""
        if (node := process.node()) is not None:
            return node
        process.check_not_forked()
        self._check_going_on()
        if in_pool() and being_spawned():
            raise LabcError(
                'the processes of run="process" import the main program to find its functions, and it uses the '
                'network while it is imported: put what it does under `if __name__ == "__main__":`'
            )
        try:
            with self._lock:
                if (life := self._life) is None:
                    life = self._life = _Life(Node(**self._arguments))
                    life.begin()
            life.wait_started()
        except BaseException:  # Ctrl-C, for one: the program may end now, and must not while the engine opens
            if self._life is not None and self._life.starter == threading.get_ident():
                self._part_with(self._life)
            raise
        return process.node() or life.node

    def run(self, verb: str, operation: Operation[T], node: Node | None = None) -> T:
        """The result of the operation on the loop of this node, or the default one. Interrupting it cancels it.

        Raises:
            BlockingCallError: on that very loop.
            ClosedError: the node was closed before the operation came to its end.
        """
        node = node or self.node()
        rooms = node.rooms()
        if rooms.is_here():
            raise BlockingCallError(verb)
        job = Job(lambda: operation(rooms), rooms.loop)
        try:
            if node not in process.nodes:
                raise CancelledError
            job.begin()
        except BaseException as error:
            job.cancel()
            if isinstance(error, CancelledError) or (isinstance(error, RuntimeError) and rooms.loop.is_closed()):
                self.stay_out_if_leaving()
                raise ClosedError(f"the node {node.name!r} is closed") from None
            raise
        try:
            return job.result()
        except BaseException as error:
            job.cancel()
            self.stay_out_if_leaving()
            gone = isinstance(error, PeerLostError) and node not in process.nodes
            if gone or isinstance(error, CancelledError):
                raise ClosedError(f"the node {node.name!r} was closed before labc.{verb}() came to its end") from None
            raise

    def call(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Options) -> Any:
        """Like :meth:`run`, but past the loop, where there is a way: this saves most of the time of a call."""
        node = self.node()
        rooms = node.rooms()
        if rooms.is_here():
            raise BlockingCallError("call")
        asked = rooms.caller.prepare(name, args, kwargs, options, streams=True)
        for outgoing in asked.streams:
            outgoing.avoid(running_loop())
        try:
            return rooms.caller.call_directly(asked)
        except Detour as detour:
            tries = detour.tries
        return self.run("call", lambda rooms: rooms.caller.call(asked, tries), node)

    def leave(self) -> None:
        """The program ends: other threads shall not join the network anew meanwhile."""
        self._leaving = True

    def close(self) -> None:
        """Leave the network, in less than a second. What still waits for an answer gets ClosedError."""
        with self._lock:
            life = self._life
            if life is not None and life.loop is not None and running_loop() is life.loop:
                raise BlockingCallError("close")
        if life is not None:
            self._part_with(life)

    def wait_closed(self) -> None:
        """Returns when the default node was closed."""
        if (life := self._life) is not None:
            life.parted.wait()

    def forget(self) -> None:
        """After fork, in the child."""
        self._lock = threading.RLock()
        self._life = None

    def _part_with(self, life: _Life) -> None:
        with self._lock:
            if self._life is not life:
                return  # another thread does it
            self._life = None
        life.end()
        life.parted.open()

    def _end(self) -> None:
        self._ended = True
        self.close()

    def _check_going_on(self) -> None:
        """Raises ClosedError: the program is ending."""
        if threading.current_thread() is threading.main_thread() and not self._ended:
            self._leaving = False  # it served, was interrupted, and goes on
        elif self._leaving or self._ended:
            self.stay_out_if_leaving()
            raise ClosedError("the program is ending, and has left the network")

    def stay_out_if_leaving(self) -> None:
        """A daemon thread ends with the program, and not with a traceback."""
        while (self._leaving or self._ended) and threading.current_thread().daemon:
            time.sleep(3600.0)


def _new_event_loop() -> asyncio.AbstractEventLoop:
    """libuv's on Linux, which answers a call in a third of the time. (On macOS its clock goes on while the machine
    sleeps, and ``time.monotonic()`` does not.)"""
    if sys.platform != "linux":
        return asyncio.new_event_loop()
    import uvloop  # when it is needed: not every program uses the network

    return uvloop.new_event_loop()


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The one that turns in this thread."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


portal = Portal()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=portal.forget)
