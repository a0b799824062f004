"""What ``at(...)`` sets for the verbs that follow, apart from the function's own arguments."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """None: as the settings say."""

    timeout: float | None = None
    """Seconds until the answer must be there."""
    find_timeout: float | None = None
    """Seconds to wait for somebody to offer the name; 0: at once."""
    host: str | None = None
    """Only providers on the host of this name."""
    node: str | None = None
    """Only the node of this name or id."""
    retry: int = 0
    """How often to ask again, another provider if there is one, when a provider is lost and the function may
    have run: only for functions that may run twice."""

    def __post_init__(self) -> None:
        for key in ("timeout", "find_timeout"):
            value = getattr(self, key)
            if value is not None and not (_is_number(value) and value >= 0):
                raise ValueError(f"at({key}={value!r}): expected seconds, not negative")
        for key in ("host", "node"):
            value = getattr(self, key)
            if value is not None and not (isinstance(value, str) and value):
                raise ValueError(f"at({key}={value!r}): expected the name of a {key}")
        if isinstance(self.retry, bool) or not isinstance(self.retry, int) or self.retry < 0:
            raise ValueError(f"at(retry={self.retry!r}): expected a whole number, not negative")

    def but(self, **given: Any) -> Self:
        """These options with others; None: as it is."""
        return replace(self, **{key: value for key, value in given.items() if value is not None})


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        float(value)
    except OverflowError:
        return False
    return True
