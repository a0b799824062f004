"""What others may do with this node: the setting ``access``, kept, with what it needs of the system and the log."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress

from labc.directory import Access, Here, NodeRecord, Who
from labc.errors import RefusedError
from labc.lanes import Notices, ips_of
from labc.lanes.ways import Ways
from labc.security import Credentials
from labc.settings import Settings, Verb

_LOGGERS = {
    "call": logging.getLogger("labc.functions"),
    "publish": logging.getLogger("labc.topics"),
    "subscribe": logging.getLogger("labc.topics"),
}
_SAY_AGAIN = 60.0
"""Seconds until the same refusal is logged again."""
_LOOK_UP_EVERY = 30.0
_LOOK_UP_WITHIN = 1.0
"""How long a node waits when it starts; a name that is found later counts from then on."""


class Rights:
    """Those that the node ``here`` gives. :meth:`check` and :meth:`may` are for any thread."""

    def __init__(
        self, here: NodeRecord, settings: Settings, sources: Mapping[str, str], credentials: Credentials | None
    ) -> None:
        self._node = str(here)
        own = Here(here.host, credentials.about.host, credentials.about.seat) if credentials else Here(here.host)
        places = {line: sources.get(f"access.{line}", "") for line in settings.access}
        self.access = Access(settings.access, places, settings.aliases, own)
        self._notices = Notices(_SAY_AGAIN)
        self._closed = threading.Event()
        self._noticing = threading.Lock()
        self._known: dict[str, list[str]] = {}
        """The addresses of the computers that the setting names, as they were found last."""
        self._own: Collection[str] = ()
        """The addresses of this computer."""
        self._failed: set[str] = set()

    async def open(self) -> None:
        """Look up the computers that the setting names."""
        if not self.access:
            return
        loop, looked = asyncio.get_running_loop(), asyncio.Event()

        def tell() -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(looked.set)

        name = "access looks up hosts"  # it can't be ended while it does, nor need it be
        threading.Thread(target=self._look_up, args=(tell,), name=name, daemon=True).start()
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_UP_WITHIN):
                await looked.wait()

    def close(self) -> None:
        self._closed.set()

    def may(self, verb: Verb, name: str, who: Who) -> bool:
        """Whether he may; nothing is logged."""
        return not self.access or self.access.rule_against(verb, name, who) is None

    def limits_topic(self, topic: str) -> bool:
        """Whether not everybody may publish or hear it."""
        access = self.access
        return bool(access) and (access.limits("publish", topic) or access.limits("subscribe", topic))

    def for_whom(self, topics: Collection[str]) -> Callable[[Who], None] | None:
        """What raises RefusedError for those who may not hear all of these; None: everybody may."""
        if not any(map(self.limits_topic, topics)):
            return None

        def check(who: Who) -> None:
            for topic in topics:
                self.check("subscribe", topic, who)

        return check

    def check(self, verb: Verb, name: str, who: Who | None, dangerous: bool = False) -> None:
        """``who`` None: this node itself, which may do everything.

        Raises:
            RefusedError: he may not. It is logged, once a minute for him and the same line of the setting.
        """
        if who is None or not (self.access or dangerous):
            return
        rule = self.access.rule_against(verb, name, who, dangerous=dangerous)
        if rule is None:
            return
        error = RefusedError(verb, name, str(who), where=self._node, rule=rule)
        with self._noticing:
            is_due = self._notices.is_due((verb, rule, who), time.monotonic())
        if is_due:
            _LOGGERS[verb].warning("refused: %s", error)
        raise error

    def _look_up(self, tell: Callable[[], None]) -> None:
        while True:
            try:
                self._own = Ways(()).own_ips()
            except OSError as error:
                _LOGGERS["call"].warning("the addresses of this computer can't be found out: %s", error)
            self.access.learn(self._known, self._own)
            for name in self.access.names:
                self._look_one_up(name)
                self.access.learn(self._known, self._own)  # it counts while the next one takes its time
            tell()
            if self._closed.wait(_LOOK_UP_EVERY):
                return

    def _look_one_up(self, name: str) -> None:
        """What was known stays, while nobody can tell."""
        try:
            self._known[name] = ips_of(name)
            self._failed.discard(name)
        except (OSError, UnicodeError) as error:
            if name not in self._failed:
                self._failed.add(name)
                what = "its old address counts" if name in self._known else "it may do nothing that is limited"
                _LOGGERS["call"].warning(
                    "the address of %s (setting access) is not known, so %s: %s", name, what, error
                )
