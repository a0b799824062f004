"""Direct connections between two nodes: the only room with sockets."""

from labc.lanes.addresses import ips_of
from labc.lanes.crowd import Notices
from labc.lanes.direct import DirectLane
from labc.lanes.lane import Answer, DeadlineError, Lane
from labc.lanes.pool import Pool

__all__ = ["Answer", "DeadlineError", "DirectLane", "Lane", "Notices", "Pool", "ips_of"]
