"""What a program registered, from any thread."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import pytest

from labc.registry import Registry


@pytest.fixture
def many_switches() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def test_what_is_replaced_goes_after_the_new_one_has_come() -> None:
    registry: Registry[str] = Registry()
    registry.add("other")
    registry.add("f1")
    changes: list[tuple[str, bool]] = []
    registry.attach(lambda entry, added: changes.append((entry, added)))
    registry.replace("f2", lambda entry: entry.startswith("f"))
    assert registry.entries() == ["other", "f2"]
    assert changes[2:] == [("f2", True), ("f1", False)]


@pytest.mark.usefixtures("many_switches")
def test_of_threads_that_replace_the_same_the_last_one_stays() -> None:
    for _ in range(100):
        registry: Registry[object] = Registry()
        barrier = threading.Barrier(4)

        def replace(registry: Registry[object] = registry, barrier: threading.Barrier = barrier) -> None:
            barrier.wait(5.0)
            registry.replace(object(), lambda _: True)

        threads = [threading.Thread(target=replace) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(5.0)
        assert len(registry.entries()) == 1
