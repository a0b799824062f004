"""``outgoing``: values that a caller sends one by one while the function runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Generator, Iterable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from labc.directory import NodeRecord
from labc.functions.carrying import Encode, carried
from labc.functions.sending import Sender, Way
from labc.functions.threads import Job
from labc.wire import Failure, StreamSource, encode


class Outgoing(StreamSource):
    """What ``labc.outgoing`` returns: an argument for one call.

    A plain iterable is read in a thread, an asynchronous one on the event loop on which this was made, or else on the
    node's; not before the function is there to take what it gives.
    """

    def __init__(
        self, values: Iterable[Any] | AsyncIterable[Any], verb: str = "outgoing", encode: Encode = encode
    ) -> None:
        if not (hasattr(values, "__iter__") or hasattr(values, "__aiter__")):
            raise TypeError(f"{verb}() takes something to iterate over, not {values!r}")
        self._values: Any = values
        self._where = f"a value of {verb}()"
        self._encode = encode
        self._here: NodeRecord
        self._is_awaited = hasattr(values, "__aiter__")
        self._own_loop: asyncio.AbstractEventLoop | None = None
        with suppress(RuntimeError):  # there is none
            self._own_loop = asyncio.get_running_loop()
        self._sender: Sender | None = None
        self._sending: Future[None] | None = None
        """An asynchronous one."""
        self.begun = False
        """Whether any value was asked for: then no other provider can get them all."""
        self.error: BaseException | None = None
        """What reading them raised."""

    def avoid(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Read nothing on this loop: it turns not while the call is waited for."""
        if self._own_loop is loop:
            self._own_loop = None

    def check(self) -> None:
        """Raises ValueError: the values have been sent already, or are being sent by another call."""
        if self.begun or (self._sender is not None and not self._sender.closed):
            raise ValueError("what outgoing() returned is for one call: its values have been sent already")

    def send(self, here: NodeRecord, start: Callable[[Job], object], way: Way) -> Sender:
        """To one provider, when it gives credit. On the node's loop, and after :meth:`check`. ``start`` has a thread do
        something."""
        loop = asyncio.get_running_loop()
        self._here = here
        self._sender = sender = Sender(
            loop, way, on_first_credit=lambda: self._begin(loop, start, sender), on_close=self._stop
        )
        return sender

    def __repr__(self) -> str:
        return f"<labc outgoing {self._values!r}>"

    def _begin(self, loop: asyncio.AbstractEventLoop, start: Callable[[Job], object], sender: Sender) -> None:
        self.begun = True
        if self._is_awaited:
            own_loop = loop if self._own_loop is None or self._own_loop.is_closed() else self._own_loop
            self._sending = asyncio.run_coroutine_threadsafe(self._send_awaited(loop, sender), own_loop)
        else:
            start(_Reading(self, sender))

    def _stop(self) -> None:
        """Nobody wants any more of it."""
        if self._sending is not None:
            self._sending.cancel()

    def send_in_thread(self, sender: Sender) -> None:
        values: Any = None
        try:
            values = iter(self._values)
            for value in values:
                if not sender.put(carried(value, self._where, self._encode)):
                    break
        except BaseException as error:  # whatever the user's code raises is the caller's to get
            self._failed(sender, error)
        finally:
            if isinstance(values, Generator):  # anything else is not this one's to close
                with suppress(BaseException):
                    values.close()
        sender.end()

    async def _send_awaited(self, loop: asyncio.AbstractEventLoop, sender: Sender) -> None:
        values: Any = None
        try:
            values = aiter(self._values)
            async for value in values:
                body = carried(value, self._where, self._encode)
                if asyncio.get_running_loop() is loop:
                    wanted = await sender.put_here(body)
                else:
                    wanted = sender.put_if_room(body) or await asyncio.wrap_future(
                        asyncio.run_coroutine_threadsafe(sender.put_here(body), loop)
                    )
                if not wanted:
                    break
        except BaseException as error:
            if not (sender.closed and isinstance(error, asyncio.CancelledError)):
                self._failed(sender, error)
        finally:
            if isinstance(values, AsyncGenerator):
                with suppress(BaseException):
                    await values.aclose()
        sender.end()

    def _failed(self, sender: Sender, error: BaseException) -> None:
        self.error = error
        here = self._here
        sender.end(Failure.from_exception(error, host=here.host, node=here.name, ran="yes"))


class _Reading:
    """A plain iterable that a thread reads."""

    def __init__(self, outgoing: Outgoing, sender: Sender) -> None:
        self.abandoned = False
        self._outgoing = outgoing
        self._sender = sender

    def run(self) -> None:
        self._outgoing.send_in_thread(self._sender)


def outgoing(values: Iterable[Any] | AsyncIterable[Any], /) -> Outgoing:
    """Send values one by one with a call: ``labc.call("store", labc.outgoing(read_chunks()))``.

    It stands for them among the arguments, as itself or within others, of ``call`` or ``stream``. The function gets
    something to iterate over, with ``for`` in a ``def`` and ``async for`` in an ``async def``, and is given the values
    as fast as it reads them: the iterable is held back, so that on either side no more wait than ``stream_items`` and
    ``stream_bytes`` of the settings allow. When the call is over, also by a time-out, a generator is closed.

    What the iterable raises is raised by the call, when the function has ended: this gets it as a RemoteError.

    Args:
        values: an iterable, or an asynchronous one. It is read in a thread; an asynchronous one on the running loop,
            or on the node's, if a blocking call holds that one up.

    Raises:
        TypeError: it is nothing to iterate over.
    """
    return Outgoing(values)
