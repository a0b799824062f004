"""The providing side of calls: from a request on a lane to its reply."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
import time
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from labc.directory import CORE, NodeRecord, Who, near_names, reaches
from labc.errors import (
    CallTimeoutError,
    CarryError,
    ClosedError,
    LabcError,
    NotFoundError,
    OverloadedError,
    PeerLostError,
    Ran,
)
from labc.functions.context import CallContext, set_current_call
from labc.functions.processes import ProcessDiedError, Processes, RaisedThereError
from labc.functions.registration import Registration
from labc.functions.threads import Job, Threads
from labc.lanes import Lane
from labc.settings import Settings, Verb
from labc.wire import Body, Failure, Request, Requested, decode_arguments, encode

logger = logging.getLogger("labc.functions")


CheckRight = Callable[[Verb, str, Who | None, bool], None]
"""``check_right(verb, name, who, dangerous)`` raises RefusedError if he may not."""

_ALWAYS = (CORE, "\0")
"""With what the names of labc's own functions begin. They run beside `max_calls`: what a node tells of itself takes no
time worth mentioning, and what is published to it waits for its handlers, not for its functions."""


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


class _Running(msgspec.Struct, eq=False):
    """A call that is being served: by a task, or in a thread."""

    context: CallContext
    task: asyncio.Task[Any] | None = None
    job: Job | None = None


class Provider:
    """Runs this node's functions for callers, at most ``max_calls`` at once, and labc's own beside them."""

    def __init__(
        self,
        here: NodeRecord,
        settings: Settings,
        find: Callable[[str], Registration[..., Any] | None],
        offered: Callable[[], Iterable[Registration[..., Any]]],
        prepare: Callable[[], object],
        check_right: CheckRight,
    ) -> None:
        self._here = here
        self._settings = settings
        self._find = find
        self._offered = offered
        self._prepare = prepare
        self._check_right = check_right
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._threads = Threads(settings.threads, "labc function")
        self._handler_threads = Threads(settings.threads, "labc handler")
        self._processes = Processes(settings.processes)
        self._running: dict[Hashable, _Running] = {}
        self._own: set[Hashable] = set()
        """Which of them are labc's own functions."""
        self._leaving = False
        self._counting = threading.Lock()
        self.counts = CallCounts()

    @property
    def running(self) -> int:
        """Calls that are not answered yet."""
        return len(self._running)

    @property
    def threads(self) -> Threads:
        """For the handlers of topics: not those of functions, or handlers that call functions of this very node
        could take all threads, and wait for ever for one that is free."""
        return self._handler_threads

    def offers(self, name: str) -> bool:
        return self._find(name) is not None

    def listed(self) -> set[str]:
        """The names of what this node offers and does not hide."""
        return {registration.name for registration in self._offered() if registration.listed}

    # From the lanes.

    def requested(self, lane: Lane, event: Requested) -> None:
        request, peer = event.request, lane.peer
        assert peer is not None
        try:
            registration = self._admit(request.name, lane.caller, lane.who)
        except LabcError as error:
            lane.fail(event.id, self._refused(error))
            return
        context = CallContext(
            request.name, peer.host_name, peer.node_name, peer.node_id, request.timeout, lane.caller, lane.who
        )
        key = (lane, event.id)
        if registration.run == "thread":
            job = _InThread(self, lane, event, registration, context)
            self._begin(key, _Running(context, job=job))
            self._threads.start(job)
        else:
            serving = self._serve(lane, event, registration, context)
            self._begin(key, _Running(context, self._loop.create_task(serving, name=f"labc call {request.name}")))

    def cancelled(self, lane: Lane, call_id: int) -> None:
        self._cancel((lane, call_id))

    def lane_closed(self, lane: Lane) -> None:
        for key in self._running.copy():
            if isinstance(key, tuple) and key[0] is lane:
                self._cancel(key)

    async def close(self, within: float) -> None:
        """Cancel what runs, and wait at most ``within`` seconds for it. What comes now is refused."""
        self._leaving = True
        running = self._running.copy()
        for key in running:
            self._cancel(key)
        self._processes.close()
        self._threads.close()
        self._handler_threads.close()
        tasks = [entry.task for entry in running.values() if entry.task is not None]
        await asyncio.gather(
            self._threads.ended(within),
            self._handler_threads.ended(within),
            *([asyncio.wait(tasks, timeout=within)] if tasks else []),
        )

    # From this node itself.

    async def call_here(self, name: str, arguments: Body, timeout: float) -> Body:
        """The same for a caller in this very node; what would be a failure on a lane is raised, and a TimeoutError."""
        here = self._here
        request = Request(name, timeout, msgspec.Raw(arguments.head))
        try:
            registration = self._admit(name, None, None)
        except LabcError as error:
            raise self._refused(error).to_exception() from None
        context = CallContext(request.name, here.host, here.name, here.id, request.timeout, here)
        answering = self._answer(registration, request, _copied(arguments.buffers), context)
        task = self._loop.create_task(answering, name=f"labc call {request.name}")
        self._begin(task, _Running(context, task))
        task.add_done_callback(self._end)
        try:
            answer = await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():  # not the caller, but the call: by close()
                raise ClosedError(f"the node {here.name!r} was closed while {name!r} ran") from None
            self._cancel(task)
            raise
        if not context.has_result:
            raise TimeoutError
        if isinstance(answer, Failure):
            raise answer.to_exception()
        return Body(answer.head, _copied(answer.buffers))

    def take_message(self, name: str, arguments: Body, sender: CallContext) -> None:
        """Run a function for somebody who waits for no answer. On the loop.

        Raises:
            LabcError: it does not run.
        """
        try:
            registration = self._admit(name, None if sender.caller is self._here else sender.caller, sender.who)
        except LabcError:
            self._count("refused")
            raise
        context = CallContext(name, sender.host, sender.node, sender.node_id, None, sender.caller, sender.who)
        request = Request(name, None, msgspec.Raw(arguments.head))
        answering = self._answer(registration, request, _copied(arguments.buffers), context)
        task = self._loop.create_task(answering, name=f"labc message to {name}")
        self._begin(task, _Running(context, task))
        task.add_done_callback(self._end)

    def new_context(self) -> contextvars.Context:
        """For one call."""
        return self._context.copy()

    # Within.

    def _begin(self, key: Hashable, running: _Running) -> None:
        if running.context.name.startswith(_ALWAYS):
            self._own.add(key)
        self._running[key] = running

    def _end(self, key: Hashable) -> _Running | None:
        """From any thread."""
        if self._own:
            self._own.discard(key)
        return self._running.pop(key, None)

    def _cancel(self, key: Hashable) -> None:
        """Nobody waits for it any more. Only once: a caller may cancel and then leave, and a second time would tear
        the function from its ``finally``."""
        running = self._end(key)
        if running is None:
            return
        running.context.cancel()  # before the task, so that this knows who cancelled it
        self._count("cancelled")
        if running.task is not None:
            running.task.cancel()
        if running.job is not None:
            self._threads.abandon(running.job)

    def answered(self, lane: Lane, call_id: int, context: CallContext, answer: Body | Failure) -> None:
        """Send it. From any thread."""
        self._end((lane, call_id))
        if not context.has_result:
            return  # if it is for the deadline, the caller cancels the call any moment
        if isinstance(answer, Failure):
            lane.fail(call_id, answer)
            return
        try:
            lane.reply(call_id, answer)
        except CarryError as error:
            logger.warning("%s can't be answered: %s", context, error)
            lane.fail(call_id, self._failure(error))

    async def _serve(
        self, lane: Lane, event: Requested, registration: Registration[..., Any], context: CallContext
    ) -> None:
        answer = await self._answer(registration, event.request, event.buffers, context)
        self.answered(lane, event.id, context, answer)

    async def _answer(
        self, registration: Registration[..., Any], request: Request, buffers: Any, context: CallContext
    ) -> Body | Failure:
        if registration.run == "thread":
            return await self._threads.run(
                self.new_context(), lambda: self.answer_in_thread(registration, request, buffers, context)
            )
        try:
            args, kwargs = registration.signature.bind(*decode_arguments(request.arguments, buffers))
        except BaseException as error:  # a type of the user's may do anything, even sys.exit()
            return self._refused(error)
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
            self._count("failed", context)
            return self._failure(PeerLostError(f"the process that ran {context.name!r} on {self._here}", str(error)))
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

    def answer_in_thread(
        self, registration: Registration[..., Any], request: Request, buffers: Any, context: CallContext
    ) -> Body | Failure:
        """Run a plain function, in a thread and a context of its own."""
        if not self._leaving and context.cancelled:  # while it waited for a thread: nobody waits for it any more
            return self._failure(CallTimeoutError(context.name, 0.0, where=str(self._here), ran="no"), ran="no")
        try:
            args, kwargs = registration.signature.bind(*decode_arguments(request.arguments, buffers))
        except BaseException as error:  # a type of the user's may do anything, even sys.exit()
            return self._refused(error)
        try:
            self._enter(context)
            result = registration.function(*args, **kwargs)
        except BaseException as error:  # also SystemExit: a function must not end its provider
            return self._raised(context, error)
        finally:
            context.finished = True
        return self._encoded(context, result)

    def sees(self, caller: NodeRecord | None, registration: Registration[..., Any]) -> bool:
        """Whether the function exists for this caller; None: this node itself."""
        if caller is None:
            return True
        return registration.scope != "node" and reaches(registration.scope, self._here, caller)

    def _admit(self, name: str, caller: NodeRecord | None, who: Who | None) -> Registration[..., Any]:
        if self._leaving:
            raise PeerLostError(str(self._here), "it is leaving the network", ran="no")
        if len(self._running) - len(self._own) >= self._settings.max_calls and not name.startswith(_ALWAYS):
            raise OverloadedError(
                f"{self._here} runs {self._settings.max_calls} calls already (max_calls) and takes no more"
            )
        registration = self._find(name)
        if registration is None or not self.sees(caller, registration):
            near = near_names(name, [r.name for r in self._offered() if r.listed and self.sees(caller, r)])
            raise NotFoundError(name, near=near, nodes=1, hosts=1, detail=f"{self._here} does not")
        if not name.startswith("\0"):  # whose parts are looked at where they are taken
            self._check_right("call", name, who, registration.dangerous)
        return registration

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
        self._count("served", context)
        return body

    def _count(
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

    def _refused(self, error: BaseException) -> Failure:
        self._count("refused")
        return self._failure(error, ran="no")

    def _raised(self, context: CallContext, error: BaseException, failure: Failure | None = None) -> Failure:
        """``failure``: the error as it was told by another process."""
        self._count("failed", context)
        failure = failure or self._failure(error)
        logger.warning("%s raised %s: %s", context, failure.type, failure.message, exc_info=error)
        # An error of labc's own that the function let through is not about this call.
        here = self._here
        return msgspec.structs.replace(failure, error="RemoteError", fields={}, host=here.host, node=here.name)

    def _uncarried(self, context: CallContext, error: CarryError) -> Failure:
        logger.warning("%s can't be answered: %s", context, error)
        self._count("failed", context)
        return self._failure(error)

    def _failure(self, error: BaseException, ran: Ran = "yes") -> Failure:
        return Failure.from_exception(error, host=self._here.host, node=self._here.name, ran=ran)


class _InThread:
    """A call from a lane that a thread serves, from its arguments to its answer."""

    __slots__ = ("_context", "_event", "_lane", "_provider", "_registration", "abandoned")

    def __init__(
        self,
        provider: Provider,
        lane: Lane,
        event: Requested,
        registration: Registration[..., Any],
        context: CallContext,
    ) -> None:
        self.abandoned = False
        self._provider = provider
        self._lane = lane
        self._event = event
        self._registration = registration
        self._context = context

    def run(self) -> None:
        event, provider = self._event, self._provider
        answer = provider.new_context().run(
            provider.answer_in_thread, self._registration, event.request, event.buffers, self._context
        )
        provider.answered(self._lane, event.id, self._context, answer)


def _copied(buffers: tuple[Any, ...]) -> tuple[Any, ...]:
    """Caller and function shall not share memory, no more than they would over a lane."""
    return tuple(memoryview(bytes(buffer)) for buffer in buffers)
