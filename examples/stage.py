"""A microscope's stage that moves in x and y, and tells everybody where it is."""

import asyncio

import labc
from labc import aio

TRAVEL_MM = 25.0
STEPS = 5
position = [0.0, 0.0]


@labc.register(name="stage.move")
async def move(x: float, y: float) -> list[float]:
    """Move to (x, y), in mm; the position then reached."""
    for axis, target in (("x", x), ("y", y)):
        if not 0.0 <= target <= TRAVEL_MM:
            raise ValueError(f"{axis} = {target:g} mm is outside of the travel, 0 to {TRAVEL_MM:g} mm")
    start = list(position)
    for step in range(1, STEPS + 1):
        await asyncio.sleep(0.05)
        position[:] = [a + (b - a) * step / STEPS for a, b in zip(start, (x, y), strict=True)]
        await aio.publish("stage/position", *position)
    return position


if __name__ == "__main__":
    labc.serve()
