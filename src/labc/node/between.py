"""What nodes call of each other, beside what their programs offer. A user's name has no NUL, so none is like theirs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from labc.directory import NodeRecord, Who
from labc.errors import NotFoundError, RefusedError
from labc.functions import Caller, Provider, Registration, current_call
from labc.registry import Registry
from labc.topics import Sender, Told, Topics
from labc.wire import encode_arguments

_HELD = "\0held"
_TOLD = "\0told"
_NEAR = "\0near"
_MESSAGE = "\0message"

ForWhom = Callable[[Who], None] | None
"""See :meth:`Caller.call_node`."""

_WITHIN = 1.0
"""Seconds that a node may take to answer what its loop answers at once."""
_TAKEN_WITHIN = 10.0


class Asking:
    """What this node asks of others."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def deliver_held(self, node: NodeRecord, message: Sequence[Any], for_whom: ForWhom) -> None:
        """Give it a message that its subscribers hold back. Returns when they have taken it."""
        await self._caller.call_node(node, _HELD, message, None, for_whom)

    async def tell(self, node: NodeRecord, told: Sequence[Told], for_whom: ForWhom) -> None:
        """Give it messages."""
        await self._caller.call_node(node, _TOLD, [[tuple(each) for each in told]], _TAKEN_WITHIN, for_whom)

    async def near(self, node: NodeRecord) -> Sequence[tuple[str, bool]]:
        """What it subscribes to for its host or group alone."""
        return [
            (str(pattern), bool(holds)) for pattern, holds in await self._caller.call_node(node, _NEAR, [], _WITHIN)
        ]

    async def message(self, node: NodeRecord, name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        """Run a function there whose answer nobody waits for. Returns when it is taken."""
        await self._caller.call_node(node, _MESSAGE, [name, list(args), kwargs], _TAKEN_WITHIN)


class Answering:
    """What this node does for others who ask so."""

    def __init__(self, here: NodeRecord, topics: Topics, provider: Provider) -> None:
        self._here = here
        self._topics = topics
        self._provider = provider
        functions: dict[str, Callable[..., Any]] = {
            _HELD: self._held,
            _TOLD: self._told,
            _NEAR: self._near,
            _MESSAGE: self._message,
        }
        none: Registry[Registration[..., Any]] = Registry()
        self.functions: dict[str, Registration[..., Any]] = {
            name: Registration[..., Any](none, function, name, "loop", scope="wan")
            for name, function in functions.items()
        }

    def _caller(self) -> NodeRecord:
        """Who asks, as far as that can be believed."""
        call = current_call()
        caller = call.caller
        if caller is None or (caller.id == self._here.id and caller is not self._here):
            return NodeRecord("", "", call.host, call.node)
        return caller

    async def _held(self, topic: str, args: Any, kwargs: Any, seconds: float, retain: bool = False) -> None:
        call = current_call()
        sender = Sender(call.host, call.node, call.node_id)
        await self._topics.take_held(self._caller(), sender, topic, args, kwargs, seconds, retain, call.who)

    async def _told(self, messages: list[tuple[bool, str, bytes, bytes, bool]]) -> None:
        self._topics.take_told(self._caller(), [Told(*each) for each in messages], current_call().who)

    async def _near(self) -> list[tuple[str, bool]]:
        return self._topics.nearby.for_node(self._caller())

    async def _message(self, name: str, args: list[Any], kwargs: dict[str, Any]) -> None:
        if name.startswith("\0"):
            raise NotFoundError(name)
        with suppress(RefusedError):  # it is counted and logged, and nobody waits for an answer
            self._provider.take_message(name, encode_arguments(args, kwargs), current_call())
