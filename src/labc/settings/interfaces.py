"""PURE. Which of a computer's interfaces are used, by entries like ``eth0``, ``10.0.0.0/24`` and ``!docker0``."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import NamedTuple

_ADDRESS = re.compile(r"[0-9]+\.[-0-9.]*|.*(/|::).*")
"""What, if it is none, was meant to be an address or a subnet, and no name of an interface."""
_MAX_NAME = 255


class InterfaceAddress(NamedTuple):
    interface: str
    address: str
    """IPv4 or IPv6; empty: the interface has none now."""


class _Entry(NamedTuple):
    name: str
    """Of an interface; empty: it is a subnet."""
    subnet: IPv4Network | IPv6Network | None = None

    def fits(self, interface: str, address: str) -> bool:
        if self.subnet is not None:
            return bool(address) and ipaddress.ip_address(address) in self.subnet
        return self.name in (interface, interface.partition(":")[0])  # eth0:1 is a further address of eth0


class Remark(NamedTuple):
    """What a user may want to know of the setting, as it meets the computer."""

    sentence: str
    matters: bool
    """Whether it says that something is out of reach, for which there was hope."""


def interface_entry(text: str) -> tuple[bool, _Entry]:
    """Whether it is to be avoided, and what. Raises ValueError: it is none of the forms."""
    text = text.strip()
    avoid = text.startswith("!")
    what = text.removeprefix("!").strip()
    try:
        return avoid, _Entry("", ipaddress.ip_interface(what).network)
    except ValueError:
        if _ADDRESS.fullmatch(what):
            raise
    if not what or not what.isprintable() or what.startswith("!") or len(what) > _MAX_NAME:
        raise ValueError
    return avoid, _Entry(what)


class Interfaces:
    """What the entries of the setting allow; true if there are any.

    With an entry that is not to be avoided only those are used, else all but those to be avoided. Loopback always is.
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        entries = [interface_entry(text) for text in texts]
        self._wanted = [entry for avoid, entry in entries if not avoid]
        self._avoided = [entry for avoid, entry in entries if avoid]

    def __bool__(self) -> bool:
        return bool(self._wanted or self._avoided)

    def use(self, interface: str, address: str) -> bool:
        """Whether this address of that interface is used."""
        return not self or _is_loopback(address) or self._allow(interface, address)

    def remarks(self, present: Sequence[InterfaceAddress]) -> list[Remark]:
        """On a computer with these interfaces."""
        found = []
        names = list(dict.fromkeys(each.interface for each in present))
        for entries, matters in ((self._wanted, True), (self._avoided, False)):
            for name in (e.name for e in entries if e.name and not any(e.fits(each, "") for each in names)):
                does, then = ("names", "; it is used when it comes") if matters else ("avoids", "")
                there = ", ".join(names)
                found.append(
                    Remark(f"the setting interfaces {does} {name!r}, which is not there now ({there}){then}", matters)
                )
        loopback = [each for each in present if each.address and _is_loopback(each.address)]
        others = [each for each in present if each.address and each not in loopback]
        means_loopback = any(entry.fits(*each) for entry in self._wanted for each in loopback)
        if others and not means_loopback and not any(self._allow(*each) for each in others):
            there = ", ".join(f"{each.address} of {each.interface}" for each in others)
            found.append(
                Remark(
                    f"the setting interfaces allows none of this computer's addresses ({there}): until it has one that "
                    "is allowed, this program and those of other computers do not reach each other",
                    True,
                )
            )
        return found

    def _allow(self, interface: str, address: str) -> bool:
        if any(entry.fits(interface, address) for entry in self._avoided):
            return False
        return not self._wanted or any(entry.fits(interface, address) for entry in self._wanted)


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback
