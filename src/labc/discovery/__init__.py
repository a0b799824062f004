"""How the roots of a network find each other, whatever the local network lets through: see :class:`Carrier`."""

from labc.discovery.acquaintances import Heard
from labc.discovery.carrier import Carrier
from labc.discovery.sockets import SCOUTING_GROUP

__all__ = ["SCOUTING_GROUP", "Carrier", "Heard"]
