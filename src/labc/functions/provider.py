"""The providing side of calls: from a request on a lane to its reply."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from labc.directory import NodeRecord, near_names
from labc.errors import CarryError, ClosedError, NotFoundError, OverloadedError, PeerLostError, Ran
from labc.functions.context import CallContext, set_current_call
from labc.functions.processes import ProcessDiedError, Processes, RaisedThereError
from labc.functions.registration import Registration
from labc.functions.threads import Threads
from labc.lanes import Lane
from labc.settings import Settings
from labc.wire import Body, Failure, Request, Requested, decode_arguments, encode

logger = logging.getLogger("labc.functions")


@dataclass(slots=True)
class CallCounts:
    """Since the node started."""

    served: int = 0
    failed: int = 0
    refused: int = 0
    cancelled: int = 0


class Provider:
    """Runs this node's functions for callers, at most ``max_calls`` at once."""

    def __init__(
        self,
        here: NodeRecord,
        settings: Settings,
        find: Callable[[str], Registration[..., Any] | None],
        names: Callable[[], list[str]],
        prepare: Callable[[], object],
    ) -> None:
        self._here = here
        self._settings = settings
        self._find = find
        self._names = names
        self._prepare = prepare
        self._loop = asyncio.get_running_loop()
        self._threads = Threads(settings.threads, "labc function")
        self._handler_threads = Threads(settings.threads, "labc handler")
        self._processes = Processes(settings.processes)
        self._running: dict[tuple[Lane, int], tuple[asyncio.Task[None], CallContext]] = {}
        self._admitted = 0
        self._local: dict[asyncio.Task[Any], CallContext] = {}
        self._leaving = False
        self.counts = CallCounts()

    @property
    def running(self) -> int:
        """Calls that were admitted and are not answered yet."""
        return self._admitted

    @property
    def threads(self) -> Threads:
        """For the handlers of topics: not those of functions, or handlers that call functions of this very node
        could take all threads, and wait for ever for one that is free."""
        return self._handler_threads

    def offers(self, name: str) -> bool:
        return self._find(name) is not None

    # From the lanes.

    def requested(self, lane: Lane, event: Requested) -> None:
        assert lane.peer is not None
        peer = lane.peer
        context = CallContext(event.request.name, peer.host_name, peer.node_name, peer.node_id, event.request.timeout)
        task = self._loop.create_task(self._serve(lane, event, context), name=f"labc call {event.request.name}")
        self._running[lane, event.id] = (task, context)
        task.add_done_callback(lambda _: self._running.pop((lane, event.id), None))

    def cancelled(self, lane: Lane, call_id: int) -> None:
        if entry := self._running.get((lane, call_id)):
            _cancel(*entry)

    def lane_closed(self, lane: Lane) -> None:
        for owner, call_id in list(self._running):
            if owner is lane:
                self.cancelled(lane, call_id)

    async def close(self, within: float) -> None:
        """Cancel what runs, and wait at most ``within`` seconds for it. What comes now is refused."""
        self._leaving = True
        running: list[tuple[asyncio.Task[Any], CallContext]] = [*self._running.values(), *self._local.items()]
        for task, context in running:
            _cancel(task, context)
        self._processes.close()
        self._threads.close()
        self._handler_threads.close()
        await asyncio.gather(
            self._threads.ended(within),
            self._handler_threads.ended(within),
            *([asyncio.wait([t for t, _ in running], timeout=within)] if running else []),
        )

    # From this node itself.

    async def call_here(self, name: str, arguments: Body, timeout: float) -> Body:
        """The same for a caller in this very node; what would be a failure on a lane is raised."""
        here = self._here
        request = Request(name, timeout, msgspec.Raw(arguments.head))
        buffers = _copied(arguments.buffers)
        context = CallContext(request.name, here.host, here.name, here.id, request.timeout)
        task = self._loop.create_task(self._answer(request, buffers, context), name=f"labc call {request.name}")
        self._local[task] = context
        task.add_done_callback(lambda _: self._local.pop(task, None))
        try:
            answer = await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():  # not the caller, but the call: by close()
                raise ClosedError(f"the node {here.name!r} was closed while {name!r} ran") from None
            _cancel(task, context)
            raise
        if isinstance(answer, Failure):
            raise answer.to_exception()
        return Body(answer.head, _copied(answer.buffers))

    # Within.

    async def _serve(self, lane: Lane, event: Requested, context: CallContext) -> None:
        try:
            answer = await self._answer(event.request, event.buffers, context)
        except asyncio.CancelledError:
            self.counts.cancelled += 1
            raise
        if isinstance(answer, Failure):
            lane.fail(event.id, answer)
            return
        try:
            lane.reply(event.id, answer)
        except CarryError as error:
            logger.warning("%s can't be answered: %s", context, error)
            lane.fail(event.id, self._failure(error))

    async def _answer(self, request: Request, buffers: Any, context: CallContext) -> Body | Failure:
        try:
            registration = self._admit(request.name)
            args, kwargs = registration.signature.bind(*decode_arguments(request.arguments, buffers))
        except Exception as error:
            self.counts.refused += 1
            return self._failure(error, ran="no")
        self._admitted += 1
        try:
            try:
                result = await self._run(registration, context, args, kwargs)
            finally:
                self._admitted -= 1
                context.finished = True
        except asyncio.CancelledError as error:
            if context.cancelled:
                raise
            return self._raised(context, error)  # the function's own doing
        except ProcessDiedError as error:
            self.counts.failed += 1
            return self._failure(PeerLostError(f"the process that ran {context.name!r} on {self._here}", str(error)))
        except RaisedThereError as error:
            return self._raised(context, error, error.failure)
        except BaseException as error:
            if isinstance(error, CarryError) and registration.run == "process":
                return self._uncarried(context, error)
            return self._raised(context, error)
        try:
            body = encode(result, where=f"the result of {request.name}()")
        except CarryError as error:
            return self._uncarried(context, error)
        except Exception as error:  # of the value itself: a property that raises, a dict that another thread changes
            return self._raised(context, error)
        self.counts.served += 1
        return body

    def _admit(self, name: str) -> Registration[..., Any]:
        if self._leaving:
            raise PeerLostError(str(self._here), "it is leaving the network", ran="no")
        if self._admitted >= self._settings.max_calls:
            raise OverloadedError(
                f"{self._here} runs {self._settings.max_calls} calls already (max_calls) and takes no more"
            )
        registration = self._find(name)
        if registration is None:
            near = near_names(name, self._names())
            raise NotFoundError(name, near=near, nodes=1, hosts=1, detail=f"{self._here} does not")
        return registration

    async def _run(self, registration: Registration[..., Any], context: CallContext, args: Any, kwargs: Any) -> Any:
        self._prepare()
        set_current_call(context)  # this task's own context
        if registration.run == "loop":
            result = registration.function(*args, **kwargs)
            return await result if asyncio.iscoroutine(result) else result
        if registration.run == "process":
            return await self._processes.run(context, registration.function, args, kwargs)
        function = functools.partial(registration.function, *args, **kwargs)
        return await self._threads.run(contextvars.copy_context(), function)

    def _raised(self, context: CallContext, error: BaseException, failure: Failure | None = None) -> Failure:
        """``failure``: the error as it was told by another process."""
        self.counts.failed += 1
        failure = failure or self._failure(error)
        logger.warning("%s raised %s: %s", context, failure.type, failure.message, exc_info=error)
        # An error of labc's own that the function let through is not about this call.
        here = self._here
        return msgspec.structs.replace(failure, error="RemoteError", fields={}, host=here.host, node=here.name)

    def _uncarried(self, context: CallContext, error: CarryError) -> Failure:
        logger.warning("%s can't be answered: %s", context, error)
        self.counts.failed += 1
        return self._failure(error)

    def _failure(self, error: BaseException, ran: Ran = "yes") -> Failure:
        return Failure.from_exception(error, host=self._here.host, node=self._here.name, ran=ran)


def _cancel(task: asyncio.Task[Any], context: CallContext) -> None:
    """Only once: a caller may cancel and then leave, and a second time would tear the function from its ``finally``."""
    if context.cancel():  # before the task, so that this knows who cancelled it
        task.cancel()


def _copied(buffers: tuple[Any, ...]) -> tuple[Any, ...]:
    """Caller and function shall not share memory, no more than they would over a lane."""
    return tuple(memoryview(bytes(buffer)) for buffer in buffers)
