"""What every order of files has: one thread that leads it, others with a connection each, and an end that is told."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from labc.errors import FilesError, RefusedError
from labc.files.fetching import Summary
from labc.files.pieces import Status

_TRIES = 3
"""How often something is tried again that brings nothing."""
_WAIT = 0.5
"""Seconds before the next try; then twice as long."""


class Tries:
    """Something is tried until it fails three times in a row without anything that came."""

    def __init__(self, stopping: threading.Event) -> None:
        """``stopping``: nobody waits for the next try any more."""
        self._stopping = stopping
        self.came()

    def came(self) -> None:
        """It has brought something."""
        self._pauses = [_WAIT * 2**number for number in range(_TRIES - 1)]

    def again(self) -> bool:
        """Whether it may be tried again, after a while."""
        if self._pauses:
            self._stopping.wait(self._pauses.pop(0))
            return True
        return False


class Remote(Protocol):
    """The node that has the share. For threads."""

    def stream(self, name: str, *args: Any) -> Any:
        """What a generator there gives, to iterate over; with ``close()``, for any thread."""

    def outgoing(self, values: Iterable[Any]) -> Any:
        """Values that are sent one by one."""


class Order(ABC):
    """Files that go from one place to another. :meth:`run` does it; the rest is for other threads."""

    def __init__(self, remote: Remote, connections: int) -> None:
        """``connections``: at least 1."""
        self.remote = remote
        self._connections = connections
        self._lock = threading.Lock()
        self._streams: set[Any] = set()
        self._stopping = threading.Event()
        self._running = connections
        self._failed: BaseException | None = None

    def run(self) -> Summary:
        """Returns when all files are there, or can't be.

        Raises:
            LabcError: it could not even be begun.
        """
        threads = [threading.Thread(target=self._lead_to_the_end, name="labc files order", daemon=True)]
        for _ in range(self._connections):
            threads.append(threading.Thread(target=self._keep_connected, name="labc files", daemon=True))
        try:
            for thread in threads:
                thread.start()
            self._wait()
        except BaseException:  # Ctrl-C
            self.stop("it was interrupted")
            raise
        finally:
            self._close_streams()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()
        if self._failed is not None:
            raise self._failed
        return self._summary()

    def stop(self, why: str) -> None:
        """What has not come has failed."""
        self._give_up(why)
        self._close_streams()

    @abstractmethod
    def status(self) -> Status:
        """How far it is."""

    # What an order does.

    @abstractmethod
    def _lead(self) -> None:
        """Say which files there are. Raises what keeps it from that."""

    @abstractmethod
    def _connect(self, came: Callable[[], None]) -> None:
        """One connection, until there is nothing left for it. ``came()``: it has brought something.

        Raises:
            Exception: it broke.
        """

    @property
    @abstractmethod
    def _is_over(self) -> bool: ...

    @abstractmethod
    def _wait(self) -> None:
        """Returns when it is over."""

    @abstractmethod
    def _give_up(self, why: str) -> None:
        """It is over; what has not come has failed."""

    @abstractmethod
    def _summary(self) -> Summary: ...

    # Within.

    def _lead_to_the_end(self) -> None:
        try:
            self._lead()
        except Exception as error:  # whatever it is, it is told where it was ordered
            if not self._is_over:
                self._failed = error
                self._give_up(str(error))

    def _keep_connected(self) -> None:
        problem = self._again_and_again(self._connect)
        with self._lock:
            self._running -= 1
            is_last = not self._running
        if is_last and problem is not None and not self._is_over:
            self._give_up(str(problem))

    def _again_and_again(self, act: Callable[[Callable[[], None]], None]) -> Exception | None:
        """Try it until it succeeds, is refused, is not wanted any more, or fails three times in a row without anything
        that came.

        Returns:
            What it failed with in the end.
        """
        tries = Tries(self._stopping)
        while not self._is_over:
            try:
                act(tries.came)
            except (FilesError, RefusedError) as error:
                return error
            except Exception as error:  # also of a peer that makes no sense
                if not tries.again():
                    return error
            else:
                break
        return None

    def _opened(self, name: str, *args: Any) -> Iterator[Any]:
        """The values of a stream, which is closed when all is over."""
        stream = self.remote.stream(name, *args)
        with self._lock:
            self._streams.add(stream)
        try:
            if not self._stopping.is_set():
                yield from stream
        finally:
            with self._lock:
                self._streams.discard(stream)
            stream.close()

    def _close_streams(self) -> None:
        self._stopping.set()
        with self._lock:
            streams = list(self._streams)
        for stream in streams:
            stream.close()
