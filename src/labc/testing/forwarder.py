"""A slow piece of cable: passes Ethernet frames between two TAP interfaces, each after a while.

A program of its own, run in the namespace of the virtual hosts' switch, that imports nothing of labc:
``python forwarder.py INTERFACE INTERFACE SECONDS``. It makes the two interfaces, prints ``ready``, and ends,
and they with it, when its stdin is closed.
"""

import contextlib
import fcntl
import os
import select
import struct
import sys
import time
from collections import deque

# From linux/if_tun.h. NO_PI: frames as they are, without a header of the driver. VNET_HDR: but with one that says what
# the system that sends has left to do, checksums and cutting into packets, and that which receives may leave as well:
# so a frame holds up to 64 KiB, and there are far fewer of them.
TUNSETIFF = 0x400454CA
TUNSETOFFLOAD = 0x400454D0
IFF_TAP = 0x0002
IFF_NO_PI = 0x1000
IFF_VNET_HDR = 0x4000
TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6 = 1, 2, 4

MAX_FRAME_BYTES = 1 << 17
MAX_HELD_BYTES = 64 << 20  # held back in each direction; more are lost, as in a full switch
BURST = 64  # frames read from one side before the other has its turn


def open_tap(name: str) -> int:
    """Make a TAP interface and return its file descriptor; it reads and writes a frame at a time."""
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
    fcntl.ioctl(tap, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6)
    return tap


class Direction:
    """From one TAP interface to another."""

    def __init__(self, source: int, target: int) -> None:
        self.source = source
        self._target = target
        self._held: deque[tuple[float, bytes]] = deque()
        self._bytes = 0

    @property
    def due(self) -> float | None:
        """When the next frame is to be passed on; None: there is none."""
        return self._held[0][0] if self._held else None

    def take(self, due: float) -> None:
        """Read the frames that wait, to be passed on at ``due``."""
        with contextlib.suppress(BlockingIOError):
            for _ in range(BURST):
                frame = os.read(self.source, MAX_FRAME_BYTES)
                if self._bytes < MAX_HELD_BYTES:
                    self._held.append((due, frame))
                    self._bytes += len(frame)

    def give(self, now: float) -> None:
        """Write the frames that have been held long enough."""
        while self._held and self._held[0][0] <= now:
            _, frame = self._held.popleft()
            self._bytes -= len(frame)
            with contextlib.suppress(OSError):  # the interface is down or full: the frame is lost
                os.write(self._target, frame)


def forward(first: int, second: int, seconds: float) -> None:
    """Pass frames on between the two, until stdin is closed."""
    directions = Direction(first, second), Direction(second, first)
    while True:
        now = time.monotonic()
        for direction in directions:
            direction.give(now)
        dues = [direction.due for direction in directions if direction.due is not None]
        readable, _, _ = select.select([0, first, second], [], [], max(min(dues) - now, 0) if dues else None)
        if 0 in readable:
            return
        due = time.monotonic() + seconds
        for direction in directions:
            if direction.source in readable:
                direction.take(due)


if __name__ == "__main__":
    inner, outer, delay = sys.argv[1:]
    taps = open_tap(inner), open_tap(outer)
    print("ready", flush=True)
    forward(*taps, float(delay))
