"""What a node makes of editions that come over the fabric, without one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
from keyed import make_members

from labc.fabric import Publication
from labc.node.vouching import Vouching
from labc.security.authority import revoke
from labc.security.trust import Trust


def told(number: int, text: str) -> Publication:
    return Publication("key", msgspec.msgpack.encode([number, text]), None, "")


def test_forged_editions_do_not_hide_the_true_one(tmp_path: Path) -> None:
    """As a member would send them who is about to be revoked."""
    asyncio.run(_take_the_true_one_of_several(tmp_path))


async def _take_the_true_one_of_several(tmp_path: Path) -> None:
    members = make_members(tmp_path, "lab1", ["founder", "other", "revoked"])
    true = revoke(members["founder"], [2], datetime.now(UTC))
    forged = [Trust(number, true.seats | {2}, true.certificates, b"forged") for number in (true.number, 999_999_999)]
    fabric: Any = SimpleNamespace(root_port=1)
    pool: Any = None
    vouching = Vouching(members["other"], fabric, pool)
    arrived: Callable[[list[Publication]], None] = vouching._arrived
    arrived([told(forged[0].number, forged[0].text())])
    arrived([told(forged[1].number, forged[1].text()), told(true.number, true.text())])
    arrived([told(forged[1].number, forged[1].text())])
    await vouching._take_newer()
    assert members["other"].read_trust() == true
    assert vouching.refused >= 2
