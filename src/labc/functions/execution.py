"""Running a function for one call: its arguments in, its answer or its values out, wherever it runs."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from labc.directory import CORE, NodeRecord
from labc.errors import CallTimeoutError, CarryError, LabcError, PeerLostError, Ran
from labc.functions.carrying import carried
from labc.functions.context import CallContext, set_current_call
from labc.functions.incoming import Incoming
from labc.functions.processes import ProcessDiedError, Processes, RaisedThereError
from labc.functions.registration import Registration
from labc.functions.sending import Sender
from labc.functions.threads import Threads
from labc.settings import Settings
from labc.wire import Body, Failure, Request, decode_arguments, encode

logger = logging.getLogger("labc.functions")


@dataclass(slots=True)
class CallCounts:
    """Since the node started."""

    served: int = 0
    failed: int = 0
    refused: int = 0
    cancelled: int = 0
    seconds: float = 0.0
    """From the arrival of calls to their answers, of all that were served or failed."""
    longest: float = 0.0
    """The same, of the one that took longest."""


class Call(msgspec.Struct, eq=False):
    """One call that was admitted, and what it brings along."""

    registration: Registration[..., Any]
    context: CallContext
    request: Request
    buffers: Any
    incoming: Sequence[Incoming] = ()
    """The streams among its arguments."""
    values: Sender | None = None
    """Where the values of a generator go, if the caller wants these."""


class Execution:
    """Runs this node's functions, each where it is registered to run, and counts what became of them."""

    def __init__(self, here: NodeRecord, settings: Settings, prepare: Callable[[], object]) -> None:
        self._here = here
        self._prepare = prepare
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._processes = Processes(settings.processes)
        self._counting = threading.Lock()
        self._leaving = False
        self.threads = Threads(settings.threads, "labc function")
        self.counts = CallCounts()

    def close(self) -> None:
        """No function begins any more. Threads that are busy are :attr:`threads`' to wait for."""
        self._leaving = True
        self._processes.close()
        self.threads.close()

    def new_context(self) -> contextvars.Context:
        """For one call."""
        return self._context.copy()

    async def answer(self, call: Call) -> Body | Failure:
        """Run a function wherever it runs. For a task, and a context, of its own."""
        registration, context = call.registration, call.context
        if registration.run == "thread":
            return await self.threads.run(self.new_context(), lambda: self.answer_in_thread(call))
        try:
            args, kwargs = self._arguments(call)
        except BaseException as error:  # a type of the user's may do anything, even sys.exit()
            return self.refused(error)
        try:
            self._enter(context)  # this task's own context
            if registration.run == "loop":
                result = registration.function(*args, **kwargs)
                if asyncio.iscoroutine(result):
                    result = await result
            else:
                result = await self._processes.run(context, registration.function, args, kwargs)
        except asyncio.CancelledError as error:
            if context.cancelled:
                raise
            return self._raised(context, error)  # the function's own doing
        except ProcessDiedError as error:
            self.count("failed", context)
            return self.failure(PeerLostError(f"the process that ran {context.name!r} on {self._here}", str(error)))
        except RaisedThereError as error:
            return self._raised(context, error, error.failure)
        except BaseException as error:
            if isinstance(error, GeneratorExit) and self._loop.is_closed():
                raise  # the loop ended before it
            if isinstance(error, CarryError) and registration.run == "process":
                return self._uncarried(context, error)
            return self._raised(context, error)
        finally:
            context.finished = True
        return self._encoded(context, result)

    def answer_in_thread(self, call: Call) -> Body | Failure:
        """Run a plain function, in a thread and a context of its own."""
        registration, context = call.registration, call.context
        if self._is_too_late(context):
            return self._too_late(context)
        try:
            args, kwargs = self._arguments(call)
        except BaseException as error:  # a type of the user's may do anything, even sys.exit()
            return self.refused(error)
        try:
            self._enter(context)
            result = registration.function(*args, **kwargs)
        except BaseException as error:  # also SystemExit: a function must not end its provider
            return self._raised(context, error)
        finally:
            context.finished = True
        return self._encoded(context, result)

    async def give(self, call: Call) -> None:
        """Run a generator wherever it runs, and give its values to whom they are for. For a task of its own."""
        values, context = _sender_of(call), call.context
        where = f"a value of {context.name}()"
        if call.registration.run == "thread":
            await self.threads.run(self.new_context(), lambda: self.give_in_thread(call))
            return
        try:
            args, kwargs = self._arguments(call)
        except BaseException as error:
            values.end(self.refused(error))
            return
        generator: Any = None
        try:
            self._enter(context)
            generator = call.registration.function(*args, **kwargs)
            if asyncio.iscoroutine(generator):
                generator = await generator
            if hasattr(generator, "__anext__"):
                async for value in generator:
                    if not await values.put_here(carried(value, where)):
                        break
            else:
                for value in _values_of(generator, context.name):
                    if not await values.put_here(carried(value, where)):
                        break
        except asyncio.CancelledError as error:
            if context.cancelled:
                raise
            values.end(self._raised(context, error))
            return
        except BaseException as error:
            if isinstance(error, GeneratorExit) and self._loop.is_closed():
                raise
            values.end(self._no_value(context, error))
            return
        finally:
            await self._close_here(context, generator)
            context.finished = True
        if not context.cancelled:
            self.count("served", context)
            values.end()

    def give_in_thread(self, call: Call) -> None:
        """The same for a plain generator, in a thread and a context of its own."""
        values, context = _sender_of(call), call.context
        where = f"a value of {context.name}()"
        if self._is_too_late(context):
            values.end(self._too_late(context))
            return
        try:
            args, kwargs = self._arguments(call)
        except BaseException as error:
            values.end(self.refused(error))
            return
        generator: Any = None
        try:
            self._enter(context)
            generator = call.registration.function(*args, **kwargs)
            for value in _values_of(generator, context.name):
                if not values.put(carried(value, where)):
                    break
        except BaseException as error:
            values.end(self._no_value(context, error))
            return
        finally:
            self._close(context, generator)
            context.finished = True
        if not context.cancelled:
            self.count("served", context)
            values.end()

    def _arguments(self, call: Call) -> tuple[Sequence[Any], Mapping[str, Any]]:
        """Raises whatever the types of the user's do, even SystemExit."""
        decoded = decode_arguments(call.request.arguments, call.buffers, call.incoming)
        return call.registration.signature.bind(*decoded)

    def _is_too_late(self, context: CallContext) -> bool:
        """Whether nobody waits for it any more, as it waited for a thread."""
        return not self._leaving and context.cancelled

    def _too_late(self, context: CallContext) -> Failure:
        return self.failure(CallTimeoutError(context.name, 0.0, where=str(self._here), ran="no"), ran="no")

    def _close(self, context: CallContext, generator: Any) -> None:
        """So that its ``finally`` runs now, and not some time."""
        try:
            if (close := getattr(generator, "close", None)) is not None:
                close()
        except BaseException as error:
            logger.warning("%s raised %s when it was closed", context, type(error).__name__, exc_info=error)

    async def _close_here(self, context: CallContext, generator: Any) -> None:
        try:
            if (aclose := getattr(generator, "aclose", None)) is not None:
                await aclose()
            else:
                self._close(context, generator)
        except BaseException as error:
            logger.warning("%s raised %s when it was closed", context, type(error).__name__, exc_info=error)

    def _no_value(self, context: CallContext, error: BaseException) -> Failure:
        return self._uncarried(context, error) if isinstance(error, CarryError) else self._raised(context, error)

    def _enter(self, context: CallContext) -> None:
        self._prepare()
        set_current_call(context)

    def _encoded(self, context: CallContext, result: Any) -> Body | Failure:
        try:
            body = encode(result, where=f"the result of {context.name}()")
        except CarryError as error:
            return self._uncarried(context, error)
        except BaseException as error:  # of the value: a property that raises, a dict that another thread changes
            return self._raised(context, error)
        self.count("served", context)
        return body

    def count(
        self, what: Literal["served", "failed", "refused", "cancelled"], context: CallContext | None = None
    ) -> None:
        """``context``: of a call that has been answered."""
        counts = self.counts
        with self._counting:
            setattr(counts, what, getattr(counts, what) + 1)
            if context is not None:
                seconds = time.monotonic() - context.began
                counts.seconds += seconds
                counts.longest = max(counts.longest, seconds)

    def refused(self, error: BaseException) -> Failure:
        self.count("refused")
        return self.failure(error, ran="no")

    def _raised(self, context: CallContext, error: BaseException, failure: Failure | None = None) -> Failure:
        """``failure``: the error as it was told by another process."""
        self.count("failed", context)
        failure = failure or self.failure(error)
        if context.name.startswith(CORE) and isinstance(error, LabcError):  # what it is there to tell
            logger.debug("%s raised %s: %s", context, failure.type, failure.message)
            return msgspec.structs.replace(failure, traceback="")
        logger.warning("%s raised %s: %s", context, failure.type, failure.message, exc_info=error)
        # An error of labc's own that the function let through is not about this call.
        here = self._here
        return msgspec.structs.replace(failure, error="RemoteError", fields={}, host=here.host, node=here.name)

    def _uncarried(self, context: CallContext, error: CarryError) -> Failure:
        logger.warning("%s can't be answered: %s", context, error)
        self.count("failed", context)
        return self.failure(error)

    def failure(self, error: BaseException, ran: Ran = "yes") -> Failure:
        return Failure.from_exception(error, host=self._here.host, node=self._here.name, ran=ran)


def _sender_of(call: Call) -> Sender:
    assert call.values is not None
    return call.values


def _values_of(generator: Any, name: str) -> Iterator[Any]:
    if not hasattr(generator, "__next__"):
        raise TypeError(f"{name}() returns one value, and no generator: use call() instead of stream()")
    return iter(generator)
