"""Lanes for callers that block: one thread at a time talks on its own socket, with no event loop between.

What is said is the same conversation. The node that accepted such a lane makes no calls on it, as nobody reads while
no call is open.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from labc.directory import NodeRecord
from labc.errors import HandshakeError, LabcError, PeerLostError, ProtocolError
from labc.lanes.addresses import tcp_endpoint, unix_path
from labc.lanes.lane import Answer
from labc.settings import Settings
from labc.wire import (
    ONE_WAY,
    Body,
    Broken,
    Conversation,
    Event,
    Failed,
    GoodbyeReceived,
    Greeted,
    Greeting,
    Heartbeat,
    Refused,
    Replied,
)

POSSIBLE = hasattr(socket, "MSG_DONTWAIT")
"""Windows has neither this nor a socket whose receiving ends by itself in one system call."""

_WRITE_BYTES = 1 << 18
_MAX_PER_NODE = 16
"""Calls beyond share the lane of the event loop."""
_CANCEL_WITHIN = 0.1
_IDLE = 10.0
"""Seconds after which a lane that nobody uses is closed."""


class DirectLane:
    """One connection, in use by one call at a time. ``is_present()`` tells whether the network vouches for the peer."""

    def __init__(
        self,
        connection: socket.socket,
        greeting: Greeting,
        settings: Settings,
        node: NodeRecord,
        is_present: Callable[[], bool],
    ) -> None:
        self.node = node
        self.used = 0.0
        """When the last call ended (monotonic)."""
        self._socket = connection
        self._settings = settings
        self._is_present = is_present
        self._conversation = Conversation(greeting, initiator=True, max_message_bytes=settings.max_message_bytes)
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)
        self._events: deque[Event] = deque()
        self._greeted = False
        self._end: LabcError | None = None
        self._beat: Heartbeat | None = None
        self._tick = 0.0

    @property
    def usable(self) -> bool:
        return self._end is None

    def still_open(self) -> bool:
        """Whether the peer has not closed it while it was idle."""
        if not self._poll.poll(0):
            return self._end is None
        try:
            with suppress(BlockingIOError):
                self._receive(socket.MSG_DONTWAIT)
            self._settled()
        except LabcError:
            return False
        return True

    def call(self, name: str, arguments: Body, deadline: float) -> Answer:
        """Call a function, and wait for its answer until ``deadline`` (monotonic).

        Raises:
            PeerLostError: the peer is gone; ``ran`` tells whether it may have begun.
            TimeoutError: no answer came in time; the peer was told that none is wanted any more.
            CarryError: the arguments are larger than the peer takes.
            LabcError: as the peer says.
        """
        if self._end is not None:
            raise PeerLostError(str(self.node), str(self._end), ran="no")
        started = time.monotonic()
        call_id = self._conversation.request(name, arguments, timeout=max(0.0, deadline - started))
        self._beat = None
        try:
            self._send(deadline)
            while (outcome := self._settled(call_id)) is None:
                self._wait_for_more(started, deadline)
        except TimeoutError:
            if self._end is None:
                self._conversation.cancel(call_id)
                with suppress(TimeoutError, LabcError):
                    self._send(time.monotonic() + _CANCEL_WITHIN)
            raise
        except Exception:
            raise
        except BaseException:  # Ctrl-C: bytes may have been lost between two lines here. The peer cancels the call.
            self._end = PeerLostError(str(self.node), "the call was interrupted")
            raise
        if isinstance(outcome, Replied):
            return Answer(outcome.head, tuple(outcome.buffers))
        raise outcome.failure.to_exception()

    def close(self, reason: str) -> None:
        """Say goodbye and close. Only while no call is open."""
        if self._end is None:
            self._end = PeerLostError(str(self.node), reason)
            self._conversation.goodbye(reason)
            with suppress(TimeoutError, LabcError):
                self._send(0.0)
        self._socket.close()
        self._conversation.release()

    def interrupt(self) -> None:
        """From another thread: the call that is open shall end, as if the peer were gone."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    # Within.

    def _settled(self, call_id: int = 0) -> Replied | Failed | None:
        """What became of the call, by what has arrived.

        Raises:
            PeerLostError, HandshakeError, ProtocolError: it arrives no more.
        """
        while self._events:
            match event := self._events.popleft():
                case Replied() | Failed() if event.id == call_id:
                    return event
                case Greeted():
                    self._greeted = True
                case GoodbyeReceived(reason=reason):
                    self._lose(PeerLostError(str(self.node), reason, ran=self._ran))
                case Refused(sentence=sentence):
                    self._lose(HandshakeError(f"no lane with {self.node}: {sentence}"))
                case Broken(error=error):
                    self._lose(ProtocolError(f"the lane with {self.node} is closed: {error}"))
        return None

    @property
    def _ran(self) -> Any:
        return "maybe" if self._greeted else "no"

    def _lose(self, error: LabcError) -> None:
        self._end = error
        raise error

    def _wait_for_more(self, started: float, deadline: float) -> None:
        """Returns when something has arrived, or it is time for a sign of life."""
        wait = min(self._settings.heartbeat_interval / 2, deadline - time.monotonic())
        if wait <= 0:
            raise TimeoutError
        self._wake_after(max(wait, 0.001))
        try:
            self._receive()
        except BlockingIOError:
            self._look_after_peer(started)

    def _wake_after(self, seconds: float) -> None:
        """Let ``recv`` end by itself: one system call for a wait with a timeout, where a poll before it makes two."""
        if seconds != self._tick:
            self._tick = seconds
            whole = int(seconds)
            limit = struct.pack("@ll", whole, int((seconds - whole) * 1e6))
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)

    def _receive(self, flags: int = 0) -> None:
        try:
            count = self._socket.recv_into(self._conversation.get_buffer(), 0, flags)
        except (BlockingIOError, InterruptedError):
            raise BlockingIOError from None
        except OSError as error:
            self._lose(PeerLostError(str(self.node), f"the connection broke ({error})", ran=self._ran))
        if not count:
            self._lose(PeerLostError(str(self.node), "the connection was closed", ran=self._ran))
        if self._beat is not None:
            self._beat.heard(time.monotonic())
        self._events += self._conversation.buffer_updated(count)
        if self._conversation.pending_bytes:  # answers to pings
            self._send(time.monotonic() + self._settings.heartbeat_timeout)

    def _look_after_peer(self, started: float) -> None:
        now = time.monotonic()
        if self._beat is None:
            self._beat = Heartbeat(self._settings.heartbeat_interval, self._settings.heartbeat_timeout, started)
        action = self._beat.next(now)
        if action.ping:
            self._conversation.ping()
            self._send(now + self._settings.heartbeat_timeout)
        if action.lost and not self._is_present():
            seconds = self._settings.heartbeat_timeout
            self._lose(PeerLostError(str(self.node), f"no sign of life for {seconds:g} s", ran=self._ran))

    def _send(self, deadline: float) -> None:
        """Write all that is pending."""
        while chunks := self._conversation.take(_WRITE_BYTES):
            for chunk in chunks:
                self._write(memoryview(chunk), deadline)

    def _write(self, data: memoryview, deadline: float) -> None:
        started = time.monotonic()
        while True:
            try:
                data = data[self._socket.send(data, socket.MSG_DONTWAIT) :]
            except (BlockingIOError, InterruptedError):
                pass
            except OSError as error:
                self._lose(PeerLostError(str(self.node), f"the connection broke ({error})", ran=self._ran))
            if not data:
                return
            self._wait_for_room(started, deadline)

    def _wait_for_room(self, started: float, deadline: float) -> None:
        """Until the peer takes more. Meanwhile read what it says, or both would wait."""
        wait = min(self._settings.heartbeat_interval / 2, deadline - time.monotonic())
        if wait <= 0:  # in the middle of a frame: there is no going on
            self._end = PeerLostError(str(self.node), "it took too long to take a message")
            raise TimeoutError
        poll = select.poll()
        poll.register(self._socket, select.POLLIN | select.POLLOUT)
        ready = poll.poll(wait * 1000)
        if not ready:
            self._look_after_peer(started)
        elif ready[0][1] & ~select.POLLOUT:
            with suppress(BlockingIOError):
                self._receive(socket.MSG_DONTWAIT)


class DirectLanes:
    """Those of one node, by peer; for any thread."""

    def __init__(
        self, settings: Settings, greeting: Callable[..., Greeting], is_present: Callable[[str], bool]
    ) -> None:
        self._settings = settings
        self._greeting = greeting
        self._is_present = is_present
        self._lock = threading.Lock()
        self._idle: dict[str, list[DirectLane]] = {}
        self._busy: dict[str, set[DirectLane]] = {}
        self._closed = False

    def busy(self, node_id: str) -> int:
        """Calls to this node that it has not answered yet."""
        return len(self._busy.get(node_id, ()))

    def take(self, node: NodeRecord, address: str) -> DirectLane | None:
        """A lane for one call, to be given back; None: there are too many, or none can be made.

        Raises:
            PeerLostError: the node is on this host, and is not there any more.
        """
        while True:
            with self._lock:
                busy = self._busy.setdefault(node.id, set())
                if self._closed or len(busy) >= _MAX_PER_NODE:
                    return None
                idle = self._idle.get(node.id)
                lane = idle.pop() if idle else None
                if lane is not None:
                    busy.add(lane)
            if lane is None:
                return self._connect(node, address)
            if lane.still_open():
                return lane
            self.give_back(lane)

    def give_back(self, lane: DirectLane) -> None:
        with self._lock:
            if (busy := self._busy.get(lane.node.id)) is not None:
                busy.discard(lane)
            keep = lane.usable and not self._closed
            if keep:
                lane.used = time.monotonic()
                self._idle.setdefault(lane.node.id, []).append(lane)
        if not keep:
            lane.close("the node is leaving")

    def close_idle(self, node_id: str | None = None, unused_for: float = _IDLE) -> None:
        """Close what was not used for so long; to one node, or to all."""
        limit = time.monotonic() - unused_for
        with self._lock:
            chosen = [node_id] if node_id is not None else list(self._idle)
            old = [lane for key in chosen for lane in self._idle.get(key, ()) if lane.used <= limit]
            for lane in old:
                self._idle[lane.node.id].remove(lane)
            for key in chosen:
                if not self._idle.get(key) and not self._busy.get(key):
                    self._idle.pop(key, None)
                    self._busy.pop(key, None)
        for lane in old:
            lane.close("it is not used any more")

    def close(self) -> None:
        """What is open ends with a PeerLostError in the thread that waits for it."""
        with self._lock:
            self._closed = True
            for lane in [lane for lanes in self._busy.values() for lane in lanes]:
                lane.interrupt()
        self.close_idle(unused_for=0.0)

    def forget(self) -> None:
        """After fork, in the child: they are the parent's."""
        self._lock = threading.Lock()
        self._closed = True

    def _connect(self, node: NodeRecord, address: str) -> DirectLane | None:
        try:
            connection = _connected(address, self._settings.connect_timeout)
        except ConnectionRefusedError as error:
            if unix_path(address) is None:
                return None
            raise PeerLostError(str(node), f"{address}: {error.strerror}", ran="no") from None
        except OSError:
            return None
        greeting = self._greeting(node.id, [ONE_WAY])
        lane = DirectLane(connection, greeting, self._settings, node, lambda: self._is_present(node.id))
        with self._lock:
            if not self._closed:
                self._busy.setdefault(node.id, set()).add(lane)
                return lane
        lane.close("the node is leaving")
        return None


def _connected(address: str, timeout: float) -> socket.socket:
    """Raises OSError."""
    if (path := unix_path(address)) is not None:
        connection, target = socket.socket(socket.AF_UNIX), path
    elif (endpoint := tcp_endpoint(address)) is not None:
        connection = socket.create_connection(endpoint, timeout)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(None)
        return connection
    else:
        raise OSError(f"{address}: not an address this version knows")
    try:
        connection.settimeout(timeout)
        connection.connect(target)
        connection.settimeout(None)
    except BaseException:
        connection.close()
        raise
    return connection
