"""PURE. What is wrong, and what to do: from a report, the first cause that explains it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from labc.doctor.report import Computer, Report

_CLOCKS_AGREE = 2.0
"""Seconds."""
_CERTIFICATES_ALLOW = 300.0
"""Seconds by which clocks may differ before certificates are taken for expired, or not yet valid."""


class Diagnosis(NamedTuple):
    well: bool
    sentence: str
    """What is wrong, and what to do."""
    remarks: list[str]
    """What works, and not as it should."""


def diagnose(report: Report) -> Diagnosis:
    sentence = _wrong(report)
    return Diagnosis(sentence is None, sentence or _well(report), list(_remarks(report)))


def _wrong(report: Report) -> str | None:
    here = report.here
    if here.error:
        return here.error
    if report.target is not None:
        if not report.target.addresses and not report.targets():
            return f"no computer is known by the name {report.target.name!r}: use its address, or set an alias for it"
        if not here.addresses and not report.targets():
            return _NO_ADDRESS
        if any(each.linked for each in report.targets()):
            return _first(_wrong_with_link(each) for each in report.targets() if each.linked)
        return _first(_why_not_linked(report, each) for each in report.targets()) or _why_silent(report)
    if not here.addresses:
        return _NO_ADDRESS
    own = [each for each in report.computers if each.same_network]
    if own:
        found = (_wrong_with_link(each) if each.linked else _why_not_linked(report, each) for each in own)
        return _first(found)
    if report.computers:
        return _why_not_linked(report, report.computers[0])
    if not here.can_send_multicast:
        return (
            "nobody answers, and this computer can send no multicast (there may be no route for it): name another "
            "computer with the setting hosts, and see `labc doctor HOST`"
        )
    return (
        "no other computer answers. If there should be one, see that a program with labc runs on it, and name it: "
        "`labc doctor HOST` tells what is in the way"
    )


_NO_ADDRESS = "this computer has no address in any network: connect its cable or its wireless network"


def _first(sentences: Iterator[str | None]) -> str | None:
    return next((sentence for sentence in sentences if sentence is not None), None)


def _why_not_linked(report: Report, other: Computer) -> str | None:
    """Why a computer that answered is not in the network."""
    here = report.here
    if other.protocol is not None and other.protocol != report.protocol:
        older = "labc there" if other.protocol < report.protocol else "labc here"
        return (
            f"{other.host} runs labc {other.version or 'of another version'}, this computer {here.version}, and the "
            f"two do not understand each other: update {older}"
        )
    if not other.same_network:
        return _other_network(report, other)
    if other.keyed and other.clock is not None and abs(other.clock) > _CERTIFICATES_ALLOW:
        return (
            f"the clock of {other.host} is {_difference(other.clock)}, so its certificates, or ours, are not valid: "
            "set the clocks"
        )
    if other.root != "open":
        what = "refuses connections" if other.root == "refused" else "lets no connections in"
        return (
            f"{other.host} answers, and {what} at TCP port {other.root_port}, nor could it connect to this computer: "
            f"let TCP ports {_span(here.ports)} in through the firewall of one of the two"
        )
    if not other.answers_multicast or not other.heard_by_multicast:
        return (
            f"multicast does not pass between this computer and {other.host}, and no other method of discovery leads "
            f"there: on one of the two, name the other one (here: labc settings set hosts {other.address})"
        )
    return (
        f"{other.host} answers, and is not in the network yet: try again in ten seconds. If that does not help, see "
        "what `labc -vv nodes` says on both"
    )


def _other_network(report: Report, other: Computer) -> str:
    here = report.here
    if not other.keyed and not here.keyed:
        return (
            f"{other.host} is in the network {other.network!r}, this computer in {here.network!r}: give both the same "
            f"(here: labc settings set network {other.network})"
        )
    if other.keyed and here.keyed:
        return (
            f"{other.host} is in a network with another key than the one of {here.network!r} here: invite one of the "
            f"two into the network of the other (labc network invite, labc network join)"
        )
    if other.keyed:
        return (
            f"{other.host} is in a network with a key, and {here.network!r} is open here: join it (there, or where it "
            "was made: labc network invite NAME; here: labc network join INVITATION)"
        )
    return (
        f"{other.host} is in the open network {other.network!r}, and {here.network!r} has a key here: let it join "
        f"(here, or where it was made: labc network invite {here.network}; there: labc network join INVITATION)"
    )


def _why_silent(report: Report) -> str:
    """The computer that was asked for sends no answer by UDP."""
    target, here = report.target, report.here
    assert target is not None
    name = target.name if target.name in target.addresses else f"{target.name} ({', '.join(target.addresses)})"
    states = set(target.ports.values())
    if "open" in states:
        port = next(port for port, state in target.ports.items() if state == "open")
        return (
            f"{name} takes connections at TCP port {port}, and answers nothing at UDP port {port}: let UDP ports "
            f"{_span(here.ports)} in through its firewall, or end what else has that port there"
        )
    if "refused" in states:
        return (
            f"{name} is there, and no program with labc in the network {here.network!r}: start one there, or give both "
            "the same network"
        )
    if states == {"no way"}:
        return f"nobody answers at {name}: it is off, in another network, or has another address now"
    return (
        f"{name} answers nothing, neither by UDP nor by TCP: it is off, its firewall lets nothing in (labc needs UDP "
        f"and TCP ports {_span(here.ports)}), or the network keeps its computers apart, as guest networks do"
    )


def _wrong_with_link(other: Computer) -> str | None:
    if _is_shut(other.lanes_there) and _is_shut(other.lanes_back):
        return (
            f"{other.host} is in the network, and calls go the slow way, through the roots: the firewalls let no "
            "connections to programs in. Choose ports for them with the setting lane_ports, and let these in"
        )
    return None


def _well(report: Report) -> str:
    linked = [each.host for each in (report.targets() or report.computers) if each.linked]
    return f"all is well: {_listed(sorted(set(linked)))} {'is' if len(set(linked)) == 1 else 'are'} in the network"


def _remarks(report: Report) -> Iterator[str]:
    here = report.here
    if here.first_port_is_taken:
        yield (
            f"TCP port {here.ports[0]} of this computer is held by something else, so its root has {here.root_port}: "
            "others find it, by a scan later"
        )
    if not here.root_answers:
        yield (
            f"the root of this computer does not answer at UDP port {here.root_port}, which something else may have: "
            "others find it by multicast only"
        )
    if not here.can_hear_multicast:
        yield f"UDP port {here.multicast_port} of this computer is held by something else: it hears no multicast"
    for other in report.computers:
        if other.linked:
            yield from _remarks_on(report, other)


def _remarks_on(report: Report, other: Computer) -> Iterator[str]:
    if not other.answers:
        yield f"{other.host} answers nothing by UDP: it may not be found again after a restart"
    elif not (other.answers_multicast and other.heard_by_multicast):
        way = "in neither direction"
        if other.answers_multicast:
            way = "only to there"
        elif other.heard_by_multicast:
            way = "only from there"
        yield f"multicast passes {way} between this computer and {other.host}, which were linked by another method"
    if _is_shut(other.lanes_there) != _is_shut(other.lanes_back):
        way = "there" if _is_shut(other.lanes_there) else "from there"
        yield f"no direct connections can be made {way} ({other.host}): calls in that direction may be slower"
    if other.clock is not None and abs(other.clock) > _CLOCKS_AGREE:
        yield f"the clock of {other.host} is {_difference(other.clock)}"
    if other.version and other.version != report.here.version:
        yield f"{other.host} runs labc {other.version}, this computer {report.here.version}"


def _is_shut(state: str | None) -> bool:
    return state is not None and state != "open"


def _difference(clock: float) -> str:
    seconds = abs(clock)
    size = f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.0f} min" if seconds < 7200 else ""
    size = size or (f"{seconds / 3600:.0f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} days")
    return f"{size} {'ahead' if clock > 0 else 'behind'}"


def _span(ports: list[int]) -> str:
    return f"{ports[0]}-{ports[-1]}"


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
