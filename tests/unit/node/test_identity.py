"""Who this process is."""

from __future__ import annotations

import sys
import uuid

import pytest

from labc.node.identity import _digest, host_id


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is nothing else to tell hosts apart by")
def test_the_network_card_is_not_asked_on_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's look for it loses a Ctrl-C."""
    monkeypatch.setattr(uuid, "getnode", lambda: pytest.fail("it was asked"))
    assert len(host_id.__wrapped__()) == 16


def test_a_host_has_the_same_id_in_every_version_of_python() -> None:
    assert _digest(b"123456789") == "cbf43926015f0201"  # the check value of CRC-32, and the CRC of "987654321"
    assert _digest(b"boot/4:1") != _digest(b"boot/4:2")
