"""A lane of one thread, against a peer whose every byte the test writes."""

from __future__ import annotations

import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from labc.directory import NodeRecord
from labc.errors import CarryError, HandshakeError, PeerLostError, ProtocolError, RemoteError
from labc.lanes import direct
from labc.lanes.direct import POSSIBLE, DirectLane
from labc.lanes.directs import DirectLanes
from labc.settings import Settings
from labc.wire import (
    ONE_WAY,
    Cancelled,
    Conversation,
    Event,
    Failure,
    GoodbyeReceived,
    Greeting,
    Ponged,
    Requested,
    decode,
    decode_arguments,
    encode,
    encode_arguments,
)

pytestmark = pytest.mark.skipif(not POSSIBLE, reason="calls have no way past the loop here")

QUICK = Settings(heartbeat_interval=0.1, heartbeat_timeout=0.4, fabric_lease=0.1)
SMALL = encode_arguments((1,), {})
LARGE = encode_arguments((b"x" * (8 << 20),), {})


def greeting(node: str, max_message_bytes: int = 1 << 30, **changes: Any) -> Greeting:
    fields: dict[str, Any] = {
        "network": "test",
        "node_id": node,
        "node_name": node,
        "host_id": "0",
        "host_name": "host",
        "labc_version": "0",
        "max_message_bytes": max_message_bytes,
    }
    return Greeting(**(fields | changes))


class Peer:
    """The other side, and the lane that talks to it."""

    def __init__(self, settings: Settings = QUICK, present: Callable[[], bool] = lambda: False, **hello: Any) -> None:
        mine, self.socket = socket.socketpair()
        self.socket.settimeout(5.0)
        mine.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
        node = NodeRecord("peer", "0", "host", "peer")
        self.told: list[str] = []
        self.lane = DirectLane(greeting("caller", features=[ONE_WAY]), settings, node, lambda _: present(), self._told)
        self.lane.attach(mine)
        self.talk = Conversation(greeting("peer", **hello), initiator=False, max_message_bytes=1 << 30)
        self._threads = ThreadPoolExecutor(1)

    def _told(self, node_id: str) -> None:
        self.told.append(node_id)

    def call(self, timeout: float = 5.0, arguments: Any = SMALL) -> Future[Any]:
        return self._threads.submit(self.lane.call, "f", arguments, time.monotonic() + timeout)

    def pending(self) -> bytes:
        return b"".join(b"".join(chunks) for chunks in iter(lambda: self.talk.take(1 << 20), []))

    def send(self) -> None:
        self.socket.sendall(self.pending())

    def events(self, kind: type[Event], piece: int = 1 << 20) -> Any:
        """Read until something of this kind happens."""
        while True:
            for event in self.talk.receive(self.socket.recv(piece)):
                if isinstance(event, kind):
                    return event

    def reply(self, id: int, value: Any) -> None:
        self.talk.reply(id, encode(value))

    def serve_one(self, value: Any) -> None:
        request = self.events(Requested)
        self.reply(request.id, value)
        self.send()

    def close(self) -> None:
        self.socket.close()
        self._threads.shutdown()
        self.lane.close("the test is over")


MakePeer = Callable[..., Peer]


@pytest.fixture
def peer_with() -> Iterator[MakePeer]:
    peers: list[Peer] = []

    def make(*args: Any, **options: Any) -> Peer:
        peers.append(Peer(*args, **options))
        return peers[-1]

    yield make
    for peer in peers:
        peer.close()


@pytest.fixture
def peer(peer_with: MakePeer) -> Peer:
    return peer_with()


def value_of(call: Future[Any], timeout: float = 5.0) -> Any:
    answer = call.result(timeout)
    return decode(answer.head, answer.buffers)


def lost(call: Future[Any], timeout: float = 5.0) -> PeerLostError:
    with pytest.raises(PeerLostError) as caught:
        call.result(timeout)
    return caught.value


def test_calls_one_after_the_other(peer: Peer) -> None:
    for number in range(20):
        call = peer.call()
        peer.serve_one([number, "x" * number])
        assert value_of(call) == [number, "x" * number]
        assert peer.lane.usable
        assert peer.lane.still_open()


def test_the_first_call_needs_no_greeting_and_says_who_calls(peer: Peer) -> None:
    peer.call()
    request = peer.events(Requested)
    assert request.request.name == "f"
    assert 4.5 < request.request.timeout <= 5.0
    assert peer.talk.peer is not None
    assert ONE_WAY in peer.talk.peer.features
    peer.reply(request.id, None)
    peer.send()


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_a_reply_in_pieces(peer: Peer, size: int) -> None:
    call = peer.call()
    request = peer.events(Requested)
    value = list(range(50)) if size < 4096 else b"y" * 1_000_000
    peer.reply(request.id, value)
    data = peer.pending()
    for start in range(0, len(data), size):
        assert not call.done()
        peer.socket.sendall(data[start : start + size])
    assert value_of(call) == value


def test_a_ping_is_answered_by_the_thread_that_waits(peer: Peer) -> None:
    call = peer.call()
    request = peer.events(Requested)
    for _ in range(3):
        ping = peer.talk.ping()
        peer.send()
        assert peer.events(Ponged).id == ping
    peer.reply(request.id, "done")
    peer.send()
    assert value_of(call) == "done"


def test_pings_while_nobody_called_are_answered_before_the_next_call(peer: Peer) -> None:
    call = peer.call()
    peer.serve_one(1)
    assert value_of(call) == 1
    ping = peer.talk.ping()
    peer.send()
    assert peer.lane.still_open()
    assert peer.events(Ponged).id == ping
    call = peer.call()
    peer.serve_one(2)
    assert value_of(call) == 2


def test_a_silent_peer_is_asked_and_then_given_up(peer: Peer) -> None:
    call = peer.call()
    peer.send()
    started = time.monotonic()
    error = lost(call)
    assert 0.35 < time.monotonic() - started < 1.0
    assert error.ran == "maybe"
    assert "no sign of life for 0.4 s" in error.reason
    assert not peer.lane.usable


def test_a_silent_peer_that_never_greeted_has_run_nothing(peer: Peer) -> None:
    assert lost(peer.call()).ran == "no"


def test_a_silent_peer_that_the_network_vouches_for_is_waited_for(peer_with: MakePeer) -> None:
    present = [True]
    peer = peer_with(present=lambda: present[0])
    call = peer.call()
    request = peer.events(Requested)
    peer.send()
    with pytest.raises(TimeoutError):
        call.result(1.2)  # three times the heartbeat_timeout
    present[0] = False
    lost(call)
    assert request is not None


def test_a_peer_is_told_of_while_it_is_quiet(peer_with: MakePeer) -> None:
    peer = peer_with(present=lambda: True)
    call = peer.call()
    request = peer.events(Requested)
    peer.send()
    with pytest.raises(TimeoutError):
        call.result(1.0)
    assert len(peer.told) > 3
    assert set(peer.told) == {"peer"}
    peer.reply(request.id, "late")
    peer.send()
    assert value_of(call) == "late"
    peer.told.clear()
    call = peer.call()
    peer.reply(peer.events(Requested).id, "soon")
    peer.send()
    assert value_of(call) == "soon"
    assert peer.told == []


def test_signs_of_life_keep_a_long_call(peer: Peer) -> None:
    call = peer.call()
    request = peer.events(Requested)
    peer.send()
    until = time.monotonic() + 1.2
    while time.monotonic() < until:  # answers the pings
        if select.select([peer.socket], [], [], 0.05)[0]:
            peer.talk.receive(peer.socket.recv(1 << 16))
            peer.send()
    assert not call.done()
    peer.reply(request.id, "late")
    peer.send()
    assert value_of(call) == "late"


def test_goodbye_in_the_middle_of_a_call(peer: Peer) -> None:
    call = peer.call()
    peer.events(Requested)
    peer.talk.goodbye("it is going home")
    peer.send()
    error = lost(call)
    assert (error.ran, error.reason) == ("maybe", "it is going home")
    assert not peer.lane.usable


def test_an_end_in_the_middle_of_a_call(peer: Peer) -> None:
    call = peer.call()
    peer.events(Requested)
    peer.send()
    peer.socket.close()
    error = lost(call)
    assert (error.ran, error.reason) == ("maybe", "the connection was closed")


def test_an_end_before_the_greeting(peer: Peer) -> None:
    peer.socket.close()
    assert lost(peer.call()).ran == "no"


@pytest.mark.parametrize("how", ["goodbye", "end", "reset", "garbage"])
def test_what_happens_while_it_is_idle_shows_before_the_next_call(peer: Peer, how: str) -> None:
    call = peer.call()
    peer.serve_one(1)
    assert value_of(call) == 1
    if how == "goodbye":
        peer.talk.goodbye("bye")
        peer.send()
    elif how == "garbage":
        peer.socket.sendall(b"\xff" * 100)
    elif how == "end":
        peer.socket.close()
    else:
        peer.lane._socket.send(b"unread")  # what was not read at its end makes the end a reset
        peer.socket.close()
    assert not peer.lane.still_open()
    assert not peer.lane.usable


@pytest.mark.parametrize("pause", [0.0, 60.0])
def test_goodbye_right_behind_a_reply(peer: Peer, pause: float) -> None:
    """The answer counts; and the lane is of no more use, how soon ever it is wanted again."""
    call = peer.call()
    request = peer.events(Requested)
    peer.reply(request.id, "last")
    peer.talk.goodbye("bye")
    peer.send()
    assert value_of(call) == "last"
    peer.lane.used = time.monotonic() - pause
    assert not peer.lane.still_open()
    assert lost(peer.call()).ran == "no"


@pytest.mark.parametrize("pause", [0.0, 0.05])  # the answer to the ping is refused meanwhile
def test_a_reply_counts_though_the_peer_takes_nothing_any_more(peer: Peer, pause: float) -> None:
    """It asked for a sign of life in the same breath, and closed."""
    call = peer.call()
    request = peer.events(Requested)
    peer.talk.ping()
    peer.reply(request.id, "last")
    data = peer.pending()
    peer.socket.shutdown(socket.SHUT_RD)
    peer.socket.sendall(data[:-1])
    time.sleep(pause)
    peer.socket.sendall(data[-1:])
    assert value_of(call) == "last"


@pytest.mark.parametrize("when", ["first", "later"])
def test_garbage(peer: Peer, when: str) -> None:
    call = peer.call()
    if when == "later":
        peer.serve_one(1)
        assert value_of(call) == 1
        call = peer.call()
    peer.events(Requested)
    peer.socket.sendall(b"GET / HTTP/1.1\r\nHost: somewhere\r\nAccept: everything\r\n\r\n")
    with pytest.raises(ProtocolError, match="the lane with peer on host is closed"):
        call.result(5)
    assert not peer.lane.usable


def test_a_refusal(peer_with: MakePeer) -> None:
    peer = peer_with(network="other")
    call = peer.call()
    peer.talk.receive(peer.socket.recv(1 << 16))
    peer.send()
    with pytest.raises(HandshakeError, match="is in the network 'other'"):
        call.result(5)
    assert not peer.lane.usable


def test_an_error(peer: Peer) -> None:
    call = peer.call()
    request = peer.events(Requested)
    peer.talk.fail(request.id, Failure.from_exception(ValueError("no"), host="host", node="peer"))
    peer.send()
    with pytest.raises(RemoteError, match="ValueError: no"):
        call.result(5)
    assert peer.lane.usable
    call = peer.call()
    peer.serve_one(2)
    assert value_of(call) == 2


def test_no_answer_in_time(peer: Peer) -> None:
    call = peer.call(timeout=0.3)
    started = time.monotonic()
    request = peer.events(Requested)
    peer.send()
    cancelled = peer.events(Cancelled)
    assert 0.25 < time.monotonic() - started < 0.6
    assert cancelled.id == request.id
    with pytest.raises(TimeoutError):
        call.result(1)
    assert peer.lane.usable
    peer.reply(request.id, "too late")  # is not sent: the call was cancelled
    call = peer.call()
    peer.serve_one("next")
    assert value_of(call) == "next"


def test_an_answer_that_crosses_the_cancellation_is_dropped(peer: Peer) -> None:
    call = peer.call(timeout=0.2)
    request = peer.events(Requested)
    peer.send()
    with pytest.raises(TimeoutError):
        call.result(1)
    peer.reply(request.id, "too late")  # the peer has not read the CANCEL
    peer.send()
    assert peer.lane.still_open()
    call = peer.call()
    peer.serve_one("next")
    assert value_of(call) == "next"


def test_a_timeout_of_nothing(peer: Peer) -> None:
    with pytest.raises(TimeoutError):
        peer.call(timeout=0.0).result(1)


def test_the_peer_never_reads_a_large_request(peer_with: MakePeer) -> None:
    peer = peer_with(present=lambda: True)
    peer.send()
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        peer.call(timeout=1.0, arguments=LARGE).result(5)
    assert 0.9 < time.monotonic() - started < 1.2
    assert not peer.lane.usable  # it ends in the middle of a frame


def test_a_deadline_before_the_heartbeat_timeout_holds_for_a_large_request(peer_with: MakePeer) -> None:
    peer = peer_with(Settings(), present=lambda: True)
    peer.send()
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        peer.call(timeout=0.5, arguments=LARGE).result(5)
    assert time.monotonic() - started < 0.8


def test_a_peer_that_never_reads_and_is_dead(peer: Peer) -> None:
    peer.send()
    started = time.monotonic()
    error = lost(peer.call(timeout=30, arguments=LARGE))
    assert time.monotonic() - started < 1.0
    assert error.reason.startswith("no sign of life")


@pytest.mark.parametrize("warm", [False, True], ids=["first call", "later call"])
def test_a_slow_reader_gets_a_large_request_whole(peer_with: MakePeer, warm: bool) -> None:
    """It takes longer than heartbeat_timeout, and is alive all the time: this is what the deadline is for."""
    peer = peer_with(present=lambda: True)
    if warm:
        call = peer.call()
        peer.serve_one(1)
        value_of(call)
    call = peer.call(timeout=20, arguments=LARGE)
    peer.send()
    time.sleep(1.0)  # it does something else: this is the case that is tested, and not waited for
    request = peer.events(Requested)
    args, _ = decode_arguments(request.request.arguments, request.buffers)
    assert bytes(args[0]) == b"x" * (8 << 20)
    peer.reply(request.id, "thanks")
    peer.send()
    assert value_of(call) == "thanks"


def test_a_reader_at_a_steady_slow_pace(peer_with: MakePeer) -> None:
    peer = peer_with(present=lambda: True)
    call = peer.call(timeout=20, arguments=LARGE)
    peer.send()
    request = None
    while request is None:
        time.sleep(0.01)  # the pace is the case
        for event in peer.talk.receive(peer.socket.recv(1 << 16)):
            if isinstance(event, Requested):
                request = event
    peer.reply(request.id, "thanks")
    peer.send()
    assert value_of(call) == "thanks"


def test_pings_while_a_large_request_is_on_its_way(peer_with: MakePeer) -> None:
    """Their answers go between its frames, and not into one."""
    peer = peer_with(present=lambda: True)
    call = peer.call()
    peer.serve_one(1)
    value_of(call)
    call = peer.call(timeout=20, arguments=LARGE)
    request = None
    pongs = pings = 0
    until = time.monotonic() + 10
    while request is None and time.monotonic() < until:
        if pings < 30:
            pings += 1
            peer.talk.ping()
            peer.send()
        for event in peer.talk.receive(peer.socket.recv(100_000)):
            assert not isinstance(event, GoodbyeReceived)
            pongs += isinstance(event, Ponged)
            if isinstance(event, Requested):
                request = event
        assert not peer.talk.is_over
    assert request is not None
    args, _ = decode_arguments(request.request.arguments, request.buffers)
    assert bytes(args[0]) == b"x" * (8 << 20)
    assert pongs
    peer.reply(request.id, "thanks")
    peer.send()
    assert value_of(call) == "thanks"


def test_a_request_and_a_reply_that_are_both_large(peer: Peer) -> None:
    call = peer.call(arguments=LARGE, timeout=20)
    peer.send()
    for _ in range(2):
        request = peer.events(Requested)
        peer.reply(request.id, b"y" * (16 << 20))
        peer.send()
        assert bytes(value_of(call)) == b"y" * (16 << 20)
        call = peer.call(arguments=LARGE, timeout=20)
    peer.serve_one(0)
    assert value_of(call) == 0


@pytest.mark.parametrize("warm", [False, True], ids=["first call", "later call"])
def test_arguments_that_are_too_large_for_the_peer(peer_with: MakePeer, warm: bool) -> None:
    peer = peer_with(max_message_bytes=100_000)
    if warm:
        call = peer.call()
        peer.serve_one(1)
        value_of(call)
    peer.send()
    with pytest.raises(CarryError, match="max_message_bytes=100000"):
        peer.call(arguments=LARGE).result(5)
    assert peer.lane.usable
    call = peer.call()
    peer.serve_one(2)
    assert value_of(call) == 2


class Full:
    """A socket that takes ``room`` bytes, and is then full."""

    def __init__(self, own: socket.socket, room: int) -> None:
        self._own = own
        self.room = room

    def send(self, data: memoryview, flags: int) -> int:
        if self.room <= 0:
            raise BlockingIOError
        count = self._own.send(data[: self.room], flags)
        self.room -= count
        return count

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)


def test_a_request_is_sent_whatever_waits_behind_it(peer_with: MakePeer) -> None:
    """A question for a sign of life is no part of it: the function may have run."""
    peer = peer_with(present=lambda: True)
    peer.send()
    full = Full(peer.lane._socket, room=200)
    peer.lane._socket = full
    ready = peer.lane._ready
    peer.lane._ready = lambda wanted, seconds: ready(wanted if full.room > 0 else wanted & ~select.POLLOUT, seconds)
    call = peer.call(arguments=encode_arguments(("x" * 1000,), {}))
    until = time.monotonic() + 5
    while not peer.lane._conversation.pending_bytes and time.monotonic() < until:
        time.sleep(0.01)
    assert peer.lane._conversation.pending_bytes, "no question for a sign of life"
    full.room = peer.lane._unsent
    peer.events(Requested)
    peer.socket.close()
    assert lost(call).ran == "maybe"


def direct_lanes() -> DirectLanes:
    def mine(target: str, features: Sequence[str]) -> Greeting:
        return greeting("caller", features=features)

    return DirectLanes(QUICK, mine, lambda node_id: True, lambda node_id: None)


def test_closed_while_it_connects(monkeypatch: pytest.MonkeyPatch) -> None:
    lanes = direct_lanes()
    mine, other = socket.socketpair()
    talk = Conversation(greeting("peer"), initiator=False, max_message_bytes=1 << 30)
    other.sendall(b"".join(talk.take(1 << 20)))

    def connected(address: str, timeout: float) -> socket.socket:
        lanes.close()  # as another thread may do
        return mine

    monkeypatch.setattr(direct, "_connected", connected)
    with other:
        assert lanes.take(NodeRecord("peer", "0", "host", "peer"), "unix/@x", time.monotonic() + 5) is None
        assert mine.fileno() == -1
        assert lanes.busy("peer") == 0


def test_closed_while_an_idle_one_is_looked_at() -> None:
    lanes = direct_lanes()

    class Idle:
        closed = False

        @property
        def used(self) -> float:
            lanes._closed = True  # another thread closes all, and does not see this one just now
            lanes.close_idle(unused_for=0.0)
            return time.monotonic()

        def close(self, reason: str) -> None:
            self.closed = True

    idle = Idle()
    lanes._idle["peer"] = deque([idle])  # type: ignore[list-item]
    lanes.close_idle()
    assert idle.closed


def test_too_late_to_connect() -> None:
    lanes = direct_lanes()
    assert lanes.take(NodeRecord("peer", "0", "host", "peer"), "unix/@x", time.monotonic() - 1) is None
    assert lanes.busy("peer") == 0


def test_interrupted_from_another_thread(peer: Peer) -> None:
    call = peer.call(timeout=60)
    peer.events(Requested)
    peer.send()
    peer.lane.interrupt()
    assert lost(call, 1.0).ran == "maybe"
    assert not peer.lane.usable


def test_closed_while_idle_it_says_goodbye(peer: Peer) -> None:
    call = peer.call()
    peer.serve_one(1)
    assert value_of(call) == 1
    peer.lane.close("enough")
    assert peer.events(GoodbyeReceived).reason == "enough"
    assert peer.socket.recv(1) == b""
    assert lost(peer.call()).ran == "no"
    peer.lane.close("twice")


class Watched:
    """A socket that notes how it is read."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.slept = 0

    def recv_into(self, buffer: Any, count: int, flags: int) -> int:
        self.slept += not flags & socket.MSG_DONTWAIT
        return self._connection.recv_into(buffer, count, flags)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def quick(last_took: float, stay_awake: float) -> tuple[Peer, Watched]:
    """A peer, and how the lane to it is read, at which nothing but an answer ends a wait."""
    peer = Peer(Settings(heartbeat_interval=20.0, heartbeat_timeout=40.0, stay_awake=stay_awake))
    peer.lane._socket = watched = Watched(peer.lane._socket)  # type: ignore[assignment,arg-type]
    peer.lane._last_took = last_took
    peer.send()
    return peer, watched


@pytest.mark.parametrize(("last_took", "stay_awake", "asleep"), [(0.0, 9.0, False), (9.0, 9.0, True), (0.0, 0.0, True)])
def test_a_quick_answer_is_waited_for_awake_and_a_slow_one_asleep(
    last_took: float, stay_awake: float, asleep: bool
) -> None:
    peer, watched = quick(last_took, stay_awake)
    call = peer.call()
    peer.serve_one(7)
    assert decode(call.result(5.0).head) == 7
    assert bool(watched.slept) == asleep
    peer.close()


def test_no_longer_than_a_moment() -> None:
    peer, watched = quick(0.0, 0.0002)
    call = peer.call()
    request = peer.events(Requested)
    deadline = time.monotonic() + 5.0
    while not watched.slept and time.monotonic() < deadline:
        time.sleep(0.001)
    peer.reply(request.id, 7)
    peer.send()
    assert decode(call.result(5.0).head) == 7
    assert watched.slept == 1
    peer.close()


def test_a_thread_that_loses_its_processor_while_it_looks_sleeps_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "give_way", lambda: time.sleep(0.004))
    peer, _ = quick(0.0, 0.0002)
    for _ in range(6):
        peer.lane._last_took = 0.0
        call = peer.call()
        request = peer.events(Requested)
        time.sleep(0.01)
        peer.reply(request.id, 7)
        peer.send()
        assert decode(call.result(5.0).head) == 7
    assert not peer.lane._awake.begin(0.0)
    peer.close()


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        mine = socket.create_connection(listener.getsockname())
        return mine, listener.accept()[0]


@pytest.mark.parametrize("family", ["unix", "tcp"])
def test_a_peer_that_died_a_moment_after_its_answer_has_not_run_the_next_call(family: str) -> None:
    """By looking before the call, or by the call itself."""
    peer = Peer()
    if family == "tcp":
        mine, theirs = tcp_pair()
        peer.lane._socket.close()  # type: ignore[union-attr]
        peer.socket.close()
        peer.socket = theirs
        peer.lane._poll = select.poll()
        peer.lane.attach(mine)
    peer.send()
    call = peer.call()
    peer.serve_one(1)
    call.result(5.0)
    peer.lane.used = time.monotonic() + 60.0  # just now, however slow this machine is
    peer.socket.close()
    if peer.lane.still_open():
        with pytest.raises(PeerLostError) as caught:
            peer.call().result(5.0)
        assert caught.value.ran == "no"
    else:
        assert family == "tcp"
    peer.close()
