"""PURE. Who may call, publish or subscribe what: the lines of the setting ``access``, and who is at the other end.

Of the lines whose pattern takes the name, the one with the most letters that are no wildcard decides. Of those that
have as many, one for this verb alone counts before one for all three; if there still are several, all of them have to
allow it. What no line is about, everybody may.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from labc.settings import EVERYBODY, LOCALHOST, NOBODY, Right, Verb, plain_person, right, seat_number

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_MAX_DECIDED = 4096


@dataclass(frozen=True, slots=True)
class Who:
    """Who is at the other end of a connection, by what he can't make up. Nothing of it: nobody knows."""

    within_host: bool = False
    """Whether he came from this very computer."""
    address: str = ""
    certificate: str = ""
    """The computer's name in it, in a keyed network."""
    seat: int | None = None
    """The number of that certificate."""

    def __str__(self) -> str:
        place = "this computer" if self.within_host else self.address
        if self.certificate:
            return f"{self.certificate} ({place})" if place else self.certificate
        return place or "somebody who can't be identified (the message did not come on a direct connection)"


@dataclass(frozen=True, slots=True)
class Here:
    """What a node knows of its own computer."""

    host: str
    certificate: str = ""
    seat: int | None = None
    """Of its own certificate, in a keyed network."""

    @property
    def keyed(self) -> bool:
        return self.seat is not None


class Access:
    """``lines`` are those of the setting, ``places`` where each is set. ``aliases`` as in the settings."""

    def __init__(
        self, lines: Mapping[str, str], places: Mapping[str, str], aliases: Mapping[str, str], here: Here
    ) -> None:
        self._here = here
        self._aliases = {alias.lower(): plain_person(host) for alias, host in aliases.items()}
        self._lines = [_Line(right(key, people), places.get(key, ""), self._test) for key, people in lines.items()]
        self._decided: dict[tuple[Verb, str], list[_Line]] = {}
        self._addresses: dict[str, frozenset[str]] = {}
        self._own: list[Address] = []

    def __bool__(self) -> bool:
        """Whether anything is limited at all."""
        return bool(self._lines)

    @property
    def names(self) -> set[str]:
        """The computers whose addresses have to be looked up, as no certificate tells who they are; for
        :meth:`learn`."""
        if self._here.keyed:
            return set()
        return {name for line in self._lines for person in line.right.people if (name := self._host_name(person))}

    def learn(self, addresses: Mapping[str, Iterable[str]], own: Iterable[str]) -> None:
        """Of those names, and of this computer."""
        self._addresses = {name: frozenset(map(plain_address, found)) for name, found in addresses.items()}
        self._own = [ipaddress.ip_address(plain_address(ip)) for ip in own]

    def limits(self, verb: Verb, name: str) -> bool:
        """Whether not everybody may."""
        return any(line.right.people != (EVERYBODY,) for line in self._deciding(verb, name))

    def rule_against(self, verb: Verb, name: str, who: Who, *, dangerous: bool = False) -> str | None:
        """Why he may not, as the end of a sentence; None: he may.

        ``dangerous``: it can harm the computer, so on an open network others may only if a line says so that names it.
        """
        deciding = self._deciding(verb, name)
        for line in deciding:
            if not any(test(who) for test in line.tests):
                return f"{line} names others"
        if dangerous and not who.within_host and not self._here.keyed and not any(line.letters for line in deciding):
            return (
                "it can harm the computer, and on an open network only programs of the same computer may, unless a "
                "line of the setting access there that names it says otherwise"
            )
        return None

    def _deciding(self, verb: Verb, name: str) -> list[_Line]:
        found = self._decided.get((verb, name))
        if found is None:
            taking = [line for line in self._lines if line.takes(verb, name)]
            rank = max((line.rank for line in taking), default=None)
            if len(self._decided) >= _MAX_DECIDED:  # of somebody who makes up names without end
                self._decided.clear()
            found = self._decided[verb, name] = [line for line in taking if line.rank == rank]
        return found

    # Who is meant.

    def _test(self, person: str) -> Callable[[Who], bool]:
        if person == EVERYBODY:
            return lambda who: True
        if person == NOBODY:
            return lambda who: False
        if (seat := seat_number(person)) is not None:
            return lambda who: seat == (self._here.seat if self._is_own(who) else who.seat)
        target = self._aliases.get(person.lower(), person)
        if target == LOCALHOST:
            return lambda who: who.within_host
        if (network := _network(target)) is not None:
            return lambda who: self._is_in(who, network)
        return lambda who: self._is_host(who, target.lower())

    def _is_own(self, who: Who) -> bool:
        """Whether it is a program of this computer and this user, which shows no certificate."""
        return who.within_host and who.seat is None

    def _is_in(self, who: Who, network: Network) -> bool:
        if who.within_host:
            return network.is_loopback or any(ip in network for ip in self._own)
        return bool(who.address) and ipaddress.ip_address(plain_address(who.address)) in network

    def _is_host(self, who: Who, name: str) -> bool:
        if self._here.keyed:
            return name == (self._here.certificate if self._is_own(who) else who.certificate).lower()
        if who.within_host:
            return name == self._here.host.lower() or not self._addresses.get(name, frozenset()).isdisjoint(
                map(str, self._own)
            )
        return plain_address(who.address) in self._addresses.get(name, ())

    def _host_name(self, person: str) -> str:
        """The name to look up, if it is one."""
        target = self._aliases.get(person.lower(), person)
        if target in (EVERYBODY, NOBODY, LOCALHOST) or seat_number(target) is not None or _network(target) is not None:
            return ""
        return target.lower()


class _Line:
    def __init__(self, right: Right, place: str, test: Callable[[str], Callable[[Who], bool]]) -> None:
        self.right = right
        self.letters: Final = len(right.pattern.replace("*", "").replace("/", ""))
        self.rank: Final = (self.letters, right.verb is not None)
        self.tests: Final = [test(person) for person in right.people]
        self._place = place
        self._levels = _compiled(right.pattern)

    def __str__(self) -> str:
        place = f" ({self._place})" if self._place else ""
        return f'the line "{self.right.key}" of the setting access{place}'

    def takes(self, verb: Verb, name: str) -> bool:
        return self.right.verb in (None, verb) and self._levels.fullmatch(name + "/") is not None


def _compiled(pattern: str) -> re.Pattern[str]:
    """``*`` is any text without a slash, ``**`` any number of levels between slashes, none of them as well."""
    parts: list[str] = []
    for level in pattern.split("/"):
        if level != "**":
            parts.append("[^/]*".join(map(re.escape, re.split(r"\*+", level))) + "/")
        elif parts[-1:] != ["(?:[^/]*/)*"]:
            parts.append("(?:[^/]*/)*")
    return re.compile("".join(parts), re.DOTALL)


def _network(text: str) -> Network | None:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
    mapped = network.network_address.ipv4_mapped if isinstance(network, ipaddress.IPv6Network) else None
    return ipaddress.ip_network((mapped, network.prefixlen - 96), strict=False) if mapped else network


def plain_address(address: str) -> str:
    """Without the interface, and IPv4 as such: ``::ffff:10.0.0.2`` is ``10.0.0.2``. What is no address stays so."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return str(getattr(ip, "ipv4_mapped", None) or ip)
