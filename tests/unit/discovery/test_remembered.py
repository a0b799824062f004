"""What is remembered of roots that were met."""

from __future__ import annotations

from pathlib import Path

import pytest

from labc.discovery import remembered
from labc.discovery.remembered import MAX_ROOTS, MAX_TOTAL, Memory, Met, merged, read

NOW = 1_800_000_000.0
DAY = 86400.0


def met(address: str = "10.0.0.1", days_ago: float = 0.0, network: str = "net", port: int = 55555) -> Met:
    return Met(network, address, port, NOW - days_ago * DAY)


def test_the_latest_of_each_place_counts() -> None:
    assert merged([met(days_ago=3), met("10.0.0.2", 2)], [met(days_ago=1)], NOW) == [
        met(days_ago=1),
        met("10.0.0.2", 2),
    ]


def test_thirty_days_and_no_nonsense() -> None:
    assert merged([met(days_ago=29.9)], [], NOW) != []
    assert merged([met(days_ago=30.1)], [], NOW) == []
    assert merged([met("example.org"), met(port=0), met(port=70000)], [], NOW) == []


def test_the_numbers_are_bounded_and_the_latest_stay() -> None:
    many = [met(f"10.0.{number // 250}.{number % 250}", number / 100) for number in range(300)]
    kept = merged(many, [], NOW)
    assert kept == many[:MAX_ROOTS]
    networks = [met(f"10.0.0.{number}", network=f"net{other}") for other in range(20) for number in range(90)]
    assert len(merged(networks, [], NOW)) == MAX_TOTAL


def test_a_clock_that_was_wrong_does_not_keep_a_root_for_ever() -> None:
    (kept,) = merged([met(days_ago=-500)], [], NOW)
    assert kept.address == "10.0.0.1"
    assert (
        merged([kept, *[met(f"10.0.1.{n}") for n in range(MAX_ROOTS)]], [met("10.0.2.1")], NOW)[0].met
        <= NOW + 500 * DAY
    )


def test_what_was_noted_is_read_again_by_its_network_only(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "remembered.json"
    memory = Memory(path, "net")
    memory.load()
    assert memory.places == []
    assert memory.is_news([("10.0.0.1", 55555)], NOW)
    memory.note([("10.0.0.1", 55555)])
    again = Memory(path, "net")
    again.load()
    assert again.places == [("10.0.0.1", 55555)]
    other = Memory(path, "other")
    other.load()
    assert other.places == []
    other.note([("10.0.0.2", 1)])
    assert {root.network for root in read(path)} == {"net", "other"}
    assert list(path.parent.iterdir()) == [path], "no draft is left"


def test_it_is_written_once_an_hour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory(tmp_path / "f.json", "net")
    monkeypatch.setattr(remembered.time, "time", lambda: NOW)
    memory.note([("10.0.0.1", 1)])
    assert not memory.is_news([("10.0.0.1", 1)], NOW + 3599)
    assert memory.is_news([("10.0.0.1", 1)], NOW + 3601)
    assert not memory.is_news([], NOW)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"roots": 3}', '{"roots": [{"network": 1}]}', "\0", '{"other": 1}'])
def test_a_broken_file_is_ignored_and_replaced(tmp_path: Path, text: str) -> None:
    path = tmp_path / "remembered.json"
    path.write_text(text, encoding="utf-8")
    memory = Memory(path, "net")
    memory.load()
    assert memory.places == []
    memory.note([("10.0.0.1", 1)])
    assert [root.address for root in read(path)] == ["10.0.0.1"]


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "remembered.json"
    path.write_bytes(b"\xff\xfe")
    assert read(path) == []


def test_a_folder_that_can_not_be_written_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    memory = Memory(tmp_path / "file" / "remembered.json", "net")
    memory.load()
    memory.note([("10.0.0.1", 1)])
    assert memory.places == [("10.0.0.1", 1)]
