"""Direct connections between two nodes: the only room with sockets."""

from labc.lanes.addresses import ips_of
from labc.lanes.crowd import Notices
from labc.lanes.direct import DirectLane
from labc.lanes.lane import Answer, DeadlineError, Lane
from labc.lanes.pool import Pool
from labc.lanes.streams import Inlet, Outlet

__all__ = ["Answer", "DeadlineError", "DirectLane", "Inlet", "Lane", "Notices", "Outlet", "Pool", "ips_of"]
