"""The providing side of calls: from a request on a lane to its reply."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import msgspec

from labc.directory import CORE, NodeRecord, Who, near_names, reaches
from labc.errors import (
    ArgumentsError,
    CarryError,
    ClosedError,
    LabcError,
    NotFoundError,
    OverloadedError,
    PeerLostError,
)
from labc.functions.context import CallContext
from labc.functions.execution import Call, CallCounts, Execution
from labc.functions.incoming import Incoming
from labc.functions.outgoing import Outgoing
from labc.functions.receiving import Receiver, WayHere
from labc.functions.registration import Registration
from labc.functions.sending import Sender
from labc.functions.threads import Job, Threads
from labc.lanes import Lane
from labc.settings import Settings, Verb
from labc.wire import Body, Failure, Request, Requested

logger = logging.getLogger("labc.functions")


CheckRight = Callable[[Verb, str, Who | None, bool], None]
"""``check_right(verb, name, who, dangerous)`` raises RefusedError if he may not."""

_ALWAYS = (CORE, "\0")
"""With what the names of labc's own functions begin. They run beside `max_calls`: what a node tells of itself takes no
time worth mentioning, and what is published to it waits for its handlers, not for its functions."""


_MAX_STREAMS = 64
"""Among the arguments of one call."""


class _Running(msgspec.Struct, eq=False):
    """A call that is being served: by a task, or in a thread."""

    context: CallContext
    task: asyncio.Task[Any] | None = None
    job: Job | None = None
    values: Sender | None = None
    """Of a generator."""


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
        self._check_right = check_right
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._execution = Execution(here, settings, prepare)
        self._handler_threads = Threads(settings.threads, "labc handler")
        self._running: dict[Hashable, _Running] = {}
        self._own: set[Hashable] = set()
        """Which of them are labc's own functions."""
        self._leaving = False

    @property
    def counts(self) -> CallCounts:
        return self._execution.counts

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
            registration = self._admit(request.name, lane.caller, lane.who, request)
        except LabcError as error:
            lane.fail(event.id, self._execution.refused(error))
            return
        context = CallContext(
            request.name, peer.host_name, peer.node_name, peer.node_id, request.timeout, lane.caller, lane.who
        )
        call = Call(registration, context, request, event.buffers)
        if request.streams or request.want_stream:
            self._connect(lane, event.id, call)
        key = (lane, event.id)
        if registration.run == "thread":
            job = _InThread(self, lane, event.id, call)
            self._begin(key, _Running(context, job=job, values=call.values))
            self._execution.threads.start(job)
        else:
            serving = self._serve(lane, event.id, call)
            task = self._loop.create_task(serving, name=f"labc call {request.name}")
            self._begin(key, _Running(context, task, values=call.values))

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
        self._execution.close()
        self._handler_threads.close()
        tasks = [entry.task for entry in running.values() if entry.task is not None]
        await asyncio.gather(
            self._execution.threads.ended(within),
            self._handler_threads.ended(within),
            *([asyncio.wait(tasks, timeout=within)] if tasks else []),
        )

    # From this node itself.

    async def call_here(
        self, name: str, arguments: Body, timeout: float | None, outgoing: Sequence[Outgoing] = ()
    ) -> Body:
        """The same for a caller in this very node; what would be a failure on a lane is raised, and a TimeoutError."""
        request = Request(name, timeout, msgspec.Raw(arguments.head), len(outgoing))
        call = self._new_call_here(request, arguments)
        if not outgoing:
            return await self._call_here(call)
        with self._connected_here(call, outgoing):
            return await self._call_here(call)

    async def stream_here(
        self, name: str, arguments: Body, values: Receiver, latest: bool, outgoing: Sequence[Outgoing] = ()
    ) -> None:
        """The same for a generator; returns when it has come to its end, and ``values`` has all that it gave."""
        request = Request(name, None, msgspec.Raw(arguments.head), len(outgoing), want_stream=True, latest=latest)
        call = self._new_call_here(request, arguments)
        ended: asyncio.Future[None] = self._loop.create_future()

        def finish(failure: Failure | None) -> None:
            if ended.done():
                return
            if failure is None:
                ended.set_result(None)
            else:
                ended.set_exception(failure.to_exception())

        with self._connected_here(call, outgoing):
            call.values = sender = Sender(self._loop, WayHere(values, finish), latest=latest)
            task = self._loop.create_task(self._execution.give(call), name=f"labc call {name}")
            self._begin(task, _Running(call.context, task, values=sender))

            def over(task: asyncio.Task[None]) -> None:
                self._end(task)
                if sender.closed and not ended.done():  # cancelled, and not by who waits here
                    ended.set_exception(ClosedError(f"the node {self._here.name!r} was closed while {name!r} ran"))

            task.add_done_callback(over)
            values.begin(self._soon(sender.granted))
            try:
                await ended
            except asyncio.CancelledError:
                self._cancel(task)
                raise

    def _new_call_here(self, request: Request, arguments: Body) -> Call:
        here = self._here
        try:
            registration = self._admit(request.name, None, None, request)
        except LabcError as error:
            raise self._execution.refused(error).to_exception() from None
        context = CallContext(request.name, here.host, here.name, here.id, request.timeout, here)
        return Call(registration, context, request, _copied(arguments.buffers))

    @contextmanager
    def _connected_here(self, call: Call, outgoing: Sequence[Outgoing]) -> Iterator[None]:
        """The streams among its arguments, to who sends them in this very node."""
        pairs: list[tuple[Sender, Receiver]] = []
        for each in outgoing:
            each.check()
        for number, each in enumerate(outgoing, 1):
            receiver = self._new_receiver(call, number)
            sender = each.send(self._here, self._handler_threads.start, WayHere(receiver))
            receiver.begin(self._soon(sender.granted))
            pairs.append((sender, receiver))
            call.incoming = (*call.incoming, Incoming(receiver, self._is_on_loop))
        try:
            yield
        finally:
            for sender, receiver in pairs:
                sender.close()
                receiver.ended(ClosedError("the call that this stream belongs to is over"))

    async def _call_here(self, call: Call) -> Body:
        name, context = call.context.name, call.context
        task = self._loop.create_task(self._execution.answer(call), name=f"labc call {name}")
        self._begin(task, _Running(context, task))
        task.add_done_callback(self._end)
        try:
            answer = await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():  # not the caller, but the call: by close()
                raise ClosedError(f"the node {self._here.name!r} was closed while {name!r} ran") from None
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
            self._execution.count("refused")
            raise
        context = CallContext(name, sender.host, sender.node, sender.node_id, None, sender.caller, sender.who)
        request = Request(name, None, msgspec.Raw(arguments.head))
        call = Call(registration, context, request, _copied(arguments.buffers))
        task = self._loop.create_task(self._execution.answer(call), name=f"labc message to {name}")
        self._begin(task, _Running(context, task))
        task.add_done_callback(self._end)

    # Within.

    def _soon(self, granted: Callable[[int, int], None]) -> Callable[[int, int], object]:
        """Not at once: who gives credit may be at work with what it is for."""
        return lambda items, size: self._loop.call_soon(granted, items, size)

    def _new_receiver(self, call: Call, channel: int) -> Receiver:
        where = f"the stream {channel} of {call.context.name}()"
        return Receiver(self._loop, where, self._settings.stream_items, self._settings.stream_bytes)

    def _is_on_loop(self) -> bool:
        return threading.get_ident() == self._loop_thread

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
        if running.values is not None:
            running.values.close()
        self._execution.count("cancelled")
        if running.task is not None:
            running.task.cancel()
        if running.job is not None:
            self._execution.threads.abandon(running.job)

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
            lane.fail(call_id, self._execution.failure(error))

    async def _serve(self, lane: Lane, call_id: int, call: Call) -> None:
        if call.values is not None:
            await self._execution.give(call)
        else:
            self.answered(lane, call_id, call.context, await self._execution.answer(call))

    def serve_in_thread(self, lane: Lane, call_id: int, call: Call) -> None:
        """The same for a plain function or generator, in a thread."""
        execution = self._execution
        if call.values is not None:
            execution.new_context().run(execution.give_in_thread, call)
        else:
            answer = execution.new_context().run(execution.answer_in_thread, call)
            self.answered(lane, call_id, call.context, answer)

    def _connect(self, lane: Lane, call_id: int, call: Call) -> None:
        """Its streams to the lane."""
        request = call.request
        for channel in range(1, request.streams + 1):
            receiver = self._new_receiver(call, channel)
            call.incoming = (*call.incoming, Incoming(receiver, self._is_on_loop))
            lane.streams.add_inlet(call_id, channel, receiver)
            receiver.begin(partial(lane.give_credit, call_id, channel))
        if request.want_stream:
            way = lane.outlet(call_id, 0, partial(self._end, (lane, call_id)))
            call.values = Sender(self._loop, way, latest=request.latest)
            lane.streams.add_outlet(call_id, 0, call.values)

    def sees(self, caller: NodeRecord | None, registration: Registration[..., Any]) -> bool:
        """Whether the function exists for this caller; None: this node itself."""
        if caller is None:
            return True
        return registration.scope != "node" and reaches(registration.scope, self._here, caller)

    def _admit(
        self, name: str, caller: NodeRecord | None, who: Who | None, request: Request | None = None
    ) -> Registration[..., Any]:
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
        _check_streams(registration, request)
        return registration


class _InThread:
    """A call from a lane that a thread serves, from its arguments to its answer."""

    __slots__ = ("_call", "_call_id", "_lane", "_provider", "abandoned")

    def __init__(self, provider: Provider, lane: Lane, call_id: int, call: Call) -> None:
        self.abandoned = False
        self._provider = provider
        self._lane = lane
        self._call_id = call_id
        self._call = call

    def run(self) -> None:
        self._provider.serve_in_thread(self._lane, self._call_id, self._call)


def _check_streams(registration: Registration[..., Any], request: Request | None) -> None:
    """Whether it can be called in this way; None: by who waits for no answer. Raises ArgumentsError."""
    name = registration.name
    wants_stream = request is not None and request.want_stream
    if registration.yields and not wants_stream:
        raise ArgumentsError(name, f"it yields its values one by one: read them with stream({name!r}, ...)")
    if registration.run == "process" and (wants_stream or (request is not None and request.streams)):
        raise ArgumentsError(name, "it runs in a process of its own, which has no streams")
    if request is not None and request.streams > _MAX_STREAMS:
        raise ArgumentsError(name, f"{request.streams} outgoing streams; at most {_MAX_STREAMS} are possible")


def _copied(buffers: tuple[Any, ...]) -> tuple[Any, ...]:
    """Caller and function shall not share memory, no more than they would over a lane."""
    return tuple(memoryview(bytes(buffer)) for buffer in buffers)
