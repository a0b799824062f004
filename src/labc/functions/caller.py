"""The asking side of calls: find providers, choose one, ask it, and go on to the next when it is lost."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import msgspec

from labc.directory import Addressing, NodeRecord, Who
from labc.errors import CallTimeoutError, ClosedError, LabcError, NotFoundError, PeerLostError, Ran, RemoteError
from labc.fabric import Fabric, Neighbourhood
from labc.functions.asked import Asked, Tries
from labc.functions.context import find_current_call
from labc.functions.finding import SETTLE_WAIT, Finder
from labc.functions.inbox import Inbox
from labc.functions.options import Options
from labc.functions.outcomes import Outcome, Outcomes
from labc.functions.outgoing import Outgoing
from labc.functions.provider import Provider
from labc.functions.receiving import Receiver
from labc.functions.schedule import Schedule
from labc.functions.spreading import Items, Spreading
from labc.lanes import Answer, DeadlineError, Lane, Pool
from labc.settings import Settings
from labc.wire import Body, decode, encode_arguments

_ROOM_WAIT = 10.0
"""How long a call waits for room on a lane that takes nothing any more, however long it may take itself."""

_LOOK_AGAIN = 0.05
"""Seconds between two questions to a node for what it does not list."""

_MESSAGE_WITHIN = 5.0
"""How long those whom `call_publish` does not ask may take to take the message."""


Feed = Callable[[Callable[[], object]], Awaitable[BaseException | None]]
"""Gives an inbox what is for it, and calls its argument when it has begun. Returns what shall be raised at the end."""


class Detour(Exception):
    """A call can't go the direct way, or was lost on it: :meth:`Caller.call` has to go on."""

    def __init__(self, tries: Tries) -> None:
        self.tries = tries


class Caller:
    """Calls functions by name, wherever they are."""

    def __init__(
        self,
        here: NodeRecord,
        settings: Settings,
        fabric: Fabric,
        neighbourhood: Neighbourhood,
        pool: Pool,
        provider: Provider,
        addressing: Addressing,
        learn_endpoints: Callable[[], Awaitable[None]],
    ) -> None:
        self._here = here
        self._settings = settings
        self._neighbourhood = neighbourhood
        self.finder = Finder(here, settings, fabric, neighbourhood, pool, provider, addressing, learn_endpoints)
        self._pool = pool
        self._provider = provider
        self._loop = asyncio.get_running_loop()
        self._streams: set[asyncio.Task[None]] = set()
        """That are read here, and what maps give."""

    def prepare(
        self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Options, *, streams: bool = False
    ) -> Asked:
        """A call, checked and encoded. From any thread. ``streams``: there may be some among the arguments.

        Raises:
            CarryError: an argument can't be carried.
        """
        timeout = self._settings.timeout if options.timeout is None else options.timeout
        context = find_current_call()
        if context is not None and context.remaining is not None:
            timeout = min(timeout, context.remaining)  # who called this function will not wait longer
        outgoing: list[Outgoing] | None = [] if streams else None
        arguments = encode_arguments(args, kwargs, outgoing)
        return Asked(name, arguments, options, timeout, time.monotonic() + timeout, outgoing or ())

    async def call(self, asked: Asked, tries: Tries | None = None) -> Any:
        """The answer of one provider. ``tries``: what :meth:`call_directly` has tried."""
        tries = tries or Tries(asked.options.retry)
        if not asked.streams:
            return (await self._call(asked, tries))[1]
        asked.check_streams()
        try:
            value = (await self._call(asked, tries))[1]
        except LabcError as error:
            if (raised := _outgoing_error(asked)) is not None:
                raise raised from error
            raise
        if (raised := _outgoing_error(asked)) is not None:
            raise raised
        return value

    def new_receiver(self, name: str, latest: bool) -> Receiver:
        """For :meth:`open_stream`; close it if that is given up. From any thread."""
        items, size = self._settings.stream_items, self._settings.stream_bytes
        return Receiver(self._loop, f"a value of {name}()", items, size, latest=latest)

    async def open_stream(self, asked: Asked, receiver: Receiver, latest: bool) -> None:
        """Ask one provider for the values of a generator; returns when it was asked.

        Raises:
            NotFoundError, and what else a call raises before anything runs. What is raised later, the stream has.
        """
        asked.check_streams()
        await self._open(receiver, partial(self._stream, asked, receiver, latest), f"labc stream {asked.name}")

    def prepare_map(self, name: str, options: Options, timeout: float) -> Asked:
        """What each item of a map is asked with. ``timeout``: seconds for each."""
        context = find_current_call()
        remaining = math.inf if context is None or context.remaining is None else context.remaining
        return Asked(name, Body(b""), options, timeout, time.monotonic() + remaining)

    def new_outcomes(self, ordered: bool) -> Outcomes:
        """For :meth:`open_map`; close it if that is given up."""
        return Outcomes(self._loop, ordered, self._settings.stream_items, self._settings.stream_bytes)

    async def open_map(self, asked: Asked, items: Items, schedule: Schedule, outcomes: Outcomes) -> None:
        """Give the items to all who offer the function; returns when there is one. ``asked`` is what each is asked
        with, but for its argument; its deadline is that of all together.

        Raises:
            NotFoundError, and what else a call raises before anything runs. What is raised later, the reader gets.
        """
        items.check()
        spreading = Spreading(
            self._here, self.finder, self._neighbourhood, self._answer, asked, items, schedule, outcomes
        )
        await self._open(outcomes, spreading.run, f"labc map {asked.name}")

    async def _open(self, inbox: Inbox[Any], feed: Feed, name: str) -> None:
        """Have the inbox fed until it is closed; returns when that has begun."""
        if inbox.over:
            raise ClosedError(f"this {inbox.what} was closed before it began")
        loop = self._loop
        begun: asyncio.Future[None] = loop.create_future()
        task = loop.create_task(_feed(inbox, feed, begun), name=name)
        inbox.on_close = task.cancel
        self._streams.add(task)
        task.add_done_callback(self._streams.discard)
        try:
            await begun
        except asyncio.CancelledError:
            task.cancel()
            raise

    async def close(self, within: float) -> None:
        """Who reads a stream, or what a map gives, comes to its end."""
        for task in self._streams:
            task.cancel()
        if self._streams:
            await asyncio.wait(self._streams, timeout=within)

    async def _stream(
        self, asked: Asked, receiver: Receiver, latest: bool, begun: Callable[[], object]
    ) -> BaseException | None:
        async def read(node: NodeRecord) -> None:
            try:
                await self._read(asked, node, receiver, latest, begun)
            except LabcError as error:
                if not receiver.begun:
                    raise
                receiver.ended(_outgoing_error(asked) or error)

        try:
            await self._call(asked, Tries(asked.options.retry), read)
        except Exception:
            if (raised := _outgoing_error(asked)) is None:
                raise
            return raised
        return _outgoing_error(asked)

    async def _read(
        self, asked: Asked, node: NodeRecord, receiver: Receiver, latest: bool, begun: Callable[[], object]
    ) -> None:
        """Have the values of one provider sent to the receiver; returns when there are no more."""
        if node.id == self._here.id:
            begun()
            return await self._provider.stream_here(asked.name, asked.arguments, receiver, latest, asked.streams)
        lane = self._pool.ready_lane(node) or await self._lane(asked, node)
        asked.check_streams()
        call_id, ended = lane.request(
            asked.name, asked.arguments, math.inf, streams=len(asked.streams), want_stream=True, latest=latest
        )
        lane.streams.add_inlet(call_id, 0, receiver)
        self._send_along(lane, call_id, asked)
        receiver.begin(partial(lane.give_credit, call_id, 0))
        begun()
        try:
            await ended
        except asyncio.CancelledError:
            lane.cancel(call_id)
            raise

    def _send_along(self, lane: Lane, call_id: int, asked: Asked) -> None:
        """The streams among the arguments."""
        for channel, outgoing in enumerate(asked.streams, 1):
            sender = outgoing.send(self._here, self._provider.threads.start, lane.outlet(call_id, channel))
            lane.streams.add_outlet(call_id, channel, sender)

    async def call_publish(self, asked: Asked, deliver: Callable[[NodeRecord], Awaitable[None]]) -> Any:
        """The answer of one provider, when all the others have been given the same with ``deliver``, which see to it
        that who answered after others had failed gets it once."""
        with self._neighbourhood.using(asked.name):
            await self.finder.watch(asked, min(time.monotonic() + self.finder.patience(asked.options), asked.deadline))
            tries = Tries(asked.options.retry)
            failed: RemoteError | None = None
            value: Any = None
            try:
                chosen, value = await self._call(asked, tries)
                tries.ran.add(chosen.id)
            except RemoteError as error:  # it ran, and this is the answer
                failed = error
            others = [c.node for c in self.finder.candidates(asked) if c.node.id not in tries.ran]

        async def give(node: NodeRecord) -> None:
            with suppress(LabcError, TimeoutError):
                async with asyncio.timeout(_MESSAGE_WITHIN):
                    await deliver(node)

        await asyncio.gather(*map(give, others))
        if failed is not None:
            raise failed
        return value

    async def _call(
        self, asked: Asked, tries: Tries, ask: Callable[[NodeRecord], Awaitable[Any]] | None = None
    ) -> tuple[NodeRecord, Any]:
        """Who answered, and what. ``ask`` raises what a call of this node does."""
        ask = ask or partial(self._ask, asked)
        await self.finder.learn_endpoints(asked.options)
        patience = time.monotonic() + min(self.finder.patience(asked.options), asked.remaining)
        while tries.left:
            try:
                node = await self.finder.next(asked, tries)
            except NotFoundError as error:
                raise tries.problem or tries.denied or error from None
            try:
                return node, await ask(node)
            except RemoteError:
                tries.ran.add(node.id)
                raise
            except NotFoundError as error:  # withdrawn a moment ago, or not listed and not there yet
                self._neighbourhood.deny(asked.name, node.id)
                if asked.options.names_one and time.monotonic() < patience:
                    await asyncio.sleep(_LOOK_AGAIN)
                    continue
                tries.over.add(node.id)
                tries.denied = error if asked.options.names_one else None
            except PeerLostError as error:
                if any(each.begun for each in asked.streams):
                    raise  # their first values are gone
                tries.lost(error)
                if error.ran != "no":
                    tries.ran.add(node.id)
                elif self.finder.knows(node):
                    # Otherwise it may come back, with a new root, while another provider is waited for.
                    tries.over.add(node.id)
                    if asked.options.find_timeout is None and not self.finder.candidates(asked, tries.over):
                        break
        assert tries.problem is not None
        raise tries.problem from None

    def call_directly(self, asked: Asked) -> Any:
        """The same in the calling thread, by a lane of its own.

        Raises:
            Detour: :meth:`call` has to do it.
        """
        tries = Tries(asked.options.retry)
        if asked.streams:
            raise Detour(tries)
        if (node := self.finder.near(asked)) is None or node is self._here or not asked.remaining:
            tries.first = node
            raise Detour(tries)
        lane = None
        try:
            if (lane := self._pool.direct_lane(node, asked.deadline)) is None:
                tries.first = node
                raise Detour(tries)
            try:
                answer = lane.call(asked.name, asked.arguments, asked.deadline)
            finally:
                self._pool.direct.give_back(lane)
        except PeerLostError as error:
            if error.ran != "no":
                tries.ran.add(node.id)
            if lane is None or not lane.usable:  # otherwise it is an answer: the process of a function died
                self._pool.direct_lane_lost(node.id)
            tries.lost(error)
            raise Detour(tries) from None
        except NotFoundError:
            raise Detour(tries) from None
        except DeadlineError:
            raise self._too_late(asked, node) from None
        return decode(answer.head, answer.buffers)

    async def call_all(
        self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Options
    ) -> list[Outcome]:
        await self.finder.learn_endpoints(options)
        asked = self.prepare(name, args, kwargs, options)
        patience = max(self.finder.patience(options), SETTLE_WAIT)
        with self._neighbourhood.using(name):
            await self.finder.watch(asked, min(time.monotonic() + patience, asked.deadline))
            await self.finder.find_one(asked, set())
            outcomes = await self._outcomes(asked)
            until = min(time.monotonic() + self.finder.patience(options), asked.deadline)
            while not outcomes and options.names_one and time.monotonic() < until:  # not listed, and not there yet
                await asyncio.sleep(_LOOK_AGAIN)
                outcomes = await self._outcomes(asked)
            if not outcomes:
                raise await self.finder.not_found(asked, None)
        return sorted(outcomes, key=lambda outcome: (outcome.host, outcome.node))

    async def call_node(
        self,
        node: NodeRecord,
        name: str,
        args: Sequence[Any],
        timeout: float | None = None,
        for_whom: Callable[[Who], None] | None = None,
    ) -> Any:
        """Call a function that this node is known to have, without looking for it. ``for_whom``: see `Asked`."""
        asked = self.prepare(name, args, {}, Options(timeout=timeout))
        return await self._ask(msgspec.structs.replace(asked, for_whom=for_whom), node)

    async def ping(self, node: NodeRecord, timeout: float) -> float:
        """Seconds for a question to the node's loop and back.

        Raises:
            PeerLostError, CallTimeoutError
        """
        if node.id == self._here.id:
            started = time.perf_counter()
            await asyncio.sleep(0)
            return time.perf_counter() - started
        try:
            async with asyncio.timeout(timeout):
                lane = await self._pool.lane(node)
                return await lane.ping()
        except TimeoutError:
            raise CallTimeoutError("ping", timeout, where=str(node), ran="no") from None

    # Asking.

    async def _outcomes(self, asked: Asked) -> list[Outcome]:
        """Of those that have it."""
        nodes = [candidate.node for candidate in self.finder.candidates(asked)]
        outcomes = await asyncio.gather(*(self._outcome(asked, node) for node in nodes))
        return [outcome for outcome in outcomes if outcome is not None]

    async def _outcome(self, asked: Asked, node: NodeRecord) -> Outcome | None:
        try:
            return Outcome(node.name, node.host, value=await self._ask(asked, node))
        except NotFoundError:  # withdrawn a moment ago
            self._neighbourhood.deny(asked.name, node.id)
            return None
        except LabcError as error:
            return Outcome(node.name, node.host, error=error)

    async def _ask(self, asked: Asked, node: NodeRecord) -> Any:
        answer = await self._answer(asked, node)
        return decode(answer.head, answer.buffers)

    async def _answer(self, asked: Asked, node: NodeRecord) -> Answer | Body:
        """Still encoded."""
        if node.id == self._here.id:
            return await self._call_here(asked)
        return await self._call_there(asked, node)

    async def _call_here(self, asked: Asked) -> Body:
        try:
            async with asyncio.timeout_at(asked.deadline):
                timeout = None if asked.deadline == math.inf else asked.remaining
                return await self._provider.call_here(asked.name, asked.arguments, timeout, asked.streams)
        except LabcError:
            raise  # a function's own TimeoutError, too
        except TimeoutError:
            raise self._too_late(asked, self._here) from None

    async def _call_there(self, asked: Asked, node: NodeRecord) -> Answer:
        if not asked.remaining:
            raise self._too_late(asked, node, ran="no")
        if (lane := self._pool.ready_lane(node)) is not None:
            try:
                return await self._ask_lane(lane, asked, node)
            except PeerLostError as error:
                if error.ran != "no":
                    raise
        return await self._ask_lane(await self._lane(asked, node), asked, node)

    async def _lane(self, asked: Asked, node: NodeRecord) -> Lane:
        """A lane that takes a request now."""
        try:
            async with asyncio.timeout_at(asked.deadline):
                lane = await self._pool.lane(node)
                await lane.room(min(asked.remaining, _ROOM_WAIT))
                return lane
        except TimeoutError:
            raise self._too_late(asked, node, ran="no") from None

    async def _ask_lane(self, lane: Lane, asked: Asked, node: NodeRecord) -> Answer:
        if asked.for_whom is not None:
            asked.for_whom(lane.who)
        asked.check_streams()
        call_id, answer = lane.request(asked.name, asked.arguments, asked.deadline, streams=len(asked.streams))
        self._send_along(lane, call_id, asked)
        try:
            return await answer
        except asyncio.CancelledError:
            lane.cancel(call_id)
            raise
        except DeadlineError:
            raise self._too_late(asked, node) from None

    def _too_late(self, asked: Asked, node: NodeRecord, ran: Ran = "maybe") -> CallTimeoutError:
        return CallTimeoutError(asked.name, asked.timeout, where=str(node), ran=ran)


async def _feed(inbox: Inbox[Any], feed: Feed, begun: asyncio.Future[None]) -> None:
    def begin() -> None:
        if not begun.done():
            begun.set_result(None)

    try:
        inbox.ended(await feed(begin))
        begin()
    except asyncio.CancelledError:
        closed = ClosedError(f"the node was closed before this {inbox.what} ended")
        inbox.ended(closed)
        if not begun.done():
            begun.set_exception(closed)
        raise
    except BaseException as error:
        inbox.ended(error)
        if not begun.done():
            begun.set_exception(error)


def _outgoing_error(asked: Asked) -> BaseException | None:
    """What reading one of its outgoing streams raised: it says more than what became of the call."""
    return next((each.error for each in asked.streams if each.error is not None), None)
