"""A camera. Try it with `labc serve camera.py`, and from anywhere `labc call camera.take`."""

import math
import time

import labc

try:
    import numpy
except ImportError:  # then a picture is a list of rows
    numpy = None


@labc.register(name="camera.take")
def take(exposure: float = 0.01):
    """Take a picture, as rows of grey values. It is brighter with a longer exposure, in seconds."""
    time.sleep(exposure)
    rows = [[brightness(x, y, exposure) for x in range(64)] for y in range(48)]
    labc.publish("camera/taken", exposure=exposure)
    return rows if numpy is None else numpy.array(rows)


def brightness(x: int, y: int, exposure: float) -> float:
    return 10_000 * exposure * math.exp(-((x - 40) ** 2 + (y - 30) ** 2) / 50)


if __name__ == "__main__":
    labc.serve()
