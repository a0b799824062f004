"""How the values of a test are called in its name: the same in every process that runs tests."""

from __future__ import annotations

import re


def label(value: object) -> str:
    """As Python shows it, without addresses, and with the items of a set in order."""
    if isinstance(value, set | frozenset):
        return f"{type(value).__name__} of {', '.join(sorted(map(label, value)))}"[:60]
    return re.sub(r" at 0x[0-9a-fA-F]+", "", ascii(value))[:60]
