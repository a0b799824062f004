"""Whether somebody takes connections at a place."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable, Sequence
from typing import Literal

State = Literal["open", "refused", "silent", "no way"]
"""``refused``: the host is there, and nobody listens on the port. ``silent``: nothing came back, as behind a firewall
that drops what it does not let in. ``no way``: this host knows no way there, or nobody there answers to the address."""


async def knock(places: Iterable[tuple[str, int]], within: float) -> dict[tuple[str, int], State]:
    """Connect to all of these addresses and ports at once, for ``within`` seconds at most, and hang up."""
    wanted = list(dict.fromkeys(places))
    return dict(zip(wanted, await asyncio.gather(*(_knock(place, within) for place in wanted)), strict=True))


def best(states: Sequence[State]) -> State | None:
    """Of a host with several addresses; None: it has none."""
    order: list[State] = ["open", "refused", "silent", "no way"]
    return min(states, key=order.index, default=None)


async def _knock(place: tuple[str, int], within: float) -> State:
    with socket.socket(socket.AF_INET6 if ":" in place[0] else socket.AF_INET) as connection:
        connection.setblocking(False)
        try:
            async with asyncio.timeout(within):
                await asyncio.get_running_loop().sock_connect(connection, place)
        except ConnectionRefusedError:
            return "refused"
        except TimeoutError:
            return "silent"
        except OSError:
            return "no way"
    return "open"
