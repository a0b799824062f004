"""What a node knows of the computers that its rights name, and what it logs of refusals."""

from __future__ import annotations

import logging

import pytest

from labc.directory import NodeRecord, Who
from labc.errors import RefusedError
from labc.node import rights
from labc.node.rights import Rights
from labc.settings import Settings

HERE = NodeRecord("id", "host id", "computer1", "a")
BENCH1 = Who(address="10.0.0.5")
STRANGER = Who(address="10.0.0.66")


def made(access: dict[str, str]) -> Rights:
    settings, sources = Settings.load_with_sources({"XDG_CONFIG_HOME": "/nowhere"}, access=access)
    return Rights(HERE, settings, sources, None)


def look_up(those: Rights, own: tuple[str, ...] = ()) -> None:
    for name in those.access.names:
        those._look_one_up(name)
    those.access.learn(those._known, own)


def test_an_address_that_was_known_stays_while_nobody_can_tell(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    answers: list[list[str] | OSError] = [OSError("no network"), ["10.0.0.5"], OSError("no network"), ["10.0.0.66"]]

    def ips_of(name: str) -> list[str]:
        assert name == "bench1"
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    monkeypatch.setattr(rights, "ips_of", ips_of)
    those = made({"echo": "bench1"})
    allowed = []
    for _ in range(4):
        look_up(those)
        allowed.append([those.may("call", "echo", who) for who in (BENCH1, STRANGER)])
    assert allowed == [[False, False], [True, False], [True, False], [False, True]]
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "the address of bench1 (setting access) is not known, so it may do nothing that is limited",
        "the address of bench1 (setting access) is not known, so its old address counts",
    ]


def test_the_same_refusal_is_logged_once_and_many_not_without_end(caplog: pytest.LogCaptureFixture) -> None:
    those = made({"lights.*": "localhost", "publish ticks/**": "nobody"})
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            with pytest.raises(RefusedError, match=r"10\.0\.0\.66.*lights\.on.*argument"):
                those.check("call", "lights.on", STRANGER)
        assert [record.name for record in caplog.records] == ["labc.functions"]
        for number in range(10_000):
            with pytest.raises(RefusedError):
                those.check("publish", f"ticks/{number}", STRANGER)
        assert [record.name for record in caplog.records] == ["labc.functions", "labc.topics"]
        for number in range(1000):  # of many computers
            with pytest.raises(RefusedError):
                those.check("publish", "ticks/1", Who(address=f"10.{number // 256}.9.{number % 256}"))
    assert len(caplog.records) <= 256


def test_the_node_itself_may_do_everything() -> None:
    those = made({"**": "nobody"})
    those.check("call", "echo", None)
    those.check("call", "core.stop", None, True)
    with pytest.raises(RefusedError):
        those.check("call", "echo", Who(within_host=True))


def test_topics_that_are_limited() -> None:
    those = made({"subscribe secret": "localhost", "call open": "nobody", "publish free": "everybody"})
    assert those.limits_topic("secret")
    assert not any(map(those.limits_topic, ("open", "free", "other")))
    assert those.for_whom(["open", "other"]) is None
    check = those.for_whom(["other", "secret"])
    assert check is not None
    check(Who(within_host=True))
    with pytest.raises(RefusedError, match="secret"):
        check(STRANGER)
