"""One of several workers that find the bright spot in a picture: `python worker.py NAME`."""

import sys
import time

import labc

NAME = sys.argv[1] if len(sys.argv) > 1 else "worker"


@labc.register
def find_spot(picture) -> dict:
    """Where a picture is brightest, and who looked."""
    time.sleep(0.1)  # stands for a long computation
    rows = [max(row) for row in picture]
    y = rows.index(max(rows))
    x = list(picture[y]).index(rows[y])
    return {"x": x, "y": y, "by": NAME}


if __name__ == "__main__":
    labc.init(name=NAME)
    labc.serve()
