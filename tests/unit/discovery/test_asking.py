"""When whom is asked."""

from __future__ import annotations

import itertools

from labc.discovery.asking import PERIOD, QUICK, Ask, Asking
from labc.discovery.scanning import Scan
from labc.settings import Settings, address_range


def asked(asking: Asking | Scan, until: float, since: float = 0.0) -> list[tuple[float, Ask]]:
    """What is asked if one looks exactly when it is due."""
    found = []
    now = since
    while now <= until:
        found += [(now, ask) for ask in asking.due(now, frozenset())]
        now = max(asking.next_due(), now + 1e-6)
    return found


def make(*, multicast: bool = False, chance: float = 0.0) -> Asking:
    return Asking(multicast=multicast, now=0.0, chance=lambda: chance)


def test_quickly_at_first_then_every_few_seconds_for_ever() -> None:
    asking = make(multicast=True)
    times = [when for when, _ in asked(asking, 100.0)]
    assert times[: len(QUICK)] == list(QUICK)
    later = times[len(QUICK) - 1 :]
    assert {round(b - a, 6) for a, b in itertools.pairwise(later)} == {PERIOD}
    assert later[-1] > 90


def test_the_longest_pause_leaves_time_for_a_lost_datagram() -> None:
    assert 2 * PERIOD <= 10.0


def test_hosts_that_start_together_drift_apart() -> None:
    early, late = (asked(make(multicast=True, chance=chance), 20.0) for chance in (0.99, 0.0))
    assert early[-1][0] != late[-1][0]


def test_each_place_is_asked_on_its_ports() -> None:
    asking = make()
    asking.set_places("hosts", [("10.0.0.5", 1), ("10.0.0.5", 2), ("10.0.0.6", 1), ("10.0.0.5", 1)], 0.0)
    asks = {Ask("hosts", "10.0.0.5", 1), Ask("hosts", "10.0.0.5", 2), Ask("hosts", "10.0.0.6", 1)}
    found = asking.due(0.0, frozenset())
    assert set(found) == asks
    assert len(found) == 3
    assert asking.due(0.0, frozenset()) == []


def test_the_linked_and_the_own_are_not_asked_and_are_again_when_that_ends() -> None:
    asking = make()
    asking.set_places("hosts", [("10.0.0.5", 1), ("10.0.0.6", 1)], 0.0)
    asking.set_own({"10.0.0.6"})
    assert asking.due(0.0, {"10.0.0.5"}) == []
    assert asking.due(0.25, frozenset()) == [Ask("hosts", "10.0.0.5", 1)]


def test_after_a_change_it_asks_quickly_again() -> None:
    asking = make(multicast=True)
    asked(asking, 20.0)
    before = asking.next_due()
    asking.restart(20.5)
    assert before > 20.5
    assert [when for when, _ in asked(asking, 30.0, since=20.1) if when <= 24.5] == [
        20.5 + pause for pause in QUICK[:5]
    ]


def test_changes_in_quick_succession_do_not_keep_it_from_asking() -> None:
    asking = make(multicast=True)
    scan = make_scan("10.0.0.0/24", rate=100.0)
    asks = []
    for tenth in range(200):
        now = tenth / 10
        asking.restart(now + 0.5)
        scan.restart(now + 0.5)
        asks += [(now, ask) for ask in [*asking.due(now, frozenset()), *scan.due(now, frozenset())]]
    assert 4 <= len([ask for _, ask in asks if ask.method == "multicast"]) <= 4 * 20
    assert {ask.address for _, ask in asks if ask.method == "scan"} == {f"10.0.0.{number}" for number in range(1, 255)}


def test_places_come_and_go_and_the_others_keep_their_rhythm() -> None:
    asking = make()
    asking.set_places("hosts", [("10.0.0.5", 1)], 0.0)
    asked(asking, 20.0)
    due = asking.next_due()
    asking.set_places("hosts", [("10.0.0.5", 1), ("10.0.0.6", 1)], 21.0)
    assert asking.due(21.0, frozenset()) == [Ask("hosts", "10.0.0.6", 1)]
    asking.set_places("hosts", [("10.0.0.5", 1)], 21.0)
    assert asking.next_due() == due
    asking.set_places("hosts", [], 22.0)
    assert asking.next_due() == float("inf")


def test_what_a_sleep_missed_is_not_made_up_for() -> None:
    asking = make(multicast=True)
    asking.due(0.0, frozenset())
    assert len(asking.due(1000.0, frozenset())) == 1
    assert asking.due(1000.0, frozenset()) == []


def make_scan(text: str, rate: float = 100.0, ports: tuple[int, ...] = (1, 2, 3, 4)) -> Scan:
    scan = Scan(ports, rate, 0.0)
    scan.set_ranges([address_range(text)], 0.0)
    return scan


def test_a_scan_asks_one_address_after_the_other_at_the_first_port_and_at_a_spare() -> None:
    asks = [ask for _, ask in asked(make_scan("10.0.0.0/29"), 4.0)]
    addresses = [f"10.0.0.{number}" for number in range(1, 7)]
    assert [(ask.address, ask.port) for ask in asks] == [(a, port) for a in addresses for port in (1, 2)]


def test_a_scan_at_the_default_rate_leaves_room_in_the_table_of_neighbours() -> None:
    scan = make_scan("10.0.0.0/20", rate=Settings().scan_rate)
    asks = asked(scan, 10.0)
    for start in range(7):  # Linux looks for 3 s for one that does not answer, and has room for 1024 (arp(7))
        assert 300 < len({ask.address for when, ask in asks if start <= when < start + 3}) < 512


def test_a_scan_comes_to_every_spare() -> None:
    asks = asked(make_scan("10.0.0.1"), 16.0)
    assert {ask.port for _, ask in asks} == {1, 2, 3, 4}
    assert [when for when, ask in asks if ask.port == 1][1] >= PERIOD


def test_a_scan_keeps_its_rate_also_after_a_sleep() -> None:
    scan = make_scan("10.0.0.0/22", rate=100.0)
    times = [when for when, _ in asked(scan, 10.0)]
    assert 900 <= len(times) <= 1010
    for start in range(10):
        assert len([when for when in times if start <= when < start + 1]) <= 110
    assert len(scan.due(5000.0, frozenset())) <= 6


def test_a_slow_scan_asks_too() -> None:
    times = [when for when, _ in asked(make_scan("10.0.0.0/24", rate=1.0), 20.0)]
    assert 15 <= len(times) <= 21


def test_a_scan_spares_some_and_keeps_to_a_port_that_is_given() -> None:
    scan = make_scan("10.0.0.1-10.0.0.3:77")
    found = [ask for now in range(3) for ask in scan.due(float(now), {"10.0.0.2"})]
    assert [(ask.address, ask.port) for ask in found] == [("10.0.0.1", 77), ("10.0.0.3", 77)]


def test_nothing_to_scan_is_never_due() -> None:
    assert Scan((1,), 10.0, 0.0).next_due() == float("inf")
