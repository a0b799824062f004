"""What ``labc.stream()`` returns: the values of a generator elsewhere, for readers that block."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

from labc.errors import BlockingCallError, ClosedError, ForkedError, PeerLostError
from labc.functions import EndOfStream, Receiver, WaitedLongEnoughError, find_current_call
from labc.node import Runtime, Wish, process, too_late
from labc.portal import Portal


class BlockingStream:
    """The values of a generator of the network, as they come: ``for value in labc.stream("camera")``.

    The generator is closed when this is let go of, by ``break`` for one, when it is closed, when reading it is
    interrupted, and when this program ends or dies. For one reader, in any thread.
    """

    def __init__(self, portal: Portal, wish: Wish) -> None:
        self._portal = portal
        self._wish = wish
        self._timeout = math.inf if wish.options.timeout is None else wish.options.timeout
        self._process = os.getpid()
        self._closed = False
        self._taken: deque[Any] = deque()
        self._receiver: Receiver | None = None
        self._node = portal.node()
        with interrupted(self.close):
            self._rooms, _ = open_stream(portal, wish, self._keep)

    @property
    def skipped(self) -> int:
        """With ``latest``: values that came here and were not read, as a newer one came."""
        return self._receiver.skipped if self._receiver else 0

    def close(self) -> None:
        """Read no more; the generator is closed. Closing twice is harmless."""
        self._closed = True
        self._taken.clear()
        if self._receiver is not None and os.getpid() == self._process:
            self._receiver.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if not self._taken:
            with interrupted(self.close):
                self._taken.extend(self._next_values())
        return self._taken.popleft()

    def _next_values(self) -> list[Any]:
        """Raises StopIteration, in the end."""
        if self._closed or self._receiver is None:
            raise StopIteration
        if self._rooms.is_here():
            raise BlockingCallError("stream", f"`async for ... in labc.aio.stream({self._wish.name!r})`")
        if os.getpid() != self._process:
            raise ForkedError
        call = find_current_call()
        try:
            return self._receiver.take(self._timeout, lambda: call is not None and call.cancelled)
        except EndOfStream:
            raise StopIteration from None
        except WaitedLongEnoughError:
            self.close()
            raise too_late(self._wish, self._receiver) from None
        except ClosedError:
            if self._closed:  # meanwhile, by another thread
                raise StopIteration from None
            raise
        except PeerLostError:
            if self._node in process.nodes:
                raise
            self._portal.stay_out_if_leaving()
            raise ClosedError(f"the node {self._node.name!r} was closed before the stream ended") from None

    def _keep(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def __del__(self) -> None:
        if getattr(self, "_receiver", None) is not None:
            self.close()


def open_stream(portal: Portal, wish: Wish, keep: Callable[[Receiver], object]) -> tuple[Runtime, Receiver]:
    """Returns when somebody was asked. ``keep`` is given the receiver before."""

    async def open(rooms: Runtime) -> tuple[Runtime, Receiver]:
        return rooms, await wish.open(rooms, keep)

    return portal.run("stream", open)


@contextmanager
def interrupted(close: Callable[[], object]) -> Iterator[None]:
    """What is interrupted in here, by Ctrl-C for one, is closed: the traceback keeps it, and it would live on."""
    try:
        yield
    except Exception:
        raise
    except BaseException:
        close()
        raise
