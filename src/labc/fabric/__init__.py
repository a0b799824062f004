"""The only room that knows the engine: discovery, presence, topics and questions ride on Eclipse Zenoh."""

from labc.fabric.fabric import Fabric
from labc.fabric.handover import Handover
from labc.fabric.keys import Keys
from labc.fabric.medium import Declared, Medium, Publication, TokenEvent, new_id
from labc.fabric.neighbourhood import Neighbourhood
from labc.fabric.ports import root_ports
from labc.fabric.router_link import router_endpoints
from labc.fabric.site_router import SiteRouter
from labc.fabric.wide import Wide

__all__ = [
    "Declared",
    "Fabric",
    "Handover",
    "Keys",
    "Medium",
    "Neighbourhood",
    "Publication",
    "SiteRouter",
    "TokenEvent",
    "Wide",
    "new_id",
    "root_ports",
    "router_endpoints",
]
