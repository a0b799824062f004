"""What ``labc.stream()`` returns: the values of a generator elsewhere, for readers that block."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

from labc.errors import BlockingCallError, ClosedError, PeerLostError
from labc.functions import EndOfStream, Receiver, WaitedLongEnoughError, find_current_call
from labc.node import Wish, process, too_late
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
        self._closed = False
        self._taken: deque[Any] = deque()
        self._receiver: Receiver | None = None
        self._node = portal.node()
        self._is_here = self._node.rooms().is_here
        with interrupted(self.close):
            portal.run("stream", lambda rooms: wish.open(rooms, self._keep), self._node)

    @property
    def skipped(self) -> int:
        """With ``latest``: values that came here and were not read, as a newer one came."""
        return self._receiver.skipped if self._receiver else 0

    def close(self) -> None:
        """Read no more; the generator is closed. Closing twice is harmless."""
        self._closed = True
        self._taken.clear()
        if self._receiver is not None:
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
        if self._is_here():
            raise BlockingCallError("stream", f"`async for ... in labc.aio.stream({self._wish.name!r})`")
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
