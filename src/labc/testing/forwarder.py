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

# From linux/if_tun.h. NO_PI: frames as they are, without a header of the driver's.
TUNSETIFF = 0x400454CA
IFF_TAP = 0x0002
IFF_NO_PI = 0x1000

MAX_FRAME_BYTES = 1 << 16
MAX_FRAMES = 20_000  # held back in each direction; more are lost, as in a full switch
BURST = 64  # frames read from one side before the other has its turn

Held = deque[tuple[float, bytes]]


def open_tap(name: str) -> int:
    """Make a TAP interface and return its file descriptor; it reads and writes a frame at a time."""
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TAP | IFF_NO_PI))
    return tap


def take(tap: int, held: Held, due: float) -> None:
    """Read the frames that wait at ``tap``, to be passed on at ``due``."""
    with contextlib.suppress(BlockingIOError):
        for _ in range(BURST):
            frame = os.read(tap, MAX_FRAME_BYTES)
            if len(held) < MAX_FRAMES:
                held.append((due, frame))


def give(tap: int, held: Held, now: float) -> None:
    """Write the frames that have been held long enough."""
    while held and held[0][0] <= now:
        with contextlib.suppress(OSError):  # the interface is down or full: the frame is lost
            os.write(tap, held.popleft()[1])


def forward(first: int, second: int, seconds: float) -> None:
    """Pass frames on between the two, until stdin is closed."""
    ends = [(first, second, Held()), (second, first, Held())]
    while True:
        now = time.monotonic()
        for _, target, held in ends:
            give(target, held, now)
        waiting = [held[0][0] - now for _, _, held in ends if held]
        readable, _, _ = select.select([0, first, second], [], [], max(min(waiting), 0) if waiting else None)
        if 0 in readable:
            return
        due = time.monotonic() + seconds
        for source, _, held in ends:
            if source in readable:
                take(source, held, due)


if __name__ == "__main__":
    inner, outer, delay = sys.argv[1:]
    taps = open_tap(inner), open_tap(outer)
    print("ready", flush=True)
    forward(*taps, float(delay))
