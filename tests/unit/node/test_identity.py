"""Who this process is."""

from __future__ import annotations

import sys
import uuid

import pytest

from labc.node.identity import host_id


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is nothing else to tell hosts apart by")
def test_the_network_card_is_not_asked_on_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's look for it loses a Ctrl-C."""
    monkeypatch.setattr(uuid, "getnode", lambda: pytest.fail("it was asked"))
    assert len(host_id.__wrapped__()) == 16
