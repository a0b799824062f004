"""Finds the roots of other hosts for the root of this one, and tells it of them: a thread with a few sockets.

The engine's routers can't be told of an address once they are open, and scout only by multicast, on the interfaces that
were there when they opened. But they take the answer to their scouting (a Hello) from anybody, at any time, and connect
to whom it names. So the own router scouts on loopback only, where the carrier hears from which port it does (the tap).
The carriers of a network find each other by what the settings allow, with datagrams of their own
(:mod:`labc.discovery.datagrams`), and each tells its own router, in the form of a Hello, where the other one is.
"""

from __future__ import annotations

import logging
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Set
from contextlib import suppress

from msgspec.structs import replace

from labc.discovery.acquaintances import Heard
from labc.discovery.asking import EVERYBODY, LOOPBACK, Ask
from labc.discovery.datagrams import MAX_BYTES, hello, is_scout
from labc.discovery.description import PROTOCOL, Description
from labc.discovery.interfaces import addresses_now
from labc.discovery.names import Names
from labc.discovery.plan import AFTER_SLEEP, SLEPT, Plan, Root, locators
from labc.discovery.remembered import Memory, remembered_file
from labc.discovery.sockets import (
    SCOUTING_GROUP,
    address_towards,
    listen_on,
    open_ears,
    open_mouth,
    open_seeker,
    open_tap,
    send_to_group,
)
from labc.discovery.subnets import Address
from labc.security import Credentials
from labc.settings import Interfaces, Settings, host_place
from labc.version import __version__

logger = logging.getLogger("labc.discovery")

_LOOK = 2.0
"""Seconds between two looks at the host's addresses."""
_LINKS = 1.0
"""Seconds between two looks at the root's links."""
_CLOSE_WITHIN = 1.0
_AFTER_FAILURE = 0.5
_ROOM = 0.05
"""Seconds until the search tries to go on when the system takes no more datagrams."""
_BURST = 100
"""Datagrams of one socket in a row, before the others have their turn."""


class Carrier:
    """Make it before the router opens, as it hears the router's first question; then :meth:`start`; then :meth:`close`.

    Any thread may call these. Making it takes no time worth mentioning and raises OSError if there is no loopback
    interface or no socket left.

    With ``credentials`` it hears members of that network alone, and answers nobody else.
    """

    def __init__(
        self,
        settings: Settings,
        ports: tuple[int, ...],
        port: int,
        group_port: int,
        host: str,
        credentials: Credentials | None = None,
    ) -> None:
        self._settings = settings
        self._host = host
        self._network = credentials.realm if credentials else settings.network
        self._secret = credentials.secret if credentials else None
        self._protocol = "tls" if credentials else "tcp"
        self._interfaces = Interfaces(settings.interfaces)
        self._ports = ports
        self._port = port
        self._group_port = group_port
        self._selector = selectors.DefaultSelector()
        self._sockets: list[socket.socket] = []
        self._ears: socket.socket | None = None
        self._router: tuple[str, int] | None = None
        """From where the own router scouts."""
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()
        self._linked: Callable[[], Set[str]] = frozenset
        self._plan: Plan | None = None
        self._names: Names | None = None
        self._memory: Memory | None = None
        self._addresses: frozenset[Address] = frozenset()
        """Those of this host that are used."""
        self._avoided: set[str] = set()
        """The others."""
        self._next_look = self._next_links = 0.0
        self._unsent: deque[Ask] = deque()
        """What is left of the search, as the system had no room for it."""
        self._warned: set[str] = set()
        self._started = False
        try:
            self._tap = self._opened(open_tap())
            self._open_mouth()
            self._seeker = self._opened(open_seeker(avoid=self._ports))
            self._open_ears()
            waker, self._waker = socket.socketpair()
            for end in (waker, self._waker):
                end.setblocking(False)
                self._sockets.append(end)
            self._selector.register(waker, selectors.EVENT_READ)
        except OSError:
            self._close_sockets()
            raise

    @property
    def scouting_address(self) -> str:
        """The multicast address at which the own router is to scout, on the loopback interface."""
        return f"{SCOUTING_GROUP}:{self._tap.getsockname()[1]}"

    def start(self, root_id: str, linked: Callable[[], Set[str]]) -> None:
        """Begin to look for others, for the router with this id. ``linked`` tells the ids of the routers that it has
        links with; the discovery thread calls it."""
        self._linked = linked
        self._started = True
        for sentence in self._warned:  # who loses the race for the root's port has no reason to complain
            logger.warning("%s", sentence)
        root = Root(self._network, self._ports, self._port, root_id, self._secret)
        self._plan = Plan(self._settings, root, time.monotonic())
        self._thread = threading.Thread(target=self._run, name="labc discovery", daemon=True)
        self._thread.start()

    def heard(self) -> list[Heard]:
        """Which other roots were heard, by which method and when. From any thread."""
        for _ in range(10):
            with suppress(RuntimeError):  # it changed meanwhile
                return self._plan.acquaintances.report(time.monotonic()) if self._plan else []
        return []

    def close(self) -> None:
        """Stop, before the router is closed. Blocks for a moment; at most a second, should the disk be stuck."""
        self._closing.set()
        self._wake()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(_CLOSE_WITHIN)
            self._linked = frozenset
            if self._thread.is_alive():  # it closes the sockets itself, later
                return
        self._linked = frozenset
        self._close_sockets()

    def abandon(self) -> None:
        """After fork, in the child, which has no such thread: let go of the ports."""
        self._close_sockets()

    # The thread.

    def _run(self) -> None:
        assert self._plan is not None
        try:
            self._prepare()
            while not self._closing.is_set():
                try:
                    self._turn(self._plan)
                except Exception as error:
                    if not self._closing.is_set():
                        what = f"{type(error).__name__}: {error}"
                        self._warn(f"looking for other hosts fails, and is tried again: {what}")
                    self._closing.wait(_AFTER_FAILURE)
        finally:
            self._linked = frozenset
            self._close_sockets()

    def _prepare(self) -> None:
        if self._settings.hosts:
            self._names = Names([host_place(text) for text in self._settings.hosts], self._wake)
        if "remembered" in self._settings.discovery and (path := remembered_file()):
            self._memory = Memory(path, self._network)
            self._memory.load()

    def _turn(self, plan: Plan) -> None:
        now = time.monotonic()
        self._look_around(plan, now)
        for ask in plan.asks(now):
            self._ask(plan, ask)
        self._search(plan, now)
        self._introduce(plan, now)
        due = min(plan.next_due(now), self._next_look, self._next_links)
        due = min(due, now + _ROOM if self._unsent else plan.next_search())
        if self._names:
            due = min(due, self._names.next_due())
        due = max(due, now)
        ready = self._selector.select(max(0.0, due - time.monotonic()))
        now = time.monotonic()
        if now - due > SLEPT:
            logger.debug("this process was stopped, or its host slept, for %.1f s or more", now - due)
            self._next_look = now
            plan.restart(now + AFTER_SLEEP)
        for key, _ in ready:
            assert isinstance(key.fileobj, socket.socket)
            self._receive(plan, key.fileobj, now)
        self._introduce(plan, now)

    def _look_around(self, plan: Plan, now: float) -> None:
        """See what has changed since the last look."""
        if now >= self._next_look:
            self._next_look = now + _LOOK
            present = addresses_now()
            self._addresses = frozenset(e for e in present if self._interfaces.use(e.interface, e.address))
            self._avoided = {each.address for each in present - self._addresses}
            if self._ears is not None:
                listen_on(self._ears, [each.address for each in self._addresses])
            if plan.see_addresses(self._addresses, now):
                logger.debug("addresses of this host: %s", sorted(self._addresses))
                if self._names:
                    self._names.restart()
                for each in plan.refused_ranges:
                    self._warn(
                        f"the subnet of {each.address}/{each.prefix} ({each.interface}) is too large to be searched: "
                        "name a part of it with the setting scan_ranges, or set scan_large"
                    )
        if now >= self._next_links:
            self._next_links = now + _LINKS
            plan.see_linked(self._linked(), now)
            self._remember(plan)
        if self._names:
            self._names.look(now)
            plan.see_places("hosts", self._names.places(self._ports), now)
        if self._memory:
            first = self._ports[0]
            places = [(address, each) for address, port in self._memory.places for each in (port, first)]
            plan.see_places("remembered", places, now)

    def _remember(self, plan: Plan) -> None:
        if self._memory is None:
            return
        places = [place for place in plan.acquaintances.linked_places() if place[0] != LOOPBACK]
        if self._memory.is_news(places, time.time()):
            self._memory.note(places)

    def _search(self, plan: Plan, now: float) -> None:
        """Linux keeps what is for an address where nobody is for 3 s. When it keeps no more, the rest waits."""
        if not self._unsent:
            self._unsent.extend(plan.searches(now))
        while self._unsent:
            ask = self._unsent.popleft()
            if not self._may_speak_with(ask.address):
                continue
            if (data := self._for(plan, plan.question(ask.method), ask.address)) is None:
                continue
            try:
                self._seeker.sendto(data, (ask.address, ask.port))
            except BlockingIOError:
                self._unsent.appendleft(ask)
                return
            except OSError:  # there is no way now; the next pass comes by again
                pass

    def _ask(self, plan: Plan, ask: Ask) -> None:
        question = plan.question(ask.method)
        if ask.address == EVERYBODY:
            for each in self._addresses:
                with suppress(OSError):  # the interface takes none, or has just gone
                    data = plan.sealed(question, each.address) if plan.is_keyed else question
                    send_to_group(self._mouth, data, self._group_port, each.address)
        elif self._may_speak_with(ask.address):
            self._say(plan, question, (ask.address, ask.port))
        elif ask.method == "hosts" and address_towards(ask.address) in self._avoided:
            self._warn(
                f"{ask.address}, of the setting hosts, is not asked: the way there is over an interface that the "
                "setting interfaces does not use"
            )

    def _introduce(self, plan: Plan, now: float) -> None:
        if self._router is None:
            return
        if plan.acquaintances.waiting(now):
            plan.see_linked(self._linked(), now)
        for introduction in plan.introductions(now):
            logger.debug("the root of this host is told of %s", introduction)
            self._send(hello(introduction.root_id, locators(introduction, self._protocol)), self._router)

    def _receive(self, plan: Plan, sock: socket.socket, now: float) -> None:
        for _ in range(_BURST):
            try:
                data, source = sock.recvfrom(MAX_BYTES)
            except BlockingIOError:
                return
            except OSError:  # on Windows: nobody listens where something was sent to
                continue
            if sock in (self._mouth, self._seeker, self._ears):
                address, port = source
                if not self._may_speak_with(address):
                    continue
                if sock is self._ears and is_scout(data) and not plan.is_keyed:
                    self._answer_scout(plan, address, port, now)
                elif (told := plan.tell_anybody(data, lambda: self._describe(plan), now)) is not None:
                    self._send(told, source)
                elif (answer := plan.take(data, address, port, sock is self._ears, now)) is not None:
                    self._say(plan, answer, source)
            elif sock is self._tap and is_scout(data) and source[0] == LOOPBACK:
                self._router = source

    def _answer_scout(self, plan: Plan, address: str, port: int, now: float) -> None:
        """A program of the engine's own looks for routers in the local network."""
        if plan.may_answer(now) and (own := address_towards(address)) is not None:
            self._send(hello(plan.root_id, [f"tcp/{own}:{self._port}"]), (address, port))

    def _describe(self, plan: Plan) -> Description:
        about = Description(
            protocol=PROTOCOL,
            digest=plan.digest,
            root_id=plan.root_id,
            port=self._port,
            time=time.time(),
            keyed=plan.is_keyed,
        )
        if plan.is_keyed:
            return about
        methods = list(self._settings.discovery)
        return replace(about, host=self._host, network=self._network, version=__version__, methods=methods)

    def _may_speak_with(self, address: str) -> bool:
        """Whether the way there is over an interface that the settings use."""
        if not self._interfaces or address == LOOPBACK:
            return True
        own = address_towards(address)
        return any(each.address == own for each in self._addresses)

    def _say(self, plan: Plan, data: bytes, place: tuple[str, int]) -> None:
        if (prepared := self._for(plan, data, place[0])) is not None:
            self._send(prepared, place)

    def _for(self, plan: Plan, data: bytes, address: str) -> bytes | None:
        """As it is sent to there; None: there is no way."""
        if not plan.is_keyed:
            return data
        own = address_towards(address)
        return None if own is None else plan.sealed(data, own)

    def _send(self, data: bytes, place: tuple[str, int]) -> None:
        with suppress(OSError):  # there is no way now; it is asked again
            self._mouth.sendto(data, place)

    # Sockets.

    def _open_mouth(self) -> None:
        try:
            self._mouth = self._opened(open_mouth(self._port))
        except OSError as error:
            self._warn(
                f"UDP port {self._port} is taken by something else ({error}): hosts that look for this one by hosts, "
                "scan or remembered do not find it; it looks for them"
            )
            self._mouth = self._opened(open_mouth(0))

    def _open_ears(self) -> None:
        if "multicast" not in self._settings.discovery:
            return
        try:
            self._ears = self._opened(open_ears(self._group_port))
        except OSError as error:
            self._warn(
                f"UDP port {self._group_port} is taken by something else ({error}): this host hears nobody by "
                "multicast; others hear it"
            )

    def _opened(self, sock: socket.socket) -> socket.socket:
        self._sockets.append(sock)
        self._selector.register(sock, selectors.EVENT_READ)
        return sock

    def _close_sockets(self) -> None:
        self._selector.close()
        for sock in self._sockets:
            sock.close()

    def _wake(self) -> None:
        with suppress(OSError):
            self._waker.send(b"\0")

    def _warn(self, sentence: str) -> None:
        if sentence not in self._warned:
            self._warned.add(sentence)
            if self._started:
                logger.warning("%s", sentence)
