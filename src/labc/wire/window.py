"""How much of a stream may still be sent."""

from __future__ import annotations


class Window:
    """The credit that the receiver of a stream has given to its sender: items and bytes.

    An item may be sent while both are above zero, and may overdraw the bytes: so an item of any size gets through
    a window of any size, and no more than one window and one item are ever under way.
    """

    __slots__ = ("bytes", "items")

    def __init__(self, items: int = 0, bytes: int = 0) -> None:
        self.items = items
        self.bytes = bytes

    @property
    def is_open(self) -> bool:
        """Whether the next item may be sent now."""
        return self.items > 0 and self.bytes > 0

    def grant(self, items: int, bytes: int) -> None:
        """The receiver gave more credit."""
        self.items += items
        self.bytes += bytes

    def spend(self, bytes: int) -> None:
        """An item of so many bytes is sent.

        Raises:
            ValueError: the window is closed.
        """
        if not self.is_open:
            raise ValueError(f"the window is closed: {self.items} items and {self.bytes} bytes are left")
        self.items -= 1
        self.bytes -= bytes
