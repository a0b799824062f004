"""One retained value, asked for by its topic: ``last``, and ``forget``."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import msgspec

from labc.fabric import Fabric
from labc.topics.keeping import Keeping
from labc.topics.retained import Answer, Kept, Wanted

_WITHIN = 1.0
"""Seconds to wait for the nodes that keep values, when nothing else is said; one that is stopped does not answer."""
_AGAIN = 0.1

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Answer).decode


async def ask_for_last(fabric: Fabric, keeping: Keeping, topic: str, timeout: float | None) -> Kept | None:
    """The newest value of this topic that any node keeps; None: there is none.

    Shortly after a change of root it is asked for again: those who have published give the new root what they have.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + (_WITHIN if timeout is None else timeout)
    question = _encode(Wanted([topic]))
    newest = keeping.find(topic)
    while True:
        for encoded in await fabric.ask(fabric.keys.retained_everywhere, question, max(0.01, deadline - loop.time())):
            with suppress(ValueError):
                for kept in _decode(encoded).values:
                    if kept.topic == topic and (newest is None or kept.seconds > newest.seconds):
                        newest = kept
        if newest is not None or loop.time() + _AGAIN >= deadline or not keeping.is_unsettled:
            return newest
        await asyncio.sleep(_AGAIN)


async def forget_everywhere(fabric: Fabric, keeping: Keeping, topic: str, timeout: float | None) -> None:
    """Returns when all that can be reached have forgotten the value of this topic, or the time is over."""
    keeping.forget(topic)
    question = _encode(Wanted(forget=topic))
    await fabric.ask(fabric.keys.retained_everywhere, question, _WITHIN if timeout is None else timeout)
