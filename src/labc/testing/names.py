"""Network names for tests, so that runs at the same time, on one machine or one LAN, do not meet."""

from __future__ import annotations

import os
import secrets


def free_network_name() -> str:
    """A network name that nobody else uses: ``test-<process id>-<random>``."""
    return f"test-{os.getpid()}-{secrets.token_hex(4)}"
