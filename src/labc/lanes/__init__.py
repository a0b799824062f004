"""Direct connections between two nodes: the only room with sockets."""

from labc.lanes.direct import DirectLane
from labc.lanes.lane import Answer, DeadlineError, Lane
from labc.lanes.pool import Pool

__all__ = ["Answer", "DeadlineError", "DirectLane", "Lane", "Pool"]
