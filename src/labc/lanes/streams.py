"""The streams on one lane: which of its calls have some, and who takes and gives what goes over them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from labc.errors import ClosedError
from labc.wire import Body, Failure, encode_items

if TYPE_CHECKING:
    from labc.lanes.lane import Lane


class Inlet(Protocol):
    """Takes what arrives on a channel. On the loop."""

    def arrived(self, head: Any, buffers: Sequence[Any]) -> None:
        """Items. Raises ProtocolError: they make no sense."""

    def ended(self, error: BaseException | None = None) -> None:
        """No more will come, or this is why. It may be told twice."""


class Outlet(Protocol):
    """Gives what is sent on a channel. On the loop."""

    def granted(self, items: int, bytes: int) -> None:
        """So much more of it may be sent."""

    def close(self) -> None:
        """Nobody wants any more of it."""


class _Channels(msgspec.Struct, gc=False):
    inlets: dict[int, Inlet]
    outlets: dict[int, Outlet]


class Streams:
    """By call and channel, until the call is over. For the loop."""

    def __init__(self) -> None:
        self._calls: dict[int, _Channels] = {}

    def __contains__(self, call_id: int) -> bool:
        """Also from other threads."""
        return call_id in self._calls

    def add_inlet(self, call_id: int, channel: int, inlet: Inlet) -> None:
        self._channels(call_id).inlets[channel] = inlet

    def add_outlet(self, call_id: int, channel: int, outlet: Outlet) -> None:
        self._channels(call_id).outlets[channel] = outlet

    def arrived(self, call_id: int, channel: int, head: Any, buffers: Sequence[Any]) -> None:
        """What nobody reads is let pass. Raises ProtocolError."""
        if (found := self._calls.get(call_id)) and (inlet := found.inlets.get(channel)):
            inlet.arrived(head, buffers)

    def ended(self, call_id: int, channel: int, failure: Failure | None) -> None:
        """The caller has sent all of this one."""
        if (found := self._calls.get(call_id)) and (inlet := found.inlets.pop(channel, None)):
            inlet.ended(None if failure is None else failure.to_exception())

    def granted(self, call_id: int, channel: int, items: int, bytes: int) -> None:
        if (found := self._calls.get(call_id)) and (outlet := found.outlets.get(channel)):
            outlet.granted(items, bytes)

    def over(self, call_id: int) -> None:
        """The call is. What becomes of its answer, on channel 0, is told to who made it, by other ways."""
        if (found := self._calls.pop(call_id, None)) is not None:
            for outlet in found.outlets.values():
                outlet.close()
            for channel, inlet in found.inlets.items():
                if channel:
                    inlet.ended(ClosedError("the call that this stream belongs to is over"))

    def all_over(self) -> None:
        """The lane is closed."""
        for call_id in list(self._calls):
            self.over(call_id)

    def _channels(self, call_id: int) -> _Channels:
        return self._calls.setdefault(call_id, _Channels({}, {}))


class StreamWay:
    """The way of one stream over a lane."""

    def __init__(self, lane: Lane, call_id: int, channel: int, on_finish: Callable[[], object]) -> None:
        self._lane = lane
        self._call_id = call_id
        self._channel = channel
        self._on_finish = on_finish

    def send(self, values: Sequence[Body]) -> None:
        items = Body(encode_items([each.head for each in values]), values[0].buffers)
        self._lane.send_items(self._call_id, self._channel, items)

    def finish(self, failure: Failure | None) -> None:
        self._on_finish()
        self._lane.end_stream(self._call_id, self._channel, failure)

    @property
    def limit(self) -> int:
        return self._lane.max_message_bytes

    @property
    def has_room(self) -> bool:
        return self._lane.has_room_for_streams

    async def room(self) -> None:
        await self._lane.room_for_streams()
