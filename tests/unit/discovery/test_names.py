"""Hosts that the settings name are looked up beside everything else."""

from __future__ import annotations

import socket
import threading

from labc.discovery.asking import PERIOD
from labc.discovery.names import AGAIN, Names
from labc.settings import HostPlace


class Resolver:
    """Knows what it is told; answers when it may."""

    def __init__(self) -> None:
        self.known: dict[str, list[str]] = {}
        self.may = threading.Event()
        self.may.set()
        self.asked: list[str] = []

    def __call__(self, host: str) -> list[str]:
        self.asked.append(host)
        if host == "slow":
            assert self.may.wait(10.0)
        if host not in self.known:
            raise socket.gaierror("not known")
        return self.known[host]


def looked(names: Names, changed: threading.Semaphore, now: float, count: int = 1) -> None:
    names.look(now)
    for _ in range(count):
        assert changed.acquire(timeout=10.0)


def test_addresses_need_no_search_and_names_do() -> None:
    resolver, changed = Resolver(), threading.Semaphore(0)
    resolver.known["lab3"] = ["10.0.0.3", "10.0.1.3"]
    names = Names([HostPlace("10.0.0.5", None), HostPlace("lab3", 7)], changed.release, resolver)
    assert names.places((1, 2)) == [("10.0.0.5", 1), ("10.0.0.5", 2)]
    looked(names, changed, 0.0)
    assert names.places((1, 2)) == [("10.0.0.5", 1), ("10.0.0.5", 2), ("10.0.0.3", 7), ("10.0.1.3", 7)]
    assert resolver.asked == ["lab3"]


def test_a_dead_name_holds_nobody_up_and_is_searched_once_at_a_time() -> None:
    resolver, changed = Resolver(), threading.Semaphore(0)
    resolver.may.clear()
    resolver.known |= {"lab3": ["10.0.0.3"], "slow": ["10.0.0.9"]}
    names = Names([HostPlace("slow", None), HostPlace("lab3", None)], changed.release, resolver)
    looked(names, changed, 0.0)
    assert names.places((1,)) == [("10.0.0.3", 1)]
    names.look(100.0)
    assert changed.acquire(timeout=10.0)
    assert sorted(resolver.asked) == ["lab3", "lab3", "slow"]
    resolver.may.set()
    assert changed.acquire(timeout=10.0)
    assert ("10.0.0.9", 1) in names.places((1,))


def test_it_is_looked_up_again_sooner_after_a_failure_and_an_old_address_stays() -> None:
    resolver, changed = Resolver(), threading.Semaphore(0)
    names = Names([HostPlace("lab3", None)], changed.release, resolver)
    looked(names, changed, 0.0)
    assert names.places((1,)) == []
    assert names.next_due() == PERIOD
    resolver.known["lab3"] = ["10.0.0.3"]
    looked(names, changed, PERIOD)
    assert names.places((1,)) == [("10.0.0.3", 1)]
    looked(names, changed, 2 * PERIOD)
    assert names.next_due() == 2 * PERIOD + AGAIN
    del resolver.known["lab3"]
    names.restart()
    looked(names, changed, 3 * PERIOD)
    assert names.places((1,)) == [("10.0.0.3", 1)]
