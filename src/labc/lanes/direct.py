"""Lanes for callers that block: one thread at a time talks on its own socket, with no event loop between.

What is said is the same conversation. The node that accepted such a lane makes no calls on it, as nobody reads while
no call is open.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from labc.directory import NodeRecord
from labc.errors import HandshakeError, LabcError, PeerLostError, ProtocolError
from labc.lanes.addresses import tcp_endpoint, unix_path
from labc.lanes.awake import Awake, give_way
from labc.lanes.cut import is_cut, send_again_steadily
from labc.lanes.lane import Answer, DeadlineError
from labc.lanes.tls import is_same_user
from labc.settings import Settings
from labc.wire import (
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
_CANCEL_WITHIN = 0.1
_CUT_AFTER = 0.5
_FRESH = 0.01
"""Seconds after its last call for which a Unix socket is not asked whether it is open."""
_NO_REQUEST = 1 << 62


class DirectLane:
    """One connection, in use by one call at a time.

    ``is_present(node_id)`` tells whether the network vouches for the peer; ``on_quiet(node_id)`` is told again and
    again while it lets a question for a sign of life unanswered.
    """

    def __init__(
        self,
        greeting: Greeting,
        settings: Settings,
        node: NodeRecord,
        is_present: Callable[[str], bool],
        on_quiet: Callable[[str], None],
    ) -> None:
        self.node = node
        self.used = 0.0
        """When the last call ended (monotonic)."""
        self._settings = settings
        self._is_present = is_present
        self._on_quiet = on_quiet
        self._conversation = Conversation(greeting, initiator=True, max_message_bytes=settings.max_message_bytes)
        self._socket: socket.socket | None = None
        self._is_unix = False
        self._poll = select.poll()
        self._events: deque[Event] = deque()
        self._out: deque[memoryview] = deque()
        """Taken from the conversation, and not yet written."""
        self._greeted = False
        self._unsent = _NO_REQUEST
        """Bytes until all of the request is written: before, it can't have run."""
        self._unwritable = ""
        """Why nothing can be written any more. An answer may be on its way all the same."""
        self._broken = ""
        """Why nothing can be read or written any more. It counts when all that has arrived is settled: the answer may
        be in it."""
        self._end: LabcError | None = None
        self._beat: Heartbeat | None = None
        self._tick = 0.0
        self._awake = Awake(settings.stay_awake)
        self._last_took = 0.0
        """Seconds until the last answer."""

    @property
    def usable(self) -> bool:
        return self._end is None and not self._unwritable

    def connect(self, address: str, timeout: float, *, same_user: bool = False) -> None:
        """Connect, and greet. ``same_user``: only a program of this user.

        Raises:
            OSError: nobody answers there, or another user's program.
            LabcError: somebody does, and there can be no lane.
        """
        deadline = time.monotonic() + timeout
        try:
            self.attach(_connected(address, timeout))
            if same_user and self._socket is not None and not is_same_user(self._socket, os.getuid):
                raise OSError(errno.EACCES, "it is a program of another user")
            while not self._greeted:
                self._exchange(deadline - timeout, deadline)
                self._settled(0)
        except BaseException as error:
            if self._socket is not None:
                self._socket.close()
            if isinstance(error, DeadlineError):
                raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)) from None
            raise

    def attach(self, connection: socket.socket) -> None:
        """Talk on this socket, which blocks."""
        self._socket = connection
        self._is_unix = connection.family == socket.AF_UNIX
        self._poll.register(connection, select.POLLIN | select.POLLOUT)

    def still_open(self) -> bool:
        """Whether the peer has not closed it while it was idle. A Unix socket that was used a moment ago is not asked:
        sending fails at once if it was closed."""
        try:
            self._settled(0)  # what came right behind the last answer
            if self._is_unix and time.monotonic() - self.used < _FRESH:
                return self.usable
            with suppress(BlockingIOError):
                while self._ready(select.POLLIN, 0.0):
                    self._receive(socket.MSG_DONTWAIT)
                    self._settled(0)
            self._write()  # answers to pings
            self._settled(0)
        except LabcError:
            return False
        return self.usable

    def call(self, name: str, arguments: Body, deadline: float) -> Answer:
        """Call a function, and wait for its answer until ``deadline`` (monotonic).

        Raises:
            PeerLostError: the peer is gone; ``ran`` tells whether it may have begun.
            DeadlineError: no answer came in time; the peer was told that none is wanted any more.
            CarryError: the arguments are larger than the peer takes.
            LabcError: as the peer says.
        """
        if self._end is not None:
            raise PeerLostError(str(self.node), str(self._end), ran="no")
        started = time.monotonic()
        call_id = self._conversation.request(name, arguments, timeout=max(0.0, deadline - started))
        self._beat = None
        self._unsent = self._conversation.pending_bytes
        if self._out:
            self._unsent += sum(map(len, self._out))
        try:
            while (outcome := self._settled(call_id)) is None:
                self._exchange(started, deadline)
            self._last_took = time.monotonic() - started
        except DeadlineError:
            self._take_back(call_id)
            raise
        except LabcError:
            raise
        except BaseException:  # a signal handler's, as of Ctrl-C: bytes may be lost. The peer cancels the call.
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
            with suppress(LabcError):
                self._write()
        if self._socket is not None:
            self._socket.close()
        self._conversation.release()

    def abandon(self, null: int) -> None:
        """After fork, in the child."""
        if self._socket is not None and self._socket.fileno() >= 0:
            os.dup2(null, self._socket.fileno(), inheritable=False)

    def interrupt(self) -> None:
        """From another thread: the call that is open shall end, as if the peer were gone."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    # Within.

    def _settled(self, call_id: int) -> Replied | Failed | None:
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
                case GoodbyeReceived(reason=reason, last_id=last_id):
                    if call_id > last_id:
                        self._unsent = _NO_REQUEST
                    self._lose(reason)
                case Refused(sentence=sentence):
                    self._end = HandshakeError(f"no lane with {self.node}: {sentence}")
                case Broken(error=error):
                    self._end = ProtocolError(f"the lane with {self.node} is closed: {error}")
        if self._broken:
            self._lose(self._broken)
        if self._end is not None:
            raise self._end
        return None

    def _lose(self, reason: str) -> None:
        if self._end is None:
            self._end = PeerLostError(
                str(self.node), reason, ran="maybe" if self._unsent <= 0 and self._greeted else "no"
            )

    def _take_back(self, call_id: int) -> None:
        """Nobody waits for this call any more. In the middle of a frame there is no going on."""
        self._conversation.cancel(call_id)
        until = time.monotonic() + _CANCEL_WITHIN
        with suppress(LabcError):
            while not (self._write() or self._broken) and (left := until - time.monotonic()) > 0:
                self._ready(select.POLLOUT, left)
        if self._out:
            self._lose("it took too long to take a message")
        elif is_cut(self._socket, _CUT_AFTER, sent_again=2):  # the next call shall not wait for it as well
            self._lose("what was sent did not arrive at its host")

    def _exchange(self, started: float, deadline: float) -> None:
        """Write what is pending, and wait until something has arrived, or more can be written, or for a moment."""
        wait = min(self._settings.heartbeat_interval / 2, deadline - time.monotonic())
        if wait <= 0:
            raise DeadlineError
        try:
            if not self._write():
                if not (ready := self._ready(select.POLLIN | select.POLLOUT, wait)):
                    self._look_after_peer(started)
                elif ready & ~select.POLLOUT:
                    self._receive(socket.MSG_DONTWAIT)
                return
            if not self._spotted(wait):
                self._wake_after(max(wait, 0.001))
                self._receive()
        except BlockingIOError:
            self._look_after_peer(started)

    def _write(self) -> bool:
        """Write as much of what is pending as can be, now. False: there is more, which may be written later."""
        assert self._socket is not None
        while not self._unwritable:
            if not self._out:
                if self._conversation.pending_bytes:
                    self._out.extend(map(memoryview, self._conversation.take(_WRITE_BYTES)))
                if not self._out:
                    return True
            data = self._out[0]
            try:
                count = self._socket.send(data, socket.MSG_DONTWAIT)
            except (BlockingIOError, InterruptedError):
                return False
            except OSError as error:
                check_it_is_the_sockets(error)
                self._unwritable = f"the connection broke ({error})"
                self._out.clear()
                return True
            self._unsent -= count
            if count == len(data):
                self._out.popleft()
            else:
                self._out[0] = data[count:]
        return True

    def _receive(self, flags: int = 0) -> None:
        """Raises BlockingIOError: nothing came."""
        assert self._socket is not None
        try:
            count = self._socket.recv_into(self._conversation.get_buffer(), 0, flags)
        except (BlockingIOError, InterruptedError):
            raise BlockingIOError from None
        except OSError as error:
            check_it_is_the_sockets(error)
            self._broken = f"the connection broke ({error})"
            return
        if not count:
            self._broken = self._unwritable or "the connection was closed"
            return
        if self._beat is not None:
            self._beat.heard(time.monotonic())
        self._events += self._conversation.buffer_updated(count)

    def _spotted(self, wait: float) -> bool:
        """Whether something has arrived within a moment, if that can be expected."""
        if not self._awake.begin(self._last_took):
            return False
        until = time.perf_counter() + min(self._awake.moment, wait)
        try:
            while time.perf_counter() < until:
                try:
                    self._receive(socket.MSG_DONTWAIT)
                    return True
                except BlockingIOError:
                    give_way()
            return False
        finally:
            self._awake.end()

    def _look_after_peer(self, started: float) -> None:
        if self._beat is None:
            self._beat = Heartbeat(self._settings.heartbeat_interval, self._settings.heartbeat_timeout, started)
        action = self._beat.next(time.monotonic())
        if action.ping:
            self._conversation.ping()
        if action.quiet:
            self._on_quiet(self.node.id)
        if action.lost and (is_cut(self._socket, 0.0) or not self._is_present(self.node.id)):
            self._lose(f"no sign of life for {self._settings.heartbeat_timeout:g} s")

    def _ready(self, wanted: int, seconds: float) -> int:
        """What the socket is ready for, of POLLIN and POLLOUT and with errors, now or within so long."""
        assert self._socket is not None
        self._poll.modify(self._socket, wanted)
        found = self._poll.poll(max(0.0, seconds) * 1000)
        return found[0][1] if found else 0

    def _wake_after(self, seconds: float) -> None:
        """Let ``recv`` end by itself: one system call for a wait with a timeout, where a poll before it makes two."""
        assert self._socket is not None
        if seconds != self._tick:
            self._tick = seconds
            whole = int(seconds)
            limit = struct.pack("@ll", whole, int((seconds - whole) * 1e6))
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)


def check_it_is_the_sockets(error: OSError) -> None:
    """Raises it if it is not: the TimeoutError of a signal handler is an OSError, too."""
    if error.errno is None:
        raise error


def _connected(address: str, timeout: float) -> socket.socket:
    """Raises OSError, with a number."""
    target: Any
    if (path := unix_path(address)) is not None:
        family, target = socket.AF_UNIX, path
    elif (endpoint := tcp_endpoint(address)) is not None:
        family, target = socket.AF_INET6 if ":" in endpoint[0] else socket.AF_INET, endpoint
    else:
        raise OSError(errno.EAFNOSUPPORT, f"{address}: not an address this version knows")
    connection = socket.socket(family)
    try:
        connection.setblocking(False)
        error = connection.connect_ex(target)
        if error == errno.EINPROGRESS:
            poll = select.poll()
            poll.register(connection, select.POLLOUT)
            came = poll.poll(timeout * 1000)
            error = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) if came else errno.ETIMEDOUT
        if error:
            raise OSError(error, os.strerror(error))
        connection.setblocking(True)
        if family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            send_again_steadily(connection)
    except BaseException:
        connection.close()
        raise
    return connection
