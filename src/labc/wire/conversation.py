"""Both halves of a lane and what is said on it: greetings, calls, streams, signs of life."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from msgspec import Raw

from labc.errors import CarryError, ClosedError, HandshakeError, LabcError, ProtocolError
from labc.wire.codec import Body
from labc.wire.events import (
    Broken,
    Cancelled,
    Credited,
    Ended,
    Event,
    Failed,
    GoodbyeReceived,
    Greeted,
    Item,
    Ponged,
    Refused,
    Replied,
    Requested,
)
from labc.wire.failures import Failure, bounded
from labc.wire.frames import CREDIT_PAYLOAD, MAX_CHANNEL, PREFACE, Data, Kind, Message
from labc.wire.greeting import Greeting, check
from labc.wire.ids import UsedIds
from labc.wire.messages import Request
from labc.wire.outbox import Outbox
from labc.wire.parser import Parser

MAX_UNSENT_PONGS: Final = 1000
"""Answers that may wait to be written. A side that asks more often without reading is broken."""

MAX_REASON_BYTES: Final = 4 << 10
_MAX_CREDIT_ITEMS: Final = (1 << 32) - 1
_MAX_CREDIT_BYTES: Final = (1 << 64) - 1

_REQUEST, _REPLY, _PING, _PONG = int(Kind.REQUEST), int(Kind.REPLY), int(Kind.PING), int(Kind.PONG)
_FAILURE, _ITEM, _END, _CREDIT = int(Kind.FAILURE), int(Kind.ITEM), int(Kind.END), int(Kind.CREDIT)
_HELLO, _GOODBYE, _CANCEL, _REFUSAL = int(Kind.HELLO), int(Kind.GOODBYE), int(Kind.CANCEL), int(Kind.REFUSAL)


class Conversation:
    """One side of a lane, without the socket: give it the bytes that arrive, act on its events, write what it gives.

    Not thread-safe: one caller at a time. The initiator may make requests at once, without waiting for `Greeted`.
    """

    def __init__(self, greeting: Greeting, *, initiator: bool, max_message_bytes: int) -> None:
        self.peer: Greeting | None = None
        """The other node's greeting, when it has arrived and the two may talk."""
        self.is_over = False
        """Whether nothing that arrives is processed any more."""
        self.was_cut = False
        """Whether the connection ended in the middle of a message."""
        self._greeting = greeting
        self._initiator = initiator
        self._parser = Parser(max_message_bytes)
        self._outbox = Outbox()
        self._left = False
        self._max_message_bytes = max_message_bytes
        self._next_id = 1 if initiator else 2
        self._next_ping = 1
        self._calls: set[int] = set()
        self._served: set[int] = set()
        self._peer_ids = UsedIds(2 if initiator else 1)
        self._unsent_pongs = 0
        self._handlers: dict[int, Callable[[Message], Event | None]] = {
            _HELLO: self._on_hello,
            _GOODBYE: self._on_goodbye,
            _REFUSAL: self._on_refusal,
        }
        self._outbox.put_raw(PREFACE)
        self._outbox.put(_HELLO, 0, 0, greeting.encode())

    # What arrives

    def get_buffer(self) -> memoryview:
        """A writable buffer for the next bytes, never empty; valid until the next `buffer_updated`."""
        return self._parser.get_buffer()

    def buffer_updated(self, count: int) -> list[Event]:
        """The first ``count`` bytes of the buffer were written: what happened. Never raises."""
        if self.is_over:
            return []
        return self._events(self._parser.buffer_updated(count))

    def receive(self, data: Data) -> list[Event]:
        """The same for bytes that somebody else had a buffer for."""
        if self.is_over:
            return []
        return self._events(self._parser.feed(data))

    def eof(self) -> list[Event]:
        """The other side closed the connection: nothing, if it had said goodbye, else `Broken`."""
        if self.is_over:
            return []
        if self.peer is None:
            problem = "the connection was closed before the other node had said hello"
        elif self._parser.close():
            problem = "the connection was closed without a goodbye"
        else:
            self.was_cut = True
            problem = "the connection was closed in the middle of a message"
        return [self._break(ProtocolError(problem))]

    # What is to be written

    @property
    def pending_bytes(self) -> int:
        """What waits to be written."""
        return self._outbox.pending_bytes

    def take(self, max_bytes: int) -> list[Data]:
        """What to write next, in order; about ``max_bytes``, at most one frame (256 KiB) more."""
        self._unsent_pongs = 0
        return self._outbox.take(max_bytes)

    # Calls

    def request(
        self,
        name: str,
        arguments: Body,
        *,
        timeout: float | None = None,
        streams: int = 0,
        want_stream: bool = False,
        latest: bool = False,
    ) -> int:
        """Call a function at the other node. Returns the id of the call.

        Raises:
            ClosedError: the conversation is over, or we have said goodbye.
            CarryError: the arguments are larger than a node takes.
        """
        if self.is_over or self._left:
            raise ClosedError("this lane is closed")
        head = Request(name, timeout, Raw(arguments.head), streams, want_stream, latest).encode()
        self._check_size("arguments", head, arguments.buffers)
        id = self._next_id
        self._next_id = id + 2
        self._calls.add(id)
        self._outbox.put(_REQUEST, id, 0, head, arguments.buffers)
        return id

    def cancel(self, id: int) -> bool:
        """The result of a call of ours is no longer wanted; nothing more is told about it. False: it was over."""
        if id not in self._calls:
            return False
        self._calls.remove(id)
        if _REQUEST not in self._outbox.discard(id) and not self._left:
            self._outbox.put(_CANCEL, id)
        return True

    def reply(self, id: int, body: Body) -> bool:
        """Answer a call of the other node. False: it doesn't want the answer any more.

        Raises:
            CarryError: the result is larger than the other node takes. The call is still open: `fail` it.
        """
        if id not in self._served or self._left:
            return False
        self._check_size("result", body.head, body.buffers)
        self._served.remove(id)
        self._outbox.put(_REPLY, id, 0, body.head, body.buffers)
        return True

    def fail(self, id: int, failure: Failure) -> bool:
        """Answer a call of the other node with a failure. False: it doesn't want the answer any more."""
        if id not in self._served or self._left:
            return False
        self._served.remove(id)
        self._outbox.put(_FAILURE, id, 0, failure.encode())
        return True

    # Streams

    def item(self, id: int, channel: int, body: Body) -> bool:
        """Send items of a stream (see `labc.wire.items`); the credit is the caller's business. False: nobody wants them
        any more.

        Raises:
            CarryError: the item is larger than the other node takes.
        """
        if not self._may_stream(id, channel):
            return False
        self._check_size("item", body.head, body.buffers)
        self._outbox.put(_ITEM, id, channel, body.head, body.buffers)
        return True

    def end(self, id: int, channel: int, failure: Failure | None = None) -> bool:
        """End a stream that we send, in good order or with a failure. On channel 0 this ends the call."""
        if not self._may_stream(id, channel):
            return False
        self._outbox.put(_END, id, channel, failure.encode() if failure else b"")
        if channel == 0:
            self._served.remove(id)
        return True

    def credit(self, id: int, channel: int, items: int, bytes: int) -> bool:
        """Let the other side send so many more items and bytes of a stream. False: the call is over."""
        if self._left or id not in (self._calls if channel == 0 else self._served):
            return False
        _check_channel(channel)
        payload = CREDIT_PAYLOAD.pack(min(items, _MAX_CREDIT_ITEMS), min(bytes, _MAX_CREDIT_BYTES))
        self._outbox.put(_CREDIT, id, channel, payload)
        return True

    # Life and leaving

    def ping(self) -> int:
        """Ask for a sign of life. Returns the id that the `Ponged` will have."""
        id = self._next_ping
        self._next_ping += 1
        if not self._left:
            self._outbox.put(_PING, id)
        return id

    def goodbye(self, reason: str, last_id: int | None = None) -> None:
        """Our last word. What fits one frame is still written before it; large messages are dropped.

        ``last_id``: the highest id of the other side's requests that may have run, if not of all that came.
        """
        self._leave(_GOODBYE, reason, last_id)

    def release(self) -> None:
        """The connection is gone: let go of all that was to be written, and of what was half read."""
        self._finish()
        self._handlers = {}
        self._outbox = Outbox()
        self._parser = Parser(self._max_message_bytes)

    # The rest is private

    def _leave(self, kind: int, reason: str, last_id: int | None = None) -> None:
        if not self._left:
            self._left = True
            self._outbox.close()
            last_id = max(0, self._peer_ids.highest) if last_id is None else last_id
            self._outbox.put(kind, last_id, 0, bounded(reason, MAX_REASON_BYTES).encode())

    def _may_stream(self, id: int, channel: int) -> bool:
        """Channel 0 is the provider's to send on, the others are the caller's."""
        _check_channel(channel)
        return not self._left and id in (self._served if channel == 0 else self._calls)

    def _check_size(self, where: str, head: bytes, buffers: tuple[memoryview, ...]) -> None:
        size = len(head) + (sum(buffer.nbytes for buffer in buffers) if buffers else 0)
        limit = self.peer.max_message_bytes if self.peer else self._max_message_bytes
        if size > limit:
            raise CarryError(where, f"{size} bytes are more than max_message_bytes={limit} of the node that gets it")

    def _events(self, messages: list[Message]) -> list[Event]:
        events: list[Event] = []
        try:
            for message in messages:
                handler = self._handlers.get(message.kind)
                if handler is None:
                    raise ProtocolError(f"a {Kind(message.kind).name} before the HELLO")
                event = handler(message)
                if event is not None:
                    events.append(event)
                    if self.is_over:
                        return events
                    if type(event) is Greeted:
                        events += self._fail_too_large()
            if self._parser.error is not None:
                raise self._parser.error
        except HandshakeError as error:
            events.append(self._refuse(str(error)))
        except ProtocolError as error:
            events.append(self._break(error))
        return events

    def _break(self, error: LabcError) -> Broken:
        self._leave(_GOODBYE, str(error))
        self._finish()
        return Broken(error)

    def _refuse(self, sentence: str) -> Refused:
        self._leave(_REFUSAL, sentence)
        self._finish()
        return Refused(sentence)

    def _finish(self) -> None:
        self.is_over = True
        self._calls.clear()
        self._served.clear()
        self._handlers = {}  # they refer to this object: without them it is freed at once, and its buffers with it
        self._parser.close()

    def _on_hello(self, message: Message) -> Event:
        greeting = Greeting.decode(message.head)
        sentence = check(self._greeting, greeting, self._initiator)
        if sentence is not None:
            return self._refuse(sentence)
        self.peer = greeting
        self._handlers = {
            _GOODBYE: self._on_goodbye,
            _REFUSAL: self._on_refusal,
            _REQUEST: self._on_request,
            _REPLY: self._on_reply,
            _FAILURE: self._on_failure,
            _CANCEL: self._on_cancel,
            _ITEM: self._on_item,
            _END: self._on_end,
            _CREDIT: self._on_credit,
            _PING: self._on_ping,
            _PONG: self._on_pong,
            _HELLO: self._on_second_hello,
        }
        return Greeted(greeting)

    def _fail_too_large(self) -> list[Event]:
        """Now that the other node's limit is known: let large requests go, and fail those that are too large."""
        assert self.peer is not None
        too_large = self._outbox.open(self.peer.max_message_bytes) & self._calls
        self._calls -= too_large
        limit = self.peer.max_message_bytes
        error = CarryError("arguments", f"more than max_message_bytes={limit} of the node that gets it")
        failure = Failure.from_exception(error, host=self._greeting.host_name, node=self._greeting.node_name, ran="no")
        return [Failed(id, failure) for id in sorted(too_large)]

    def _on_second_hello(self, message: Message) -> Event:
        raise ProtocolError("a second HELLO")

    def _on_goodbye(self, message: Message) -> Event:
        self._finish()
        return GoodbyeReceived(_reason(message), message.id)

    def _on_refusal(self, message: Message) -> Event:
        self._finish()
        return Refused(_reason(message))

    def _on_request(self, message: Message) -> Event | None:
        id = message.id
        if message.channel:
            raise ProtocolError(f"a REQUEST for id {id} on channel {message.channel}")
        if not self._peer_ids.use(id):
            raise ProtocolError(f"a REQUEST with id {id}, which was used before or is not the sender's to use")
        request = Request.decode(message.head)
        if self._left:
            return None  # nothing is begun after our goodbye
        self._served.add(id)
        return Requested(id, request, message.buffers)

    def _on_reply(self, message: Message) -> Event | None:
        if not self._ends_call(message):
            return None
        return Replied(message.id, message.head, message.buffers)

    def _on_failure(self, message: Message) -> Event | None:
        failure = Failure.decode(message.head)
        return Failed(message.id, failure) if self._ends_call(message) else None

    def _ends_call(self, message: Message) -> bool:
        """Whether this answer is wanted; the call is then over."""
        id = message.id
        if id in self._calls:
            self._calls.remove(id)
            if self._outbox.has_large:
                self._outbox.discard(id)
            return True
        if not self._was_ours(id):
            raise ProtocolError(f"a {Kind(message.kind).name} for id {id}, which was never called")
        return False

    def _on_cancel(self, message: Message) -> Event | None:
        id = message.id
        if not self._peer_ids.was_used(id):
            raise ProtocolError(f"a CANCEL for id {id}, which was never called")
        if self._outbox.has_large:
            self._outbox.discard(id)  # it may be the answer that is on its way
        if id not in self._served:
            return None
        self._served.remove(id)
        return Cancelled(id)

    def _on_item(self, message: Message) -> Event | None:
        if not self._is_open(message, self._calls if message.channel == 0 else self._served):
            return None
        return Item(message.id, message.channel, message.head, message.buffers)

    def _on_end(self, message: Message) -> Event | None:
        failure = Failure.decode(message.head) if message.head else None
        if not self._is_open(message, self._calls if message.channel == 0 else self._served):
            return None
        if message.channel == 0:
            self._ends_call(message)
        return Ended(message.id, message.channel, failure)

    def _on_credit(self, message: Message) -> Event | None:
        try:
            items, size = CREDIT_PAYLOAD.unpack(message.head)
        except struct.error:
            raise ProtocolError(f"a CREDIT for id {message.id} with {len(message.head)} bytes") from None
        if not self._is_open(message, self._served if message.channel == 0 else self._calls):
            return None
        return Credited(message.id, message.channel, items, size)

    def _is_open(self, message: Message, calls: set[int]) -> bool:
        """Whether the frame is about one of these calls. One that is over is let pass, one that never was is not."""
        id = message.id
        if id in calls:
            return True
        used = self._was_ours(id) if calls is self._calls else self._peer_ids.was_used(id)
        if not used:
            raise ProtocolError(
                f"a {Kind(message.kind).name} for id {id}, channel {message.channel}, of which there is no such stream"
            )
        return False

    def _was_ours(self, id: int) -> bool:
        return 0 < id < self._next_id and (id - self._next_id) % 2 == 0

    def _on_ping(self, message: Message) -> None:
        self._unsent_pongs += 1
        if self._unsent_pongs > MAX_UNSENT_PONGS:
            raise ProtocolError(f"more than {MAX_UNSENT_PONGS} PINGs, and no answer was read")
        if not self._left:
            self._outbox.put(_PONG, message.id)

    def _on_pong(self, message: Message) -> Event:
        return Ponged(message.id)


def _check_channel(channel: int) -> None:
    if not 0 <= channel <= MAX_CHANNEL:
        raise ValueError(f"channel {channel}: from 0 to {MAX_CHANNEL} are possible")


def _reason(message: Message) -> str:
    return bounded(bytes(message.head[: 2 * MAX_REASON_BYTES]).decode(errors="replace"), MAX_REASON_BYTES)
