"""PURE. What an examination of the network found: plain data, for people and for programs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labc.lanes.knocking import State


@dataclass(kw_only=True)
class Here:
    """This computer."""

    host: str
    network: str
    keyed: bool
    version: str
    addresses: list[str]
    """With the length of the subnet's prefix and the interface: ``10.0.0.2/24 eth0``."""
    ports: list[int]
    """Those that a root of the network may hold, TCP and UDP."""
    multicast_port: int
    discovery: list[str]
    root: str = ""
    """The name of the program that is the root here."""
    root_port: int | None = None
    root_answers: bool = True
    """Whether the root here answers by UDP."""
    first_port_is_taken: bool = False
    """By something that is no root of this network, so the root has another one."""
    can_send_multicast: bool = True
    can_hear_multicast: bool = True
    error: str = ""
    """Why the network can't be joined from here."""


@dataclass(kw_only=True)
class Computer:
    """Another computer, with its root: one that is in the network, or answered."""

    host: str
    """Its name; an address if that is not known."""
    address: str
    linked: bool = False
    """Whether its programs are in the network as it is seen from here."""
    same_network: bool = True
    """Whether it says that it is in the same network, with the same key."""
    network: str = ""
    """The name of its network; empty: it has a key, and tells no names."""
    keyed: bool = False
    protocol: int | None = None
    version: str = ""
    root_port: int | None = None
    root: State | None = None
    """What a connection to its root's port met."""
    answers: bool = False
    """It answered by UDP."""
    answers_multicast: bool = False
    heard_by_multicast: bool = False
    """What it asks by multicast comes here."""
    found_by: list[str] = field(default_factory=list)
    """The methods of discovery by which the root here has heard it."""
    lanes_there: State | None = None
    """What a connection to one of its programs met."""
    lanes_back: State | None = None
    """What a connection from there to this program met."""
    clock: float | None = None
    """Seconds by which its clock is ahead."""


@dataclass(kw_only=True)
class Target:
    """The computer that was asked for."""

    name: str
    addresses: list[str]
    ports: dict[int, State] = field(default_factory=dict)
    """What connections to the ports of this network's roots met there."""


@dataclass(kw_only=True)
class Report:
    here: Here
    computers: list[Computer] = field(default_factory=list)
    target: Target | None = None
    protocol: int = 0
    """Of this version of labc."""

    def targets(self) -> list[Computer]:
        """The computer that was asked for, once for each root that was found there."""
        if self.target is None:
            return []
        name, addresses = self.target.name.lower(), self.target.addresses
        return [each for each in self.computers if each.address in addresses or each.host.lower() == name]
