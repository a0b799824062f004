"""What can be set, and where it is set: see :class:`Settings`."""

from labc.settings.files import entries, project_file, read_text, replace_text, state_folder, user_file
from labc.settings.interfaces import InterfaceAddress, Interfaces
from labc.settings.places import (
    ROUTER_PORT,
    AddressRange,
    HostPlace,
    RouterPlace,
    address_range,
    host_place,
    port_range,
    router_place,
    subnet,
)
from labc.settings.rights import EVERYBODY, LOCALHOST, NOBODY, VERBS, Right, Verb, plain_person, right, seat_number
from labc.settings.settings import MAX_NAME_BYTES, MAX_SCANNED, Loaded, Settings, checked, near_keys, parsed
from labc.settings.shares import Share, is_share_name

__all__ = [
    "EVERYBODY",
    "LOCALHOST",
    "MAX_NAME_BYTES",
    "MAX_SCANNED",
    "NOBODY",
    "ROUTER_PORT",
    "VERBS",
    "AddressRange",
    "HostPlace",
    "InterfaceAddress",
    "Interfaces",
    "Loaded",
    "Right",
    "RouterPlace",
    "Settings",
    "Share",
    "Verb",
    "address_range",
    "checked",
    "entries",
    "host_place",
    "is_share_name",
    "near_keys",
    "parsed",
    "plain_person",
    "port_range",
    "project_file",
    "read_text",
    "replace_text",
    "right",
    "router_place",
    "seat_number",
    "state_folder",
    "subnet",
    "user_file",
]
