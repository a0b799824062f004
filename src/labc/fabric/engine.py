"""Zenoh sessions as labc needs them: a client of the host's root, and the root's router.

The values and their reasons were measured; Zenoh's own defaults stand where nothing is said.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import zenoh

from labc.fabric.election import OPEN_WITHIN
from labc.fabric.keyed import protocol, realm, secured
from labc.fabric.keys import Keys
from labc.fabric.ports import root_ports, router_id_prefix, scouting_address
from labc.security import Credentials
from labc.settings import Settings

_OPEN_TIMEOUT_MS = int(OPEN_WITHIN * 1000)
"""See there. Zenoh: 10 s."""
_PATIENT_TIMEOUT_MS = 3000
"""The same at a second try, when a node starts: with 200 that start at once on 2 cores a root takes some seconds."""

_QUEUE_PIECES = 16
"""Of 64 KiB, made when they are needed. Of Zenoh's two, a burst of small messages overflows on a busy machine."""

_KEEP_ALIVE = 3
"""Signs of life in a lease. They are most of the work of a node at rest; Zenoh has four, for links that lose some."""

_ACCEPT_PENDING = 1000
"""Links of nodes that start at once. Beyond it (100 in Zenoh) a root refuses them, and they look for another one."""

_RETRY = {"period_init_ms": 20, "period_max_ms": 100, "period_increase_factor": 2}

_FAR_RETRY = {"period_init_ms": 100, "period_max_ms": 1000, "period_increase_factor": 2}
_FAR_TIMEOUT_MS = 3000
"""For links to and between routers, which may lead over half the world."""

# Zenoh closes a TCP link with a linger of 10 s, on one of its receiving threads (2, by default): with a cut cable the
# links to two hosts would keep a root from serving even its own host for that long. One thread for each of 16 hosts.
os.environ.setdefault("ZENOH_RUNTIME", "(rx: (worker_threads: 16))")

# Zenoh's log would go to stderr in its own format; errors that matter reach us as exceptions.
zenoh.try_init_log_from_env()  # type: ignore[no-untyped-call]
logging.getLogger("zenoh.handlers").setLevel(logging.CRITICAL)


def open_client(settings: Settings, credentials: Credentials | None, *, patient: bool = False) -> zenoh.Session:
    """A session with the root of this host. Later it finds a new root on the same ports by itself.

    Blocks up to a second for each port that accepts connections and stays silent; ``patient``: three.

    Raises:
        zenoh.ZError: there is no root now.
    """
    ports = root_ports(realm(settings, credentials), settings.root_port)
    return _open(
        settings,
        credentials,
        {
            "mode": "client",
            "connect/endpoints": [f"{protocol(credentials)}/127.0.0.1:{port}" for port in ports],
            "connect/timeout_ms": 0,  # one try now; the retry below is for the time after a loss
            "connect/retry": _RETRY,
            "scouting/multicast/enabled": False,
            "transport/unicast/open_timeout": _PATIENT_TIMEOUT_MS if patient else _OPEN_TIMEOUT_MS,
        },
    )


def open_router(settings: Settings, port: int, carrier: str | None, credentials: Credentials | None) -> zenoh.Session:
    """A router on this port of all interfaces.

    It learns of other roots at the ``carrier``'s address on the loopback interface, where it scouts. Without one it
    scouts by multicast itself, on all interfaces that are there now, if the settings allow that; in a keyed network it
    does not, as anybody could answer.

    Raises:
        zenoh.ZError: the port is taken.
    """
    network, link = realm(settings, credentials), protocol(credentials)
    by_itself = "multicast" in settings.discovery and credentials is None and not settings.interfaces
    scouting: dict[str, Any] = {"scouting/multicast/enabled": carrier is not None or by_itself}
    scouting["scouting/multicast/address"] = carrier or scouting_address(network)
    if carrier:
        scouting["scouting/multicast/interface"] = "127.0.0.1"
    if credentials:
        scouting["scouting/multicast/listen"] = False  # it asks, and answers nobody
    others = [p for p in root_ports(network, settings.root_port) if p != port]
    return _open(
        settings,
        credentials,
        {
            "mode": "router",
            "id": router_id_prefix(network) + os.urandom(10).hex(),
            "listen/endpoints": [f"{link}/0.0.0.0:{port}"],
            "connect/endpoints": [f"{link}/127.0.0.1:{p}" for p in others],
            "connect/timeout_ms": 0,
            "connect/exit_on_failure": False,
            "transport/unicast/accept_pending": _ACCEPT_PENDING,
            "scouting/delay": 0,
            **scouting,
            "scouting/multicast/autoconnect": {"router": ["router"]},
            # Not by what others tell (gossip): a root that leaves would connect anew to those that it has just left,
            # and panic when they answer.
            "scouting/gossip/autoconnect": {"router": []},
        },
    )


def open_router_link(settings: Settings, credentials: Credentials | None, endpoints: Sequence[str]) -> zenoh.Session:
    """A session with one of these routers between sites.

    Blocks for some seconds where one takes a connection and says nothing.

    Raises:
        zenoh.ZError: there is none now.
    """
    return _open(
        settings,
        credentials,
        {
            "mode": "client",
            "connect/endpoints": list(endpoints),
            "connect/timeout_ms": 0,
            "connect/retry": _FAR_RETRY,
            "scouting/multicast/enabled": False,
            "transport/unicast/open_timeout": _FAR_TIMEOUT_MS,
        },
        locally=False,
    )


def open_site_router(
    settings: Settings, credentials: Credentials | None, listen: Sequence[str], others: Sequence[str]
) -> zenoh.Session:
    """A router between sites: it takes links, makes those to the ``others``, and passes what has the scope "wan".

    Raises:
        zenoh.ZError: the port is taken, or it is no address of this host.
    """
    return _open(
        settings,
        credentials,
        {
            "mode": "router",
            "listen/endpoints": list(listen),
            "connect/endpoints": list(others),
            "connect/timeout_ms": -1,
            "connect/exit_on_failure": False,
            "connect/retry": _FAR_RETRY,
            "transport/unicast/accept_pending": _ACCEPT_PENDING,
            "transport/unicast/open_timeout": _FAR_TIMEOUT_MS,
            "scouting/multicast/enabled": False,
            "scouting/delay": 0,
            "scouting/gossip/autoconnect": {"router": []},
        },
        locally=False,
        only=f"{Keys(settings.network, 'wan').base}/**",
    )


def linked_routers(router: zenoh.Session) -> set[str]:
    """The ids of the routers with which this one has links now."""
    return {str(zenoh_id) for zenoh_id in router.info.routers_zid()}


def strangers(router: zenoh.Session, network: str, realm: str) -> set[str]:
    """The ids of the network's roots that are linked with this one, and never told it what they know. Blocks.

    A root tells what it knows to those that are new in its routes, which it works out anew at most every 0.1 s, and
    numbers. One that takes the number of another one between two times is not new (Zenoh 1.10.2).
    """
    keys, prefix = Keys(network), router_id_prefix(realm)
    linked = linked_routers(router)
    replies = router.liveliness().get(keys.all_routers, timeout=0.3)
    told = {str(reply.ok.key_expr).rpartition("/")[2] for reply in replies if reply.ok is not None}
    return {zenoh_id for zenoh_id in linked - told if zenoh_id.startswith(prefix)}


def callback(function: Callable[[Any], None], done: Callable[[], None] | None = None) -> Any:
    """A handler that runs on the engine's own thread, so it may only hand over. No thread of its own
    (Zenoh's default has one, which keeps the program from ending)."""
    return zenoh.handlers.Callback(function, done, indirect=False)


def close_router(router: zenoh.Session) -> None:
    """Close it, and never release what is left of it, which is little: a process seldom ceases to be a root.

    The engine works out its routes now and then, in a task of its own. Who releases a router waits for that task, and
    sometimes in vain, for ten seconds in which no link of this process comes about (Zenoh 1.10.2,
    ``TreesComputationWorker``).
    """
    abandon([router])
    router.close()  # type: ignore[no-untyped-call]


def _before_fork() -> None:
    """Another thread may just be importing this, and the child would wait for it for ever."""
    import ctypes  # noqa: F401


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork)


def abandon(things: list[Any]) -> None:
    """Never release these. After fork, in the child, their threads are in the parent, and releasing them waits for
    those threads for ever."""
    import ctypes

    for thing in things:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def _open(
    settings: Settings,
    credentials: Credentials | None,
    values: dict[str, Any],
    *,
    locally: bool | None = None,
    only: str = "",
) -> zenoh.Session:
    config = zenoh.Config()
    values = {
        "transport/link/tx/queue/size/data": _QUEUE_PIECES,
        "transport/link/tx/queue/size/data_low": _QUEUE_PIECES,
        "transport/link/tx/lease": int(settings.fabric_lease * 1000),
        "transport/link/tx/keep_alive": _KEEP_ALIVE,
        "transport/unicast/open_timeout": _OPEN_TIMEOUT_MS,
        "transport/shared_memory/enabled": False,
    } | values
    values |= secured(credentials, locally=values["mode"] == "client" if locally is None else locally, only=only)
    for key, value in values.items():
        config.insert_json5(key, msgspec.json.encode(value).decode())
    return zenoh.open(config)
