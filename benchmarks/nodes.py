"""Agents: nodes of a network, each a process on one of the lab's hosts, that are told what to do."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from benchmarks.environment import PYTHON
from benchmarks.run import Lab

_ANSWER = re.compile(r"^=> (.*)$")


class Agent:
    """A process of ``benchmarks.agent``; it ends with the lab."""

    def __init__(self, lab: Lab, name: str, host: int = 0, network: str = "") -> None:
        self.name = name
        self.host = host
        command = [str(PYTHON), "-m", "benchmarks.agent"]
        self.program = lab.program(command, host, LABC_NAME=name, **({"LABC_NETWORK": network} if network else {}))

    def send(self, code: str, *, wanted: bool = True) -> None:
        """Begin; :meth:`answer` waits for the end."""
        self.program.send_line(json.dumps([code, wanted]))

    def answer(self, timeout: float = 20.0) -> Any:
        """The value. Raises OSError with what the code raised."""
        answer = json.loads(self.program.expect(_ANSWER, timeout)[1])
        if "error" in answer:
            raise OSError(f"{self.name}: {answer['error']}")
        return answer["value"]

    def eval(self, code: str, timeout: float = 20.0) -> Any:
        self.send(code)
        return self.answer(timeout)

    def exec(self, code: str, timeout: float = 20.0) -> None:
        self.send(code, wanted=False)
        self.answer(timeout)


def together(agents: Sequence[Agent], code: str, timeout: float = 20.0, *, wanted: bool = True) -> list[Any]:
    """All at once; their answers."""
    for agent in agents:
        agent.send(code, wanted=wanted)
    return [agent.answer(timeout) for agent in agents]


def labc_network(lab: Lab, network: str, places: Sequence[tuple[str, int]]) -> list[Agent]:
    """Nodes of these names on these hosts, which have met; the first of each host is its root."""
    agents = [Agent(lab, name, host, network) for name, host in places]
    for agent in agents:
        agent.exec("import labc; labc.publish('bench/other', 0)")
    wanted = sorted(agent.name for agent in agents)
    for agent in agents:
        agent.eval(f"until(lambda: sorted(n.name for n in labc.at(timeout=0.3).nodes()) == {wanted!r})")
    return agents
