"""What ``labc.stream()`` and ``labc.map()`` return: values as they come, for readers that block."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self, cast

from labc.errors import BlockingCallError, ClosedError, PeerLostError
from labc.functions import EndOfStream, WaitedLongEnoughError, find_current_call
from labc.node import MapWish, Wish, process
from labc.portal import Portal, running_loop


class BlockingValues:
    """Values as they come, for one reader, in any thread. Let go of, by ``break`` for one, it is closed; and when
    reading it is interrupted, and when this program ends or dies."""

    def __init__(self, portal: Portal, wish: Wish) -> None:
        self._portal = portal
        self._wish = wish
        self._timeout = math.inf if wish.patience is None else wish.patience
        self._closed = False
        self._taken: deque[Any] = deque()
        self._inbox: Any = None
        self._node = portal.node()
        self._is_here = self._node.rooms().is_here
        wish.blocked = running_loop()
        with interrupted(self.close):
            portal.run(wish.verb, lambda rooms: wish.open(rooms, self._keep), self._node)
            if wish.begin is not None:
                wish.begin()

    def close(self) -> None:
        """Read no more. Closing twice is harmless."""
        self._closed = True
        self._taken.clear()
        self._wish.ended()
        if self._inbox is not None:
            self._inbox.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if not self._taken:
            with interrupted(self.close):
                try:
                    self._taken.extend(self._next_values())
                except Exception:
                    self._wish.ended()
                    raise
        try:
            if not self._closed:
                return self._taken.popleft()
        except IndexError:  # closed meanwhile, by another thread
            pass
        raise StopIteration

    def _next_values(self) -> list[Any]:
        """Raises StopIteration, in the end."""
        wish = self._wish
        if self._closed or self._inbox is None:
            raise StopIteration
        if self._is_here():
            raise BlockingCallError(wish.verb, f"`async for ... in labc.aio.{wish.verb}({wish.name!r})`")
        call = find_current_call()
        try:
            values: list[Any] = self._inbox.take(self._timeout, lambda: call is not None and call.cancelled)
            return values
        except EndOfStream:
            raise StopIteration from None
        except WaitedLongEnoughError:
            self.close()
            raise wish.too_late(self._inbox) from None
        except ClosedError:
            if self._closed:  # meanwhile, by another thread
                raise StopIteration from None
            raise
        except PeerLostError:
            if self._node in process.nodes:
                raise
            self._portal.stay_out_if_leaving()
            raise ClosedError(f"the node {self._node.name!r} was closed before the {wish.verb} ended") from None

    def _keep(self, inbox: Any) -> None:
        self._inbox = inbox

    def __del__(self) -> None:
        if getattr(self, "_inbox", None) is not None:
            self.close()


class BlockingStream(BlockingValues):
    """The values of a generator of the network, as they come: ``for value in labc.stream("camera")``.

    The generator is closed when this is let go of, by ``break`` for one, when it is closed, when reading it is
    interrupted, and when this program ends or dies. For one reader, in any thread.
    """

    @property
    def skipped(self) -> int:
        """With ``latest``: values that came here and were not read, as a newer one came."""
        return self._inbox.skipped if self._inbox else 0


class BlockingMap(BlockingValues):
    """What becomes of the items of a ``map``, as it comes: ``for outcome in labc.map("texture", pictures)``.

    When this is let go of, by ``break`` for one, when it is closed, when reading it is interrupted, and when this
    program ends or dies, no more items are read, and those under way are cancelled. For one reader, in any thread.
    """

    @property
    def shares(self) -> dict[str, int]:
        """How many items each node has finished, by its name; where several have it, with their hosts and ids."""
        return cast(MapWish, self._wish).shares


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
