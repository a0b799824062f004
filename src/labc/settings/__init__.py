"""What can be set, and where it is set: see :class:`Settings`."""

from labc.settings.files import project_file, user_file
from labc.settings.settings import ENVIRONMENT_PREFIX, MAX_NAME_BYTES, Loaded, Settings, checked, near_keys, parsed

__all__ = [
    "ENVIRONMENT_PREFIX",
    "MAX_NAME_BYTES",
    "Loaded",
    "Settings",
    "checked",
    "near_keys",
    "parsed",
    "project_file",
    "user_file",
]
