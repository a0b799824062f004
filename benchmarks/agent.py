"""A program that does what it is told, line by line: what :class:`benchmarks.nodes.Agent` starts.

A line holds JSON, ``[code, wanted]``; the code may use everything below. It imports little, as its memory is measured.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

calls: list[tuple[threading.Thread, list[dict[str, Any]]]] = []
received: list[float] = []
started: list[str] = []
seen: dict[str, float] = {}
gone: dict[str, float] = {}
kept: list[Any] = []
stop = threading.Event()


def start_call(name: str, **at: Any) -> None:
    """Call in a thread; see ``call_result``."""
    import labc

    def run() -> None:
        began = time.time()
        try:
            outcome: dict[str, Any] = {"value": labc.at(**at).call(name)}
        except Exception as error:
            outcome = {"error": type(error).__name__, "text": str(error)}
        outcomes.append({**outcome, "began": began, "ended": time.time()})

    outcomes: list[dict[str, Any]] = []
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    calls.append((thread, outcomes))


def call_result(timeout: float = 20) -> dict[str, Any]:
    """Of the oldest call that was started."""
    thread, outcomes = calls.pop(0)
    thread.join(timeout)
    return outcomes[0] if outcomes else {"error": "none", "text": "the call has not ended"}


def until(condition: Callable[[], Any], timeout: float = 15, every: float = 0.005) -> float:
    """Seconds until the condition holds."""
    began = time.time()
    while not condition():
        if time.time() - began > timeout:
            raise TimeoutError(f"not within {timeout} s")
        time.sleep(every)
    return time.time() - began


def long_function() -> None:
    """A provider's function that does not return."""
    started.append("long")
    time.sleep(60)


def receive(_: int) -> None:
    """A handler."""
    received.append(time.time())


def publish_numbers(topic: str, period: float) -> None:
    """Until ``stop`` is set."""
    import labc

    def run() -> None:
        number = 0
        while not stop.wait(period):
            labc.publish(topic, number)
            number += 1

    threading.Thread(target=run, daemon=True).start()


def offer(number: int, functions: int) -> None:
    """Register so many functions, ``f<number>.<k>``; nothing of it needs the network yet."""
    import labc

    for k in range(functions):
        labc.register(lambda value=None: value, name=f"f{number}.{k}")


def join() -> None:
    """Take this process into the network."""
    import labc

    labc.publish("bench/other", 0)


def known() -> int:
    """How many nodes this one knows. No public verb tells without asking them all."""
    from labc.node import process

    node: Any = process.node()
    return len(node.rooms()._neighbourhood.directory._nodes)


def first_call(name: str) -> float:
    """Seconds of a call."""
    import labc

    began = time.perf_counter()
    labc.call(name)
    return time.perf_counter() - began


def list_functions() -> tuple[float, int]:
    """Seconds to list all functions, and how many they are."""
    import labc

    began = time.perf_counter()
    listed = labc.functions()
    return time.perf_counter() - began, len({function.name for function in listed})


def roots() -> tuple[int, int]:
    """How many nodes answered, and how many of them are roots."""
    import labc

    listed = labc.nodes()
    return sum(node.answered for node in listed), sum(node.root for node in listed)


def zenoh_open(mode: str, address: str, *, listen: bool, multicast: bool = False) -> None:
    """Open a plain Zenoh session; without multicast it listens on or connects to this one endpoint."""
    import zenoh

    configuration = zenoh.Config()
    entries = {"mode": json.dumps(mode), "scouting/multicast/enabled": json.dumps(multicast)}
    if address:
        entries["listen/endpoints" if listen else "connect/endpoints"] = json.dumps([f"tcp/{address}"])
    if mode == "router":
        for way in ("multicast", "gossip"):
            entries[f"scouting/{way}/autoconnect"] = json.dumps({"router": ["router"]})
    elif mode == "client":
        entries["connect/timeout_ms"] = "-1"
        entries["connect/retry"] = json.dumps({"period_init_ms": 20, "period_max_ms": 200})
    for key, value in entries.items():
        configuration.insert_json5(key, value)
    kept.append(zenoh.open(configuration))


def zenoh_token(key: str) -> float:
    """Declare a liveliness token, and tell when."""
    began = time.time()
    kept.append(kept[0].liveliness().declare_token(key))
    return began


def zenoh_watch(pattern: str) -> None:
    """Note when tokens are ``seen`` and when they are ``gone``."""
    import zenoh

    def take(sample: Any) -> None:
        to = gone if sample.kind == zenoh.SampleKind.DELETE else seen
        to.setdefault(str(sample.key_expr), time.time())

    kept.append(kept[0].liveliness().declare_subscriber(pattern, take, history=True))


def zenoh_join() -> None:
    """Become a peer with a token, that watches all of them."""
    zenoh_open("peer", "", listen=True, multicast=True)
    zenoh_token(f"bench/{os.getpid()}")
    zenoh_watch("bench/**")


def main() -> None:
    for line in sys.stdin:
        code, wanted = json.loads(line)
        try:
            value = None
            if wanted:
                value = eval(code, globals())
            else:
                exec(code, globals())
            answer = {"value": value}
        except BaseException as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print("=> " + json.dumps(answer, default=repr), flush=True)


if __name__ == "__main__":
    main()
