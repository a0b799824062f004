"""What ``labc.stream()`` returns: the values of a generator elsewhere, for readers that block."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Self

from labc.errors import BlockingCallError, ClosedError, LabcError, PeerLostError
from labc.functions import EndOfStream, Options, Receiver, Values
from labc.node import process, too_late
from labc.node.streams import Open
from labc.portal import Portal


class BlockingStream:
    """The values of a generator of the network, as they come: ``for value in labc.stream("camera")``.

    The generator is closed when this is let go of, by ``break`` for one, when it is closed, and when this program ends
    or dies. For one reader, in any thread.
    """

    def __init__(self, portal: Portal, open: Open, name: str, options: Options) -> None:
        self._portal = portal
        self._name = name
        self._timeout = math.inf if options.timeout is None else options.timeout
        self._node = portal.node()
        self._is_here: Callable[[], bool] = self._node.rooms().is_here
        self._values: Values | None = None
        receiver: Receiver = portal.run("stream", open, self._node)
        self._values = Values(receiver)
        self._closed = False

    @property
    def skipped(self) -> int:
        """With ``latest``: values that came here and were not read, as a newer one came."""
        return self._values.receiver.skipped if self._values else 0

    def close(self) -> None:
        """Read no more; the generator is closed. Closing twice is harmless."""
        self._closed = True
        if self._values is not None:
            self._values.receiver.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        assert self._values is not None
        if self._closed:
            raise StopIteration
        if self._is_here():
            raise BlockingCallError("stream", f"`async for ... in labc.aio.stream({self._name!r})`")
        try:
            return self._values.next(self._timeout)
        except EndOfStream:
            raise StopIteration from None
        except PeerLostError:
            if self._node in process.nodes:
                raise
            self._portal.stay_out_if_leaving()
            raise ClosedError(f"the node {self._node.name!r} was closed before the stream came to its end") from None
        except ClosedError:
            if self._closed:  # meanwhile, by another thread
                raise StopIteration from None
            raise
        except LabcError:
            raise
        except TimeoutError:
            self.close()
            raise too_late(self._name, self._timeout) from None

    def __del__(self) -> None:
        if (values := getattr(self, "_values", None)) is not None:
            values.receiver.close()
