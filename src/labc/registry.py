"""What a program registered and subscribed, before or after its node runs, from any thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Entry = TypeVar("Entry")
Change = Callable[[Entry, bool], None]
"""Told of an entry that was added (True) or removed (False), on the thread that did it."""


class Registry(Generic[Entry]):
    """Entries in the order in which they were added. A node attaches to it while it runs, and offers them."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._entries: list[Entry] = []
        self._listener: Change[Entry] | None = None

    def add(self, entry: Entry) -> None:
        with self._lock:
            self._entries.append(entry)
            if self._listener:
                self._listener(entry, True)

    def remove(self, entry: Entry) -> None:
        """Removing what is not there (any more) is harmless."""
        with self._lock:
            if not any(entry is known for known in self._entries):
                return
            self._entries = [known for known in self._entries if known is not entry]
            if self._listener:
                self._listener(entry, False)

    def attach(self, listener: Change[Entry]) -> None:
        """Tell the listener of every entry there is, and of every change from now on."""
        with self._lock:
            self._listener = listener
            for entry in self._entries:
                listener(entry, True)

    def detach(self) -> None:
        with self._lock:
            self._listener = None

    @property
    def attached(self) -> bool:
        return self._listener is not None

    def entries(self) -> list[Entry]:
        with self._lock:
            return list(self._entries)

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()
