"""Relayed lanes give way to direct ones, as soon as these can be made: a firewall may change, and on a network that
loses packets the relay may have won just once."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from labc.directory import NodeRecord
from labc.errors import LabcError
from labc.lanes.lane import Lane

logger = logging.getLogger("labc.lanes")

_FIRST_AFTER = 1.0
"""Seconds until a direct way is tried; then twice as long, and so on."""
_AGAIN_AFTER = 60.0
_RETIRED_AFTER = 10.0
"""Seconds for which the relayed lane stays beside the direct one, and longer, if it is used still: the other end begins
nothing on it any more by then."""


class Improving:
    """Those of one node. ``connect(node)`` opens a direct lane, which is used from then on; or raises."""

    def __init__(self, connect: Callable[[NodeRecord], Awaitable[Lane]]) -> None:
        self._connect = connect
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, node: NodeRecord, relayed: Lane) -> None:
        """As long as this lane is there, look for a better one."""
        task = asyncio.get_running_loop().create_task(self._improve(node, relayed), name=f"labc direct way to {node}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _improve(self, node: NodeRecord, relayed: Lane) -> None:
        pause = _FIRST_AFTER
        while True:
            await asyncio.sleep(random.uniform(1, 1.5) * pause)
            if not relayed.usable:
                return
            try:
                await self._connect(node)
            except (LabcError, OSError, TimeoutError) as error:
                logger.debug("still no direct way to %s: %s", node, error)
                pause = min(2 * pause, _AGAIN_AFTER)
            else:
                logger.info("the lane to %s is direct from now on", node)
                break
        while relayed.usable:
            await asyncio.sleep(_RETIRED_AFTER)
            if relayed.idle:
                relayed.close("there is a direct lane to this node")
