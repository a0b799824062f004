"""What a signal handler does to labc in the middle of what the program does with it."""

from __future__ import annotations

import pytest

PUBLISHER = """
import itertools, signal, time
import labc

heard = []
busy = False
labc.subscribe(lambda number, _: heard.append(number), topic="from the handler")
labc.publish("t", 0, PAYLOAD)

def handler(*_):
    global busy
    if not busy:  # the order of what one handler publishes in the middle of another one is nobody's to keep
        busy = True
        DO
        busy = False

numbers = itertools.count(1)
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.1, EVERY)
try:
    end = time.monotonic() + 3
    while time.monotonic() < end:
        labc.publish("t", 0, PAYLOAD)
except labc.ClosedError:
    print("closed", flush=True)
signal.setitimer(signal.ITIMER_REAL, 0)
"""
SMALL, LARGE = "b'small'", "bytes(300_000)"


@pytest.mark.parametrize("payload", [SMALL, LARGE], ids=["small", "large"])
def test_it_publishes_in_the_middle_of_publishing(start, payload: str) -> None:
    publish = "labc.publish('from the handler', next(numbers), PAYLOAD)"
    source = PUBLISHER.replace("EVERY", "0.01").replace("DO", publish)
    source += """
labc.close()
print(next(numbers) > 20, heard == sorted(set(heard)))
"""
    program = start(source.replace("PAYLOAD", payload))
    program.expect("True True")
    assert program.wait() == 0


def test_it_closes_the_node_in_the_middle_of_publishing(start) -> None:
    source = PUBLISHER.replace("EVERY", "0").replace("DO", "labc.close(); print('left', flush=True)")
    program = start(source.replace("PAYLOAD", SMALL))
    program.expect("left", 5.0)
    assert program.wait(5.0) == 0
