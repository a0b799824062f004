"""PURE. Who is in the network, who offers what, and which provider to choose."""

from labc.directory.choosing import Candidate, equally_near, order_candidates
from labc.directory.directory import Directory
from labc.directory.event_queue import EventQueue
from labc.directory.names import check_name, check_pattern, check_topic, matches, near_names
from labc.directory.node_events import PATIENCE, History, NodeEvent
from labc.directory.records import NodeRecord, Offer

__all__ = [
    "PATIENCE",
    "Candidate",
    "Directory",
    "EventQueue",
    "History",
    "NodeEvent",
    "NodeRecord",
    "Offer",
    "check_name",
    "check_pattern",
    "check_topic",
    "equally_near",
    "matches",
    "near_names",
    "order_candidates",
]
