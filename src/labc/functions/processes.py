"""Spawned processes for CPU-bound functions.

A pool of our own: in that of concurrent.futures, one process that dies takes the calls of all the others with it, an
exception that can't be unpickled counts as such a death, and a process that computes holds up the end of the program.
"""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import importlib
import inspect
import operator
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from labc.errors import CarryError
from labc.functions.context import CallContext, set_current_call
from labc.functions.threads import Threads
from labc.registry import plain
from labc.wire import Failure

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

_BEGUN = b"begun"
_NAME = "labc process"

_CANCEL_GRACE = 1.0
"""Seconds after which a process whose caller has gone is killed, if the function has not returned by then."""


class ProcessDiedError(Exception):
    """A process of the pool ended in the middle of a function."""


class RaisedThereError(Exception):
    """The function raised in its process; the exception itself stays there."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"in its process:\n{failure.traceback}".rstrip())
        self.failure = failure


class Processes:
    """At most ``count`` processes, each started when all others are busy. A call beyond waits for its turn."""

    def __init__(self, count: int) -> None:
        self._threads = Threads(count or os.cpu_count() or 1, "labc process")
        self._idle: list[_Worker] = []
        self._workers: set[_Worker] = set()
        self._lock = threading.Lock()
        self._owner = os.getpid()
        self._closed = False

    async def run(
        self, context: CallContext, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        """The result of ``function(*args, **kwargs)`` in one of the processes.

        Cancelling forgets the result; the process of a function that has begun and does not return within a second
        is killed.

        Raises:
            ProcessDiedError: it was killed, or crashed in an extension.
            RaisedThereError: the function raised.
            CarryError: the result can't leave the process.
        """
        caller = (context.name, context.host, context.node, context.node_id, context.remaining)
        job = _pickled((caller, _reference(function), tuple(args), dict(kwargs)))
        turn = _Turn()
        try:
            answer = await self._threads.run(contextvars.Context(), lambda: self._ask(job, turn))
        except asyncio.CancelledError:
            asyncio.get_running_loop().call_later(_CANCEL_GRACE, self._give_up, turn)
            raise
        kind, value = _unpickled(answer)
        if kind == "raised":
            raise RaisedThereError(Failure.decode(value))
        if kind == "uncarried":
            raise _uncarried(context.name, value)
        try:
            return _unpickled(value)
        except Exception as error:
            raise _uncarried(context.name, str(error)) from error

    def close(self) -> None:
        """End the processes at once, whatever they do."""
        if self._owner != os.getpid():  # forked: they are the parent's
            return
        atexit.unregister(self.close)
        self._threads.close()
        with self._lock:
            self._closed = True
            workers = list(self._workers)
            idle, self._idle = self._idle, []
        for worker in workers:
            worker.kill()
        for worker in idle:  # the busy ones are waited for by their threads
            worker.end()

    def _give_up(self, turn: _Turn) -> None:
        """Nobody waits for it any more: free what it still holds."""
        with self._lock:
            turn.given_up = True
            if turn.worker is not None:
                turn.worker.kill()  # its thread sees that, and ends it

    def _ask(self, job: bytes, turn: _Turn) -> bytes:
        """In a thread that has a process for itself meanwhile."""
        while True:
            worker = self._take(turn)
            try:
                worker.give(job)
            except (EOFError, OSError):
                code = self._lose(worker, turn)
                if worker.served:  # it died while it was idle
                    continue
                raise ProcessDiedError(
                    f"it ended with exit code {code} while it imported the main program; its stderr tells why"
                ) from None
            try:
                answer = worker.answer()
            except (EOFError, OSError):
                raise ProcessDiedError(f"it ended with exit code {self._lose(worker, turn)}") from None
            worker.served = True
            with self._lock:
                turn.worker = None
                if not turn.given_up:
                    self._idle.append(worker)
                    return answer
            raise ProcessDiedError(f"it ended with exit code {self._lose(worker, turn)}")  # killed as it answered

    def _lose(self, worker: _Worker, turn: _Turn) -> int | None:
        worker.kill()
        with self._lock:
            turn.worker = None
            self._workers.discard(worker)
        return worker.end()

    def _take(self, turn: _Turn) -> _Worker:
        with self._lock:
            if turn.given_up:
                raise ProcessDiedError("its caller has gone")
            if self._idle:
                turn.worker = self._idle.pop()
                return turn.worker
            if self._closed:
                raise ProcessDiedError("the node is closed")
            if not self._workers:
                # Its clean-up at exit waits for processes: registered before this one, it comes after.
                importlib.import_module("multiprocessing.util")
                atexit.register(self.close)
            worker = _Worker()
            self._workers.add(worker)
            turn.worker = worker
        return worker


class _Turn:
    """One call in one of the processes."""

    def __init__(self) -> None:
        self.worker: _Worker | None = None
        self.given_up = False


class _Worker:
    """One process, and this end of the pipe to it."""

    def __init__(self) -> None:
        import multiprocessing  # takes 3 MB, and few programs need it

        spawn = multiprocessing.get_context("spawn")
        self._connection, theirs = spawn.Pipe()
        self._process = spawn.Process(target=_work, args=(theirs,), name=_NAME)
        self.served = False
        self._process.start()
        # Python would wait for it at exit, also in a forked child of this process, which then fails at that.
        getattr(multiprocessing.process, "_children", set()).discard(self._process)
        theirs.close()

    def give(self, job: bytes) -> None:
        """Returns when it begins."""
        self._connection.send_bytes(job)
        self._connection.recv_bytes()

    def answer(self) -> bytes:
        return self._connection.recv_bytes()

    def kill(self) -> None:
        self._process.kill()

    def end(self) -> int | None:
        """Its exit code, after a kill."""
        self._process.join(0.2)
        self._connection.close()
        return self._process.exitcode


def being_spawned() -> bool:
    """Whether this is a spawned process that is importing its parent's main module, to know its functions."""
    return getattr(_spawned(), "_inheriting", False)


def in_pool() -> bool:
    """Whether this process is one of a pool: it computes for its parent, and offers nothing itself."""
    return getattr(_spawned(), "name", "") == _NAME


def _spawned() -> object:
    """This process, if Python's multiprocessing has started it, or None."""
    # Then it is imported already, and not only half.
    current_process = getattr(sys.modules.get("multiprocessing"), "current_process", None)
    return current_process() if current_process else None


# pickle takes 0.3 MB, which a process that has no others should not spend.


def _pickled(value: object) -> bytes:
    import pickle

    return pickle.dumps(value, protocol=5)


def _unpickled(data: bytes) -> Any:
    import pickle

    return pickle.loads(data)


_Reference = tuple[str, str, Any]


def _reference(function: Callable[..., Any]) -> _Reference:
    """Module, name, and for a method the object it is bound to."""
    bound_to = getattr(function, "__self__", None)
    if bound_to is not None and not inspect.ismodule(bound_to) and not inspect.isclass(bound_to):
        return function.__module__, function.__name__, bound_to
    return function.__module__, function.__qualname__, None


def _uncarried(name: str, problem: str) -> CarryError:
    return CarryError(f"the result of {name}()", f"it can't leave its process: {problem}")


# In the process.


def _work(connection: Connection) -> None:
    """One job after the other, until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all processes of a terminal; the parent ends this one
    with suppress(EOFError, OSError):
        while True:
            job = connection.recv_bytes()
            connection.send_bytes(_BEGUN)
            connection.send_bytes(_pickled(_answer(job)))


def _answer(job: bytes) -> tuple[str, Any]:
    try:
        result = _run(*_unpickled(job))
    except BaseException as error:
        failure = Failure.from_exception(error, host="", node="")
        name, traceback = (text.replace("__mp_main__.", "") for text in (failure.type, failure.traceback))
        return "raised", msgspec.structs.replace(failure, type=name, traceback=traceback).encode()
    try:
        return "value", _pickled(result)
    except Exception as error:
        return "uncarried", str(error)


def _run(caller: tuple[Any, ...], reference: _Reference, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    module, name, bound_to = reference
    home = bound_to if bound_to is not None else importlib.import_module(module)
    function = plain(operator.attrgetter(name)(home))
    context = CallContext(*caller)
    set_current_call(context)
    try:
        return function(*args, **kwargs)
    finally:
        context.finished = True
