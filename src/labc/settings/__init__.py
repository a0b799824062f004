"""What can be set, and where it is set: see :class:`Settings`."""

from labc.settings.files import entries, project_file, read_text, replace_text, user_file
from labc.settings.settings import MAX_NAME_BYTES, Loaded, Settings, checked, near_keys, parsed

__all__ = [
    "MAX_NAME_BYTES",
    "Loaded",
    "Settings",
    "checked",
    "entries",
    "near_keys",
    "parsed",
    "project_file",
    "read_text",
    "replace_text",
    "user_file",
]
