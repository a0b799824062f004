"""``labc router``: a program that only routes, for sites of a network that don't reach each other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from labc.directory import NodeRecord
from labc.fabric import SiteRouter, new_id, root_ports
from labc.lanes.ways import Ways
from labc.node.identity import host_id, host_name
from labc.security import credentials_of
from labc.settings import RouterPlace, Settings

ANY_ADDRESS = "0.0.0.0"
NODE_NAME = "router"


class Routing(NamedTuple):
    """A router that has begun."""

    address: str
    """Where it takes links."""
    routers: list[str]
    """What other computers may put into their setting ``routers``, of which one is enough."""
    encrypted: bool
    shared: bool
    """Whether a root of this network on this computer could take the port, or look for another root there."""


def route(
    settings: Settings, listen: RouterPlace, ready: Callable[[Routing], object], seconds: float | None = None
) -> None:
    """Route until something ends this program, or for so many seconds. Blocks. ``ready`` is told when it has begun.

    Raises:
        SettingsError: ``listen`` or the setting ``routers`` does not fit the network.
        FabricError: nothing can listen there.
        MembershipError: the network has a key, and this user's membership can't be used (any more).
    """
    asyncio.run(_route(settings, listen, ready, seconds))


async def _route(
    settings: Settings, listen: RouterPlace, ready: Callable[[Routing], object], seconds: float | None
) -> None:
    credentials = credentials_of(settings.network)
    here = NodeRecord(new_id(), host_id(), host_name(), settings.name or NODE_NAME)
    router = SiteRouter(settings, here, listen, credentials)
    vouching = None
    try:
        await router.open()
        if credentials is not None:
            from labc.node.vouching import Vouching  # what open networks do without

            vouching = Vouching(credentials, router, [], lambda seats: None)
            await vouching.open()
        ports = root_ports(credentials.realm if credentials else settings.network, settings.root_port)
        reached_at = _reached_at(router.address, Ways(settings.interfaces))
        ready(Routing(router.address, reached_at, credentials is not None, listen.port in ports))
        await asyncio.sleep(1e9 if seconds is None else seconds)
    finally:
        if vouching is not None:
            vouching.close()
        await router.close()


def _reached_at(address: str, ways: Ways) -> list[str]:
    protocol, _, place = address.partition("/")
    host, _, port = place.rpartition(":")
    ips = [ip for ip in ways.own_ips() if ":" not in ip] if host == ANY_ADDRESS else [host]
    return [f"{protocol}/{ip}:{port}" for ip in ips or ["127.0.0.1"]]
