"""The writing half of a lane, on a real loop and socket: what leaves when, and in which order."""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from labc.lanes.writer import Writer, _threads_may_write
from labc.wire import Conversation, Greeting, Requested, encode_arguments

GREETING = Greeting(
    network="test",
    node_id="a",
    node_name="a",
    host_id="0",
    host_name="host",
    labc_version="0",
    max_message_bytes=1 << 30,
)
MAX_PENDING = 1 << 20
LOOPS = [asyncio.new_event_loop]
try:
    import uvloop
except ImportError:  # not on Windows
    pass
else:
    LOOPS.append(uvloop.new_event_loop)


def may_write_past(make: Callable[[], asyncio.AbstractEventLoop]) -> bool:
    loop = make()
    loop.close()
    return _threads_may_write(loop)


pytestmark = pytest.mark.skipif(not hasattr(socket, "MSG_DONTWAIT"), reason="there is no way past the loop here")
past_the_loop = pytest.mark.parametrize("run", [make for make in LOOPS if may_write_past(make)], indirect=True)


class End:
    """The other end of the connection, and what has reached it."""

    def __init__(self) -> None:
        self.mine, self._socket = socket.socketpair()
        self.mine.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
        self._socket.setblocking(False)
        self._talk = Conversation(GREETING, initiator=False, max_message_bytes=1 << 30)
        self.ids: list[int] = []

    def look(self) -> list[int]:
        """The ids of the requests that have come by now."""
        try:
            while data := self._socket.recv(1 << 16):
                self.ids += [event.id for event in self._talk.receive(data) if isinstance(event, Requested)]
        except BlockingIOError:
            pass
        return self.ids

    def close(self) -> None:
        self._socket.close()


class Protocol(asyncio.Protocol):
    writer: Writer

    def pause_writing(self) -> None:
        self.writer.pause()

    def resume_writing(self) -> None:
        self.writer.resume()


@asynccontextmanager
async def written() -> AsyncIterator[tuple[Writer, Conversation, End]]:
    end, protocol = End(), Protocol()
    conversation = Conversation(GREETING, initiator=True, max_message_bytes=1 << 30)
    lock = threading.RLock()
    protocol.writer = writer = Writer(conversation, lock, MAX_PENDING)
    transport, _ = await asyncio.get_running_loop().create_connection(lambda: protocol, sock=end.mine)
    writer.begin(transport)
    await asyncio.sleep(0.01)  # the greeting leaves
    try:
        yield writer, conversation, end
    finally:
        transport.abort()
        with lock:
            writer.end()
        end.close()
        await asyncio.sleep(0)


def request(conversation: Conversation, size: int = 10) -> int:
    return conversation.request("f", encode_arguments((b"x" * size,), {}))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5.0):
        while not condition():  # noqa: ASYNC110 - the other end is no asyncio
            await asyncio.sleep(0.001)


@pytest.fixture(params=LOOPS, ids=lambda make: make.__module__)
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, None]], None]:
    def run(main: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(main)

    return run


def test_the_other_end_has_work_before_the_turn_ends(run) -> None:
    async def main() -> None:
        async with written() as (writer, conversation, end):
            arrived = []
            for _ in range(20):
                request(conversation)
                writer.soon()
                arrived.append(len(end.look()))
            assert arrived == [0] * 7 + [8] * 8 + [16] * 5
            await until(lambda: len(end.look()) == 20)
            assert end.ids == sorted(end.ids)

    run(main())


def test_one_message_leaves_with_what_follows_it_in_the_same_turn(run) -> None:
    async def main() -> None:
        async with written() as (writer, conversation, end):
            for _ in range(3):
                request(conversation)
                writer.soon()
            assert end.look() == []
            await until(lambda: len(end.look()) == 3)

    run(main())


def test_the_last_answer_of_a_turn_leaves_at_once(run) -> None:
    async def main() -> None:
        async with written() as (writer, conversation, end):
            first = request(conversation)
            writer.now(is_last=True)
            assert end.look() == [first]
            second = request(conversation)
            writer.now(is_last=False)
            third = request(conversation)
            writer.now(is_last=True)
            assert end.look() == [first], "what waits for the end of the turn goes first"
            await until(lambda: end.look() == [first, second, third])

    run(main())


@past_the_loop
def test_a_thread_writes_past_the_loop_while_this_is_busy(run) -> None:
    async def main() -> None:
        async with written() as (writer, conversation, end):

            def answer() -> None:
                with writer._lock:
                    request(conversation)
                    writer.now(is_last=False)

            thread = threading.Thread(target=answer)
            thread.start()
            thread.join()
            assert len(end.look()) == 1

    run(main())


class Failing:
    """A socket on which every second write fails."""

    def __init__(self, connection: socket.socket, error: OSError) -> None:
        self._connection = connection
        self._error = error
        self._count = 0

    def send(self, data: bytes) -> int:
        self._count += 1
        if self._count % 2:
            raise self._error
        return self._connection.send(data)

    def close(self) -> None:
        self._connection.close()


@pytest.mark.parametrize("error", [OSError(errno.ENOBUFS, "no buffers"), TimeoutError(), BlockingIOError()], ids=repr)
def test_nothing_is_lost_when_writing_past_the_loop_fails(run, error: OSError) -> None:
    async def main() -> None:
        async with written() as (writer, conversation, end):
            writer.socket = Failing(writer.socket, error)  # type: ignore[assignment,arg-type]
            sent = []
            for _ in range(5):
                for _ in range(20):
                    sent.append(request(conversation))
                    writer.soon()
                await asyncio.sleep(0)
            await until(lambda: end.look() == sent)

    run(main())


def test_a_default_timeout_of_sockets_does_not_hold_the_loop_up(run) -> None:
    async def main() -> None:
        async with written() as (writer, conversation, end):
            assert writer.socket is not None
            assert writer.socket.gettimeout() == 0
            sent = []
            for _ in range(300):
                sent.append(request(conversation, 3000))
                writer.soon()
            await until(lambda: end.look() == sent)

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(5.0)
    try:
        run(main())
    finally:
        socket.setdefaulttimeout(before)


def test_order_is_kept_when_the_socket_is_full(run) -> None:
    """Some of it is written past the loop, some by it, in pieces that end anywhere."""

    async def main() -> None:
        async with written() as (writer, conversation, end):
            sent = []
            for number in range(300):
                sent.append(request(conversation, 700 * (number % 5)))
                writer.soon()
                if number % 50 == 49:
                    await asyncio.sleep(0)
            assert len(end.look()) < 300
            await until(lambda: len(end.look()) == 300)
            assert end.ids == sent

    run(main())


def test_there_is_room_again_when_half_is_written(run) -> None:
    async def main() -> None:
        async with written() as (writer, conversation, end):
            sent = []
            while conversation.pending_bytes <= MAX_PENDING:
                assert writer.room.is_set()
                sent.append(request(conversation, 30_000))
                writer.soon()
            assert not writer.room.is_set()
            await asyncio.sleep(0.01)
            assert not writer.room.is_set(), "nobody reads"
            await until(lambda: len(end.look()) > 0 and writer.room.is_set())
            assert conversation.pending_bytes <= MAX_PENDING // 2
            await until(lambda: end.look() == sent)

    run(main())
