"""What a program registered, from any thread."""

from __future__ import annotations

import threading

from labc.registry import Registry


def test_what_is_replaced_goes_after_the_new_one_has_come() -> None:
    registry: Registry[str] = Registry()
    registry.add("other")
    registry.add("f1")
    changes: list[tuple[str, bool]] = []
    registry.attach(lambda entry, added: changes.append((entry, added)))
    registry.replace("f2", lambda entry: entry.startswith("f"))
    assert registry.entries() == ["other", "f2"]
    assert changes[2:] == [("f2", True), ("f1", False)]


def test_of_threads_that_replace_the_same_the_last_one_stays() -> None:
    registry: Registry[str] = Registry()
    registry.add("first")
    done = threading.Event()

    def replace() -> None:
        registry.replace("third", lambda _: True)
        done.set()

    other = threading.Thread(target=replace)

    def in_the_middle(_: str) -> bool:
        other.start()
        assert not done.wait(0.1)  # it waits for its turn
        return True

    registry.replace("second", in_the_middle)
    other.join(5.0)
    assert registry.entries() == ["third"]
