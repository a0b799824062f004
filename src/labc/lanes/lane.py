"""One lane: the shell that gives the pure conversation a transport, a clock and people who wait for answers.

It lives on its loop, but for :meth:`Lane.reply` and :meth:`Lane.fail`, which are for any thread. So every use of the
conversation is under the lock.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

import msgspec

from labc.directory import NodeRecord, Who
from labc.errors import HandshakeError, LabcError, OverloadedError, PeerLostError, ProtocolError
from labc.lanes.addresses import LOOPBACKS
from labc.lanes.cut import is_cut
from labc.lanes.deadlines import Deadlines
from labc.lanes.streams import Streams, StreamWay
from labc.lanes.tls import host_of, seat_of
from labc.lanes.writer import Writer
from labc.settings import Settings
from labc.wire import (
    MAX_ID,
    ONE_WAY,
    Body,
    Broken,
    Cancelled,
    Conversation,
    Credited,
    Ended,
    Event,
    Failed,
    Failure,
    GoodbyeReceived,
    Greeted,
    Greeting,
    Heartbeat,
    Item,
    Ponged,
    Refused,
    Replied,
    Requested,
)

logger = logging.getLogger("labc.lanes")


class DeadlineError(TimeoutError):
    """The deadline of a call has come. A TimeoutError may be anybody's: a function's, a signal handler's."""


class LaneOwner(Protocol):
    """What a lane tells of itself, on the loop."""

    def greeted(self, lane: Lane) -> None:
        """The peer is known; calls can go both ways."""

    def requested(self, lane: Lane, event: Requested) -> None: ...

    def cancelled(self, lane: Lane, call_id: int) -> None: ...

    def closed(self, lane: Lane) -> None: ...

    def quiet(self, lane: Lane) -> None:
        """The peer lets a question for a sign of life unanswered. Told again while it does."""

    def heard(self, lane: Lane) -> None:
        """It was quiet, and is not any more."""

    def is_away(self, lane: Lane) -> bool:
        """Whether the peer is known to be of another site, as far as it is known at all."""

    def silent(self, lane: Lane) -> bool:
        """It was quiet for longer than it may be. True if it is known to be there all the same (busy, not dead)."""


class Answer(msgspec.Struct, frozen=True, gc=False):
    """The value of a reply, still encoded."""

    head: Any
    buffers: tuple[Any, ...]


class Lane(asyncio.BufferedProtocol):
    """A connection to one other node, in use by any number of calls in both directions."""

    def __init__(self, mine: Greeting, owner: LaneOwner, settings: Settings, *, initiator: bool) -> None:
        self._conversation = Conversation(mine, initiator=initiator, max_message_bytes=settings.max_message_bytes)
        self._owner = owner
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._lock = threading.RLock()
        self._transport: asyncio.Transport | None = None
        self._writer = Writer(self._conversation, self._lock, settings.max_pending_bytes)
        self._greeted: asyncio.Future[Greeting] = self._loop.create_future()
        self._calls: dict[int, asyncio.Future[Answer]] = {}
        self._deadlines = Deadlines(self._loop, self._late)
        self.streams = Streams()
        """Of the calls in both directions."""
        self._pings: dict[int, asyncio.Future[None]] = {}
        self._serving: set[int] = set()
        self._last_taken = 0
        """The highest id of the peer's requests that were begun."""
        self._heartbeat = Heartbeat(settings.heartbeat_interval, settings.heartbeat_timeout, self._loop.time())
        """Watches the peer while a call is open in either direction; otherwise nothing depends on it."""
        self._beat_timer: asyncio.TimerHandle | None = None
        self._quiet = False
        """Whether the owner was told so last."""
        self._remote = "an unknown peer"
        self._end: LabcError | None = None
        self.peer: Greeting | None = None
        self.within_host = False
        """Whether its other end is known to be on this host, whatever the peer says of itself."""
        self.away = False
        """Whether the peer was of another site when the lane was opened, by its own word or the way it came."""
        self._caller: NodeRecord | None = None
        self.who = Who()
        """Who is at its other end, by what can't be made up."""
        self.asked = float("-inf")
        """When its owner was told of a request last (``time.perf_counter()``)."""
        self.closed = asyncio.Event()

    # For its users.

    @property
    def usable(self) -> bool:
        return self.peer is not None and self._end is None

    @property
    def one_way(self) -> bool:
        """Whether only the peer makes calls on it, and reads only meanwhile."""
        return self.peer is not None and ONE_WAY in self.peer.features

    @property
    def open_calls(self) -> int:
        """Calls from here that are not answered yet."""
        return len(self._calls)

    @property
    def idle(self) -> bool:
        """Whether nobody waits for anything on it, in either direction."""
        return not (self._calls or self._serving or self._pings)

    @property
    def kind(self) -> str:
        """ "unix", "tcp", "tls" or "relay"."""
        if self._transport is None:
            return ""
        if self._transport.get_extra_info("relay"):
            return "relay"
        name = self._transport.get_extra_info("sockname")
        if not isinstance(name, tuple):
            return "unix"
        return "tcp" if self._transport.get_extra_info("sslcontext") is None else "tls"

    @property
    def transport(self) -> asyncio.Transport | None:
        """None: it is not connected yet."""
        return self._transport

    @property
    def is_cut(self) -> bool:
        """Whether it leads nowhere any more: what was sent for a while did not arrive at the host over there."""
        return is_cut(self._writer.socket, self._settings.heartbeat_timeout)

    @property
    def caller(self) -> NodeRecord:
        """The peer, as far as it can be believed: what it says of its host counts if it reached this one within it."""
        away = self.away and self._owner.is_away(self)
        if self._caller is None or self._caller.away != away:
            assert self.peer is not None
            peer, here = self.peer, self.within_host
            place = (peer.node_id, peer.host_id) if here else ("", "")
            self._caller = NodeRecord(*place, peer.host_name, peer.node_name, peer.group if here else "", away)
        return self._caller

    def __str__(self) -> str:
        return f"{self.peer.node_name} on {self.peer.host_name}" if self.peer else self._remote

    async def greeting(self) -> Greeting:
        """The peer's greeting. Raises HandshakeError or PeerLostError if there will be none."""
        return await asyncio.shield(self._greeted)

    @property
    def has_room(self) -> bool:
        """Whether :meth:`room` would not wait."""
        return self._writer.room.is_set()

    async def room(self, timeout: float) -> None:
        """Wait until less than ``max_pending_bytes`` wait to be sent.

        Raises:
            OverloadedError: not within ``timeout`` seconds.
        """
        if self._writer.room.is_set():
            return
        try:
            async with asyncio.timeout(timeout):
                await self._writer.room.wait()
        except TimeoutError:
            raise OverloadedError(
                f"{self._conversation.pending_bytes} bytes wait to be sent to {self}, and it takes none"
            ) from None

    def request(
        self,
        name: str,
        arguments: Body,
        deadline: float,
        *,
        streams: int = 0,
        want_stream: bool = False,
        latest: bool = False,
    ) -> tuple[int, asyncio.Future[Answer]]:
        """Send a request; its id, and what becomes of it. :meth:`cancel` it when nobody waits any more.

        At the deadline (the loop's time; ``math.inf``: there is none) it has a DeadlineError, and is cancelled.

        ``streams``: of how many the items follow, on channels 1, 2…; with ``want_stream`` the answer is one, on channel
        0, and the future has an empty answer at its end. :attr:`streams` has to know who takes and gives the items.

        Raises:
            PeerLostError: the lane is closed.
            CarryError: the arguments are larger than the peer takes.
        """
        if self._end is not None:
            raise self._lost("no")
        timeout = None if deadline == math.inf else max(0.0, deadline - time.monotonic())  # the loop's time may lag
        with self._lock:
            call_id = self._conversation.request(
                name, arguments, timeout=timeout, streams=streams, want_stream=want_stream, latest=latest
            )
        future: asyncio.Future[Answer] = self._loop.create_future()
        self._calls[call_id] = future
        if timeout is not None:
            self._deadlines.add(call_id, deadline)
        self._sent()
        return call_id, future

    def cancel(self, call_id: int) -> None:
        """The caller does not want the answer any more. Harmless when it has come."""
        if self._answered_call(call_id) is not None and self._end is None:
            with self._lock:
                self._conversation.cancel(call_id)
            self._sent()

    def reply(self, call_id: int, body: Body) -> None:
        """Answer a call of the peer. From any thread.

        Raises:
            CarryError: it is larger than the peer takes; :meth:`fail` the call.
        """
        self._no_longer_served(call_id)
        with self._lock:
            if self._end is None:
                self._conversation.reply(call_id, body)
                self._writer.now(is_last=not self._serving)

    def fail(self, call_id: int, failure: Failure) -> None:
        """The same with a failure. From any thread."""
        self._no_longer_served(call_id)
        with self._lock:
            if self._end is None:
                self._conversation.fail(call_id, failure)
                self._writer.now(is_last=not self._serving)

    def send_items(self, call_id: int, channel: int, items: Body) -> None:
        """Of a stream, for which there is credit. On the loop. Raises CarryError: they are more than the peer takes."""
        if self._end is None:
            with self._lock:
                self._conversation.item(call_id, channel, items)
            self._sent()

    def end_stream(self, call_id: int, channel: int, failure: Failure | None = None) -> None:
        """That was all of it, or this is why there is no more. On the loop. On channel 0 it answers the call."""
        if channel == 0:
            self._no_longer_served(call_id)
        if self._end is None:
            with self._lock:
                self._conversation.end(call_id, channel, failure)
            self._sent()

    def outlet(self, call_id: int, channel: int, on_finish: Callable[[], object] = lambda: None) -> StreamWay:
        """Where the items of a stream go. ``on_finish`` is told when all are sent."""
        return StreamWay(self, call_id, channel, on_finish)

    @property
    def max_message_bytes(self) -> int:
        """Of the peer."""
        return self.peer.max_message_bytes if self.peer is not None else self._settings.max_message_bytes

    @property
    def has_room_for_streams(self) -> bool:
        return self._end is not None or self._writer.has_room_for_streams

    async def room_for_streams(self) -> None:
        """Returns when there may be some, or the lane is closed."""
        if self._end is None:
            await self._writer.room_for_streams()

    def give_credit(self, call_id: int, channel: int, items: int, size: int) -> None:
        """Let the peer send so much more of a stream. On the loop."""
        if self._end is None:
            with self._lock:
                self._conversation.credit(call_id, channel, items, size)
            self._sent()

    async def ping(self) -> float:
        """Seconds until the peer answered, whatever else it does. Raises PeerLostError."""
        if self._end is not None:
            raise self._lost("no")
        started = time.perf_counter()  # the loop's may count milliseconds
        with self._lock:
            ping_id = self._conversation.ping()
        answered = self._pings[ping_id] = self._loop.create_future()
        self._sent()
        try:
            await answered
        finally:
            self._pings.pop(ping_id, None)
        return time.perf_counter() - started

    def close(self, reason: str = "") -> None:
        """Say goodbye and close, without waiting."""
        if self._end is not None:
            return
        with self._lock:
            self._conversation.goodbye(reason or "the node is leaving", self._last_taken)
        self._writer.flush()
        self._finish(PeerLostError(str(self), reason or "the lane was closed here"))

    def abandon(self, null: int) -> None:
        """After fork, in the child."""
        self._writer.abandon(null)

    # asyncio.BufferedProtocol

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self.within_host = _is_within_host(transport)
        self.who = _who(transport, self.within_host)
        self._remote = str(transport.get_extra_info("peername") or "a node of this host")
        self._writer.begin(transport)
        if self._end is not None:  # given up before it began
            self._close_transport(transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._conversation.get_buffer()

    def buffer_updated(self, nbytes: int) -> None:
        if self._beat_timer is not None:
            self._heartbeat.heard(self._loop.time())
        if self._quiet:
            self._quiet = False
            self._owner.heard(self)
        with self._lock:
            events = self._conversation.buffer_updated(nbytes)
        for event in events:
            if self._end is not None:
                return
            self._take(event)
        if self._conversation.pending_bytes:  # answers to pings
            self._writer.soon()

    def eof_received(self) -> bool:
        self._ended()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended("" if exc is None else f"the connection broke ({exc})")
        with self._lock:
            self._conversation.release()
            self._writer.end()

    def pause_writing(self) -> None:
        self._writer.pause()

    def resume_writing(self) -> None:
        self._writer.resume()

    # Within.

    def _ended(self, reason: str = "") -> None:
        """Nothing more arrives."""
        if self._end is not None:
            return
        with self._lock:
            events = self._conversation.eof()
        for event in events:
            if isinstance(event, Broken):
                if self._conversation.was_cut:
                    logger.warning("the lane with %s is closed: %s", self, event.error)
                reason = reason or str(event.error)
        self._finish(PeerLostError(str(self), reason or "the connection was closed"))

    def _take(self, event: Event) -> None:
        match event:
            case Replied(id=call_id, head=head, buffers=buffers):
                if (future := self._answered_call(call_id)) and not future.done():
                    future.set_result(Answer(head, tuple(buffers)))
            case Requested():
                self._serving.add(event.id)
                self._last_taken = max(self._last_taken, event.id)
                self._schedule_beat()
                self._owner.requested(self, event)
            case Failed(id=call_id, failure=failure):
                if (future := self._answered_call(call_id)) and not future.done():
                    future.set_exception(failure.to_exception())
            case Item(id=call_id, channel=channel, head=head, buffers=buffers):
                try:
                    self.streams.arrived(call_id, channel, head, buffers)
                except ProtocolError as error:
                    self._break(error)
            case Credited(id=call_id, channel=channel, items=items, bytes=size):
                self.streams.granted(call_id, channel, items, size)
            case Ended(id=call_id, channel=channel, failure=failure):
                if channel:
                    self.streams.ended(call_id, channel, failure)
                elif (future := self._answered_call(call_id)) and not future.done():
                    if failure is None:
                        future.set_result(_NOTHING)
                    else:
                        future.set_exception(failure.to_exception())
            case Cancelled(id=call_id):
                self._no_longer_served(call_id)
                self._owner.cancelled(self, call_id)
            case Ponged(id=ping_id):
                if (asked := self._pings.get(ping_id)) and not asked.done():
                    asked.set_result(None)
            case Greeted(greeting=greeting):
                self.peer = greeting
                self._greeted.set_result(greeting)
                self._owner.greeted(self)
            case Refused(sentence=sentence):
                logger.warning("no lane with %s: %s", self, sentence)
                self._writer.flush()
                self._finish(HandshakeError(f"no lane with {self}: {sentence}"))
            case GoodbyeReceived(reason=reason, last_id=last_id):
                self._finish(PeerLostError(str(self), reason), last_id)
            case Broken(error=error):
                self._break(error)

    def _break(self, error: LabcError) -> None:
        logger.warning("the lane with %s is closed: %s", self, error)
        if not self._conversation.is_over:
            with self._lock:
                self._conversation.goodbye(str(error), self._last_taken)
        self._writer.flush()
        self._finish(ProtocolError(f"the lane with {self} is closed: {error}"))

    def _no_longer_served(self, call_id: int) -> None:
        """From any thread."""
        self._serving.discard(call_id)
        if call_id in self.streams:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self.streams.over, call_id)

    def _answered_call(self, call_id: int) -> asyncio.Future[Answer] | None:
        """Nothing more is to come of this call from here."""
        self._deadlines.remove(call_id)
        self.streams.over(call_id)
        return self._calls.pop(call_id, None)

    def _late(self, call_id: int) -> None:
        future = self._calls.get(call_id)
        self.cancel(call_id)
        if future is not None and not future.done():
            future.set_exception(DeadlineError())

    def _sent(self) -> None:
        """Something is to be sent, and perhaps an answer to be waited for."""
        self._writer.soon()
        if self._beat_timer is None:
            self._schedule_beat()

    def _schedule_beat(self) -> None:
        """Watch the peer while a call is open in either direction."""
        if self._beat_timer is None and self._end is None:
            now = self._loop.time()
            self._heartbeat = Heartbeat(self._settings.heartbeat_interval, self._settings.heartbeat_timeout, now)
            self._beat_timer = self._loop.call_at(self._heartbeat.next(now).at, self._beat)

    def _beat(self) -> None:
        self._beat_timer = None
        if self._end is not None or (self.idle and not self._heartbeat.waiting):
            return  # who asked, and waits for nothing else, still wants to know: the next call may not wait long enough
        self._deadlines.look_through()
        action = self._heartbeat.next(self._loop.time())
        if action.ping:
            with self._lock:
                self._conversation.ping()
            self._writer.flush()
        if action.quiet:
            self._quiet = True
            self._owner.quiet(self)
        look_again = action.at
        if action.lost:
            if not self._owner.silent(self):
                seconds = self._settings.heartbeat_timeout
                self._finish(PeerLostError(str(self), f"no sign of life for {seconds:g} s"))
                return
            look_again = self._loop.time() + self._settings.heartbeat_interval / 2
        self._beat_timer = self._loop.call_at(look_again, self._beat)

    def _lost(self, ran: Any) -> LabcError:
        reason = self._end.reason if isinstance(self._end, PeerLostError) else str(self._end)
        return PeerLostError(str(self), reason, ran=ran)

    def _finish(self, error: LabcError, last_id: int = MAX_ID) -> None:
        """``last_id``: calls from here with a higher one have not reached the peer."""
        if self._end is not None:
            return
        self._end = error
        if self._beat_timer:
            self._beat_timer.cancel()
        if not self._greeted.done():
            self._greeted.set_exception(error)
            self._greeted.exception()  # not "never retrieved", when nobody asks
        ran = "maybe" if self.peer is not None else "no"
        calls, self._calls = self._calls, {}
        self._deadlines.clear()
        for call_id, call in calls.items():
            if not call.done():
                call.set_exception(self._lost(ran if call_id <= last_id else "no"))
        for ping in self._pings.values():
            if not ping.done():
                ping.set_exception(self._lost("no"))
        self._writer.room.set()
        self.streams.all_over()
        self.closed.set()
        self._owner.closed(self)
        if self._transport is not None:
            self._close_transport(self._transport)

    def _close_transport(self, transport: asyncio.Transport) -> None:
        """What is written goes out, unless the peer takes it no more."""
        transport.close()
        self._loop.call_later(0.2, transport.abort)


_NOTHING = Answer(b"", ())


def _who(transport: asyncio.Transport, within_host: bool) -> Who:
    end = transport.get_extra_info("peername")
    address = str(end[0]) if isinstance(end, tuple) and not within_host else ""
    return Who(within_host, address, host_of(transport), seat_of(transport))


def _is_within_host(transport: asyncio.Transport) -> bool:
    if transport.get_extra_info("relay"):
        return False
    ends = [transport.get_extra_info(key) for key in ("sockname", "peername")]
    if isinstance(ends[0], str | bytes):  # a Unix socket
        return True
    return all(isinstance(end, tuple) and end[0] in LOOPBACKS for end in ends)
