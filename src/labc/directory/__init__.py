"""PURE. Who is in the network, who offers what, and which provider to choose."""

from labc.directory.access import Access, Here, Who
from labc.directory.addressing import Addressing, Endpoint
from labc.directory.choosing import (
    ORDERS,
    RESOLVES,
    Candidate,
    Order,
    Resolve,
    Rule,
    equals_of_the_first,
    order_candidates,
)
from labc.directory.directory import Directory
from labc.directory.event_queue import EventQueue
from labc.directory.names import CORE, check_function_name, check_name, check_pattern, check_topic, matches, near_names
from labc.directory.node_events import PATIENCE, History, NodeEvent
from labc.directory.records import NodeRecord, Offer
from labc.directory.scopes import DEFAULT, SCOPES, WIDEST, Scope, check_scope, distance, is_narrow, reaches
from labc.directory.wide import WideDirectory

__all__ = [
    "CORE",
    "DEFAULT",
    "ORDERS",
    "PATIENCE",
    "RESOLVES",
    "SCOPES",
    "WIDEST",
    "Access",
    "Addressing",
    "Candidate",
    "Directory",
    "Endpoint",
    "EventQueue",
    "Here",
    "History",
    "NodeEvent",
    "NodeRecord",
    "Offer",
    "Order",
    "Resolve",
    "Rule",
    "Scope",
    "Who",
    "WideDirectory",
    "check_function_name",
    "check_name",
    "check_pattern",
    "check_scope",
    "check_topic",
    "distance",
    "equals_of_the_first",
    "is_narrow",
    "matches",
    "near_names",
    "order_candidates",
    "reaches",
]
