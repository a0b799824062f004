"""What a node makes of editions that come over the fabric, without one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from keyed import make_members

from labc.fabric import Publication
from labc.node import vouching
from labc.node.vouching import Vouching
from labc.security import Credentials
from labc.security.authority import revoke
from labc.security.trust import Trust


def told(number: int, text: str) -> Publication:
    return Publication("key", msgspec.msgpack.encode([number, text]), None, "")


def test_forged_editions_do_not_hide_the_true_one(tmp_path: Path) -> None:
    """As a member would send them who is about to be revoked."""
    asyncio.run(_take_the_true_one_of_several(tmp_path))


def test_what_fails_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a library that was replaced, and can't be loaded, under a program that runs."""
    founder = make_members(tmp_path, "lab1", ["founder"])["founder"]
    looks: list[int] = []

    async def fail_once(_: Vouching) -> None:
        looks.append(1)
        if len(looks) == 1:
            raise ImportError("cannot import name 'adopt'")

    monkeypatch.setattr(vouching, "_AFTER_FAILURE", 0.01)
    monkeypatch.setattr(Vouching, "_take_newer", fail_once)
    asyncio.run(_wait_for_an_edition(founder))


async def _wait_for_an_edition(founder: Credentials) -> None:
    async def subscribe(*_: Any) -> None: ...

    came = asyncio.Event()
    keys = SimpleNamespace(trust="trust")
    fabric: Any = SimpleNamespace(root_port=None, keys=keys, subscribe=subscribe, renew=came.set)
    node = Vouching(founder, fabric, [], lambda _: None)
    await node.open()
    revoke(founder, [2], datetime.now(UTC))
    async with asyncio.timeout(10):
        await came.wait()
    node.close()


async def _take_the_true_one_of_several(tmp_path: Path) -> None:
    members = make_members(tmp_path, "lab1", ["founder", "other", "revoked"])
    true = revoke(members["founder"], [2], datetime.now(UTC))
    forged = [Trust(number, true.seats | {2}, true.certificates, b"forged") for number in (true.number, 999_999_999)]
    fabric: Any = SimpleNamespace(root_port=1)
    node = Vouching(members["other"], fabric, [], lambda _: None)
    arrived: Callable[[list[Publication]], None] = node._arrived
    arrived([told(forged[0].number, forged[0].text())])
    arrived([told(forged[1].number, forged[1].text()), told(true.number, true.text())])
    arrived([told(forged[1].number, forged[1].text())])
    await node._take_newer()
    assert members["other"].read_trust() == true
    assert node.refused >= 2
