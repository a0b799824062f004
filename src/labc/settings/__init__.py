"""What can be set, and where it is set: see :class:`Settings`."""

from labc.settings.files import entries, project_file, read_text, replace_text, state_folder, user_file
from labc.settings.places import (
    ROUTER_PORT,
    AddressRange,
    HostPlace,
    RouterPlace,
    address_range,
    host_place,
    router_place,
    subnet,
)
from labc.settings.settings import MAX_NAME_BYTES, MAX_SCANNED, Loaded, Settings, checked, near_keys, parsed

__all__ = [
    "MAX_NAME_BYTES",
    "MAX_SCANNED",
    "ROUTER_PORT",
    "AddressRange",
    "HostPlace",
    "Loaded",
    "RouterPlace",
    "Settings",
    "address_range",
    "checked",
    "entries",
    "host_place",
    "near_keys",
    "parsed",
    "project_file",
    "read_text",
    "replace_text",
    "router_place",
    "state_folder",
    "subnet",
    "user_file",
]
