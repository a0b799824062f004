"""The only room that knows the engine: discovery, presence, topics and questions ride on Eclipse Zenoh."""

from labc.fabric.fabric import Declared, Fabric, Publication, TokenEvent, new_id
from labc.fabric.handover import Handover
from labc.fabric.keys import Keys
from labc.fabric.neighbourhood import Neighbourhood
from labc.fabric.ports import root_ports

__all__ = [
    "Declared",
    "Fabric",
    "Handover",
    "Keys",
    "Neighbourhood",
    "Publication",
    "TokenEvent",
    "new_id",
    "root_ports",
]
